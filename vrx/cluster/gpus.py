"""Several GPUs of this machine at work on the same inputs: a Ray cluster of this machine alone, a worker for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vrx.batches import BatchSettings
from vrx.errors import UsageError
from vrx.pipeline.devices import gpu_numbers, is_several
from vrx.settings import Job


def share_gpus(jobs: Sequence[Job], settings: BatchSettings | None) -> tuple[Sequence[Job], BatchSettings | None]:
    """Jobs and settings of a run on the GPUs that --device names, as those of a cluster; others as they are.

    One GPU needs no cluster.  Raises UsageError for what several GPUs cannot do, and DeviceError where one is missing.
    """
    names = {job.model.device for job in jobs}
    ray = settings.ray if settings else None
    if not any(is_several(name) or (ray and name.startswith("cuda:")) for name in names):
        return jobs, settings
    name, *others = sorted(names)
    if others:
        raise UsageError(f"jobs of one batch are to run on {name} and on {others[0]}", "Give all the same device")
    if ray not in (None, "local"):
        raise UsageError(f"--device {name} and --ray {ray} are mutually exclusive", "There, workers take a GPU each")
    gpus = gpu_numbers(name)
    if len(gpus) == 1 and ray is None:
        return on_device(jobs, f"cuda:{gpus[0]}"), settings
    if settings and settings.trace is not None:
        raise UsageError(f"--trace and --device {name} are mutually exclusive", "Trace a run on one device")
    return on_device(jobs, "cuda"), replace(settings or BatchSettings(), ray="local", gpus=gpus)


def on_device(jobs: Sequence[Job], device: str) -> list[Job]:
    """The same jobs on a device."""
    return [replace(job, model=replace(job.model, device=device)) for job in jobs]
