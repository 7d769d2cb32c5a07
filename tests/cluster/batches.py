"""Clips of many kinds, what one process makes of them, and batches of them for a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.pipeline.jobs import make_job
from vrx import api, events
from vrx.batches import BatchSettings
from vrx.errors import VrxError
from vrx.events import Event
from vrx.pipeline.jobs import JobResult
from vrx.settings import Job

SIZE = (32, 24)  # of all clips: what is tested does not depend on it
LEAST = 16  # frames of a span


@dataclass(frozen=True)
class Made:
    """A clip, and the result that one process makes of it, with the same spans."""

    clip: Path
    result: bytes


Maker = Callable[[str], Made]


def jobs_of(clips: Sequence[Path], folder: Path, **written: Any) -> list[Job]:
    """A job for each clip, with one thread, as workers have."""
    jobs = [make_job(clip, folder / f"{clip.stem}-{n}{suffix_of(clip)}", **written) for n, clip in enumerate(clips)]
    return [replace(job, model=replace(job.model, threads=1)) for job in jobs]


def suffix_of(clip: Path) -> str:
    return clip.suffix if clip.suffix in (".mkv", ".mp4", ".webm", ".mov") else ".mkv"


def run(
    jobs: Sequence[Job], address: str, watch: Callable[[Event], None] = events.ignore, **settings: Any
) -> dict[int, JobResult]:
    """What comes of all jobs on the cluster of an address."""
    batch = api.batch(jobs, watch, BatchSettings(ray=address, **settings))
    batch.restore_all()
    return batch.results


def outputs(jobs: Sequence[Job]) -> list[Path]:
    return [Path(str(job.output.path)) for job in jobs]


def check_results(jobs: Sequence[Job], made: Sequence[Made], results: dict[int, JobResult]) -> None:
    """All jobs have the bytes of one process."""
    assert {n: done.result for n, done in results.items() if isinstance(done.result, VrxError)} == {}
    assert sorted(results) == list(range(len(jobs)))
    for output, one in zip(outputs(jobs), made, strict=True):
        assert output.read_bytes() == one.result, one.clip
