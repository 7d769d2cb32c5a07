"""What a file costs besides its frames, measured: a frame of it is restored here, twice."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from vrx import events
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.run import run
from vrx.pipeline.session import Session
from vrx.settings import Job

SLOW = 1.0  # seconds a frame: a file costs little beside such frames, and measuring would take long


def measure_file(job: Job, output: Path, pool: ModelPool) -> tuple[float, float]:
    """Seconds that a result of one frame takes, and that the first one takes longer, as it loads the model.

    `output` tells the container and is not written.  Raises VrxError.
    """
    seconds = []
    with tempfile.TemporaryDirectory(prefix="vrx-") as folder:
        path = str(Path(folder) / f"frame{output.suffix}")
        written = replace(job.output, path=path, overwrite=True, skip_existing=False, resume=False)
        short = replace(job, output=written, selection=replace(job.selection, frames=1, end=None))
        for _ in range(2):
            begin = perf_counter()
            with Session(short, events.ignore, pool) as session:
                run(session)
            seconds.append(perf_counter() - begin)
    first, second = seconds
    return second, max(0.0, first - second)
