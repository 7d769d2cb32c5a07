"""How a batch begins: what is wrong without a cluster is said first; torch is imported while Ray starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from threading import Thread
from time import perf_counter
from typing import TYPE_CHECKING

from vrx.batches import BatchSettings
from vrx.cluster.join import connect
from vrx.errors import UsageError
from vrx.events import Watcher
from vrx.pipeline.clashes import refuse_clashes
from vrx.pipeline.paths import find_destination
from vrx.pipeline.same_names import name_apart
from vrx.settings import Job

if TYPE_CHECKING:
    from vrx.pipeline.batch import Batch


@dataclass(frozen=True)
class Joined:
    """A cluster that was joined: `where`, in words, how to `leave` it, and the clock when joining began."""

    where: str
    leave: ExitStack
    begin: float


def make_batch(jobs: Sequence[Job], watch: Watcher, settings: BatchSettings | None) -> Batch:
    """A batch on the cluster of the settings, on the GPUs that --device names, or in this process.

    Raises UsageError, OutputError and DeviceError.
    """
    if any(job.model.device not in ("auto", "cpu") for job in jobs):
        from vrx.cluster.gpus import share_gpus

        jobs, settings = share_gpus(jobs, settings)
    if settings is None or settings.ray is None:
        from vrx.pipeline.batch import Batch

        return Batch(jobs, watch, settings)
    check_jobs(jobs, settings)
    with ExitStack() as leave:
        begin = perf_counter()
        with importing("vrx.cluster.batch"):
            where = leave.enter_context(connect(settings.ray, settings.ship, settings.gpus))
        from vrx.cluster.batch import ClusterBatch

        return ClusterBatch(jobs, watch, settings, Joined(where, leave.pop_all(), begin))


@contextmanager
def importing(module: str) -> Iterator[None]:
    """Import a module in a thread meanwhile; what goes wrong is raised to who imports it next."""

    def attempt() -> None:
        with suppress(Exception):
            import_module(module)

    thread = Thread(target=attempt, name="vrx import")
    thread.start()
    try:
        yield
    finally:
        thread.join()


def check_jobs(jobs: Sequence[Job], settings: BatchSettings) -> None:
    """Refuse pipes, previews, options of runs on one machine, and results that replace something.

    All of it is known without a cluster, which takes a while to join.  Raises UsageError and OutputError.
    """
    option = "--device with several GPUs" if len(settings.gpus) > 1 else "--ray"
    if settings.jobs > 1:
        hint = "Remove --jobs: there are as many workers as cores and memory allow; with more --threads there are fewer"
        raise UsageError(f"{option} and --jobs are mutually exclusive", hint)
    if any(job.source == "-" or job.output.path == "-" for job in jobs):
        raise UsageError(f"{option} and pipes are mutually exclusive", "Name the input, and the result with -o")
    if any(job.preview is not None for job in jobs):
        raise UsageError(f"{option} and previews are mutually exclusive", "Remove one of them")
    prepared = [settings.prepare(job) for job in jobs]
    named, _ = name_apart(prepared, lambda job: [find_destination(job, Path(job.source), job.model.name)])
    refuse_clashes([(job, file) for job, files in named for file in files])
