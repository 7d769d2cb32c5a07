"""The same in Python as on the command line: one call a command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vrx.events import Watcher, ignore
from vrx.settings import Job

if TYPE_CHECKING:
    from pathlib import Path

    from vrx.media.probe import SourceInfo
    from vrx.pipeline.measure import Benchmark, Check
    from vrx.pipeline.plan import Plan
    from vrx.pipeline.run import Outcome
    from vrx.scenes.detect import Scene
    from vrx.weights.catalogue import Entry


def restore(job: Job, watch: Watcher = ignore) -> Outcome:
    """Run one job.  Raises VrxError; whatever stood under the output's name then still stands."""
    from vrx.pipeline.run import Run

    with Run(job, watch) as run:
        return run.stream()


def plan(job: Job, watch: Watcher = ignore) -> Plan:
    """What `restore` would do, without doing it."""
    from vrx.pipeline.run import Run

    with Run(job, watch) as run:
        return run.plan()


def expand(inputs: Sequence[str]) -> list[str]:
    """Files of folders, globs and names."""
    from vrx.pipeline.plan import expand_inputs

    return expand_inputs(list(inputs))


def probe(source: Path) -> SourceInfo:
    """What a file holds.  Raises InputError."""
    from vrx.media import read

    with read.Reader(source, read.Span(), lambda text: None) as reader:
        return reader.described()


def find_scenes(source: Path, threshold: float | None = None) -> list[Scene]:
    """The scenes of a video.  Raises InputError."""
    from vrx.media import read
    from vrx.scenes import detect

    with read.Reader(source, read.Span(), lambda text: None) as reader:
        return list(detect.scenes(detect.mark(reader.frames(), threshold or detect.CUT_THRESHOLD)))


def models() -> dict[str, Entry]:
    """The catalogue."""
    from vrx.weights import catalogue

    return catalogue.load(catalogue.packaged())


def bench(sizes: Sequence[tuple[int, int]], frames: int, device: str, dtype: str) -> Benchmark:
    """Measure the embedded model; sizes are (width, height) of the output."""
    from vrx.pipeline.measure import benchmark

    return benchmark(sizes, frames, device, dtype)


def doctor() -> list[Check]:
    """What works here."""
    from vrx.pipeline.measure import checks

    return checks()


def memory_for(size: tuple[int, int], scale: int) -> int:
    """Bytes that restoring a video of `size` (width, height) takes, roughly."""
    from vrx.pipeline.plan import memory_needed

    return memory_needed((size[0] * scale, size[1] * scale), size, 8)


def model_figures(entry: Entry) -> dict[str, str]:
    """What a checkpoint in the package says of itself: how it was trained, how good it was."""
    from vrx.restorers.registry import packaged
    from vrx.weights import load

    if not entry.available or not entry.parts:
        return {}
    metadata = load.metadata(packaged(entry.parts[0].path))
    return {key: value for key, value in metadata.items() if key not in ("config", "family", "format")}
