"""Host memory: how much a run needs and has; runs that cannot fit are refused before their work."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from vrx.errors import DeviceError
from vrx.files import format_bytes
from vrx.models.embedded.model import KEEP_SIZE, SCHEDULE
from vrx.networks.embedded.recurrent import MOST_POSITIONS
from vrx.pipeline.devices import free_memory
from vrx.settings import Task

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

BASE_MEMORY = 350 << 20  # bytes: the interpreter, torch and the libraries
# bytes a pixel of output that a video takes, all stages and queues together; enlarged ones were measured at 1920x1080
# (x4: 267, x2: 383)
VIDEO_BYTES = {Task.UPSCALE: 390, Task.DEBLUR: 690, Task.INPAINT: 690}
# one frame at a time: enlarged 68 at 7680x4320 and 88 at 4096x3072 (x4); at 3840x2160 deblurred 206, inpainted 327
LARGE_BYTES = {Task.UPSCALE: 80, Task.DEBLUR: 230, Task.INPAINT: 360}
# a pixel of the source of enlarged ones: the network's maps, and what later frames show; 1134 at 1920x1080 (x2)
LATER_BYTES = 1150
WHOLE = 16 * MOST_POSITIONS  # pixels of output, up to which they go through the network in one piece
LARGE_SOURCE_BYTES = 160  # beyond that, and for one large picture, more for each pixel of the source
# of the same size, with no others that would come along: 49 and 103 at 7680x4320
ALONE_BYTES = {Task.DEBLUR: 60, Task.INPAINT: 115}
MEMINFO, CGROUPS, MEMBERSHIP = Path("/proc/meminfo"), Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
# files of a control group, version 2 and version 1: its folder, its limit, what it uses, and the part of
# that which the kernel would give back
GROUP_FILES = (
    ("", "memory.max", "memory.current", "inactive_file"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
SMALLER = "Use a smaller video or --scale, or a machine with more memory"
# bytes a pixel of output that one picture takes, for which no queue fills; measured at 1 to 4 megapixels:
# up to 254 (x2, 1 megapixel) enlarged, 380 (3 megapixels) to 480 (1 megapixel) deblurred
STILL_BYTES = {Task.UPSCALE: 190, Task.DEBLUR: 400, Task.INPAINT: 400}


def needed(target: tuple[int, int], source: tuple[int, int], depth: int, task: Task, frames: int | None) -> int:
    """Bytes that a run of the embedded model takes, roughly; sizes are (width, height), `depth` bits of a sample."""
    pixels, large = target[0] * target[1], is_large(target, task)
    if frames == 1 and not large:
        return BASE_MEMORY + STILL_BYTES[task] * pixels
    if frames == 1 and task is Task.UPSCALE:
        return BASE_MEMORY + LARGE_BYTES[task] * pixels + LARGE_SOURCE_BYTES * source[0] * source[1]
    return memory_needed(target, source, depth, task)


def memory_needed(target: tuple[int, int], source: tuple[int, int], depth: int, task: Task) -> int:
    """Bytes that a video takes, roughly: the network's maps, the queues, and the frames scene detection holds."""
    ahead = 17 * source[0] * source[1] * (2 if depth > 8 else 1) * 2
    pixels, large = target[0] * target[1], is_large(target, task)
    each = (LARGE_BYTES if large else VIDEO_BYTES)[task] * pixels
    if task is Task.UPSCALE:
        each += (LATER_BYTES if pixels <= WHOLE else LARGE_SOURCE_BYTES) * source[0] * source[1]
    elif KEEP_SIZE.alone is not None and pixels > KEEP_SIZE.alone:
        each = ALONE_BYTES[task] * pixels
    return BASE_MEMORY + each + ahead


def is_large(target: tuple[int, int], task: Task) -> bool:
    """Whether frames of a result (width, height) are restored one at a time."""
    schedule = SCHEDULE if task is Task.UPSCALE else KEEP_SIZE
    return schedule.within(target[0] * target[1]).next < schedule.next


@dataclass(frozen=True)
class HostMemory:
    """Bytes that a process may take in all, swap included, and those that are free now."""

    total: int
    available: int


def host_memory() -> HostMemory | None:
    """What the machine, its control groups and the process limits leave; None where the system does not report it."""
    machine = machine_memory()
    if machine is None:
        return None
    total, available = machine.total, machine.available
    for group in group_limits():
        total, available = min(total, group.total), min(available, group.available)
    for limit in process_limits():
        total, available = min(total, limit), min(available, limit)
    return HostMemory(total, available)


def unswapped_memory() -> float:
    """Bytes that are free now without any being swapped out; infinite where the system does not report it."""
    memory, machine = host_memory(), machine_memory(swap=False)
    return float("inf") if memory is None or machine is None else min(memory.available, machine.available)


def machine_memory(swap: bool = True) -> HostMemory | None:
    """Memory of the machine, and with `swap` what it may swap out, by /proc/meminfo."""
    try:
        rows = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
        kilobytes = {key: int(rows[key].split()[0]) for key in ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree")}
    except (OSError, ValueError, KeyError, IndexError):
        return None
    total, available = kilobytes["MemTotal"], kilobytes["MemAvailable"]
    if swap:
        total, available = total + kilobytes["SwapTotal"], available + kilobytes["SwapFree"]
    return HostMemory(total * 1024, available * 1024)


def group_limits() -> Iterator[HostMemory]:
    """The limits of this process's control groups and of those around them."""
    try:
        rows = [line.split(":", 2) for line in MEMBERSHIP.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, place in (row for row in rows if len(row) == 3):
        for mounted, limit, usage, spare in GROUP_FILES:
            if controllers.split(",").count(mounted) == 0:
                continue
            root = CGROUPS / mounted
            folder = root / place.lstrip("/")
            for group in (folder, *folder.parents):
                with contextlib.suppress(OSError, ValueError):  # no limit ("max"), or not a group
                    most = int((group / limit).read_text())
                    yield HostMemory(most, most - used(group, usage, spare))
                if group == root:
                    break


def used(group: Path, usage: str, spare: str) -> int:
    """Bytes a control group cannot give back.  Raises OSError or ValueError."""
    rows = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    return int((group / usage).read_text()) - int(rows.get(spare, 0))


def process_limits() -> Iterator[int]:
    """Bytes of address space and of data that `ulimit` leaves a process."""
    if resource is None:
        return
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            yield soft


def free_of(device: torch.device) -> int | None:
    """Bytes that are free on a device now, a processor's without swapping; None where that is not known."""
    if device.type != "cpu":
        return free_memory(device)
    free = unswapped_memory()
    return None if free == float("inf") else int(free)


def note(needed: int | None, device: torch.device) -> str:
    """What a plan that takes `needed` bytes on a processor has to fear; an empty string for nothing."""
    memory = host_memory() if device.type == "cpu" else None
    if needed is None or memory is None:
        return ""
    size = format_bytes(needed)
    if needed > memory.total:
        return f"{size} of memory are needed, and this machine has {format_bytes(memory.total)}: it would be refused"
    if needed > memory.available:
        return f"{size} of memory are needed, and {format_bytes(memory.available)} are free: it may run out"
    return ""


def check(needed: int | None, device: torch.device) -> None:
    """Refuse a run that needs more than all the machine has.  Raises DeviceError."""
    memory = host_memory() if device.type == "cpu" else None
    if needed is not None and memory is not None and needed > memory.total:
        raise DeviceError(
            f"{format_bytes(needed)} of memory are needed, and this machine has {format_bytes(memory.total)}", SMALLER
        )
