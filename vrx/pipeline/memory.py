"""Host memory: how much a run needs and has; runs that cannot fit are refused before their work."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from vrx.errors import SMALLER, DeviceError
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
# of what was predicted, the share that a run takes at least: predictions were up to 1.3 times the measured memory
CERTAIN = 0.75
# bytes a pixel of output that one picture takes, for which no queue fills; measured at 1 to 4 megapixels:
# up to 254 (x2, 1 megapixel) enlarged, 380 (3 megapixels) to 480 (1 megapixel) deblurred
STILL_BYTES = {Task.UPSCALE: 190, Task.DEBLUR: 400, Task.INPAINT: 400}


def embedded_memory(
    target: tuple[int, int], source: tuple[int, int], depth: int, task: Task, frames: int | None
) -> int:
    """Bytes that a run of the embedded model takes, roughly; sizes are (width, height), `depth` bits of a sample."""
    pixels, large = target[0] * target[1], is_large(target, task)
    if frames == 1 and not large:
        return BASE_MEMORY + STILL_BYTES[task] * pixels
    if frames == 1 and task is Task.UPSCALE:
        return BASE_MEMORY + LARGE_BYTES[task] * pixels + LARGE_SOURCE_BYTES * source[0] * source[1]
    return embedded_video_memory(target, source, depth, task)


def embedded_video_memory(target: tuple[int, int], source: tuple[int, int], depth: int, task: Task) -> int:
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
    """Bytes that a process may take in all, swap included, and those that are free now.

    `limited`: by a control group or by `ulimit`, not by the machine.
    """

    total: int
    available: int
    limited: bool = False

    def __add__(self, other: HostMemory) -> HostMemory:
        return HostMemory(self.total + other.total, self.available + other.available, self.limited)

    def within(self, limit: HostMemory) -> HostMemory:
        """What a limit leaves of it."""
        total, available = min(self.total, limit.total), min(self.available, limit.available)
        return HostMemory(total, available, self.limited or limit.total < self.total)

    def __str__(self) -> str:
        return f"{'this process may take' if self.limited else 'this machine has'} {format_bytes(self.total)}"


NOTHING = HostMemory(0, 0)


@dataclass(frozen=True)
class GroupFiles:
    """Files of a control group in `folder`: its limit, what it uses, and the part of that which the kernel would give
    back; limit and use of swap, `together` with the rest or alone.
    """

    folder: str
    limit: str
    usage: str
    spare: str
    swap_limit: str
    swap_usage: str
    together: bool


VERSIONS = (
    GroupFiles("", "memory.max", "memory.current", "inactive_file", "memory.swap.max", "memory.swap.current", False),
    GroupFiles(
        *("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        *("memory.memsw.limit_in_bytes", "memory.memsw.usage_in_bytes"),
        together=True,
    ),
)


def host_memory(swap: bool = True) -> HostMemory | None:
    """What the machine, its control groups and the process limits leave; None where the system does not report it.

    Without `swap`: what is in memory at the same time.
    """
    found = machine_memory()
    if found is None:
        return None
    memory, swapped = found
    left = memory + swapped if swap else memory
    for limit in (*group_limits(swapped if swap else NOTHING), *process_limits()):
        left = left.within(limit)
    return left


def unswapped_memory() -> float:
    """Bytes that are free now without any being swapped out; infinite where the system does not report it."""
    memory = host_memory(swap=False)
    return float("inf") if memory is None else memory.available


def machine_memory() -> tuple[HostMemory, HostMemory] | None:
    """Memory of the machine, and its swap, by /proc/meminfo."""
    try:
        rows = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
        total, available, swap, unused = (
            int(rows[key].split()[0]) * 1024 for key in ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree")
        )
    except (OSError, ValueError, KeyError, IndexError):
        return None
    return HostMemory(total, available), HostMemory(swap, unused)


def group_limits(swap: HostMemory) -> Iterator[HostMemory]:
    """The limits of this process's control groups and of those around them, on a machine with so much `swap`."""
    try:
        rows = [line.split(":", 2) for line in MEMBERSHIP.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, place in (row for row in rows if len(row) == 3):
        for files in VERSIONS:
            if controllers.split(",").count(files.folder) == 0:
                continue
            root = CGROUPS / files.folder
            folder = root / place.lstrip("/")
            for group in (folder, *folder.parents):
                with contextlib.suppress(OSError, ValueError):  # no limit ("max"), or not a group
                    yield group_limit(group, files) + swap.within(group_swap(group, files))
                if group == root:
                    break


def group_limit(group: Path, files: GroupFiles) -> HostMemory:
    """What a control group may have in memory.  Raises OSError or ValueError where it has no limit."""
    most = int((group / files.limit).read_text())
    rows = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    used = int((group / files.usage).read_text()) - int(rows.get(files.spare, 0))
    return HostMemory(most, most - used)


def group_swap(group: Path, files: GroupFiles) -> HostMemory:
    """What a control group may swap out, of all that there is where it has no limit of its own."""
    try:
        most, used = (int((group / name).read_text()) for name in (files.swap_limit, files.swap_usage))
        if files.together:
            most -= int((group / files.limit).read_text())
            used -= int((group / files.usage).read_text())
    except (OSError, ValueError):
        return HostMemory(sys.maxsize, sys.maxsize)
    return HostMemory(most, most - max(0, used))


def process_limits() -> Iterator[HostMemory]:
    """Bytes of address space and of data that `ulimit` leaves a process."""
    if resource is None:
        return
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            yield HostMemory(soft, soft)


def free_of(device: torch.device) -> int | None:
    """Bytes that are free on a device now, a processor's without swapping; None where that is not known."""
    if device.type != "cpu":
        return free_memory(device)
    free = unswapped_memory()
    return None if free == float("inf") else int(free)


@dataclass(frozen=True)
class Need:
    """Bytes of a processor's memory that a run takes: as predicted, and those that are `certain`."""

    predicted: int
    certain: int

    @classmethod
    def of(cls, predicted: int) -> Need:
        """Of a run of which a prediction is all that is known."""
        return cls(predicted, round(CERTAIN * predicted))

    @property
    def size(self) -> int:
        """The bytes that are told."""
        return max(self.predicted, self.certain)

    def __str__(self) -> str:
        return f"{format_bytes(self.size)} of memory are needed"


def note(need: Need) -> str:
    """What a run on a processor has to fear; an empty string for nothing."""
    memory = host_memory()
    if memory is None:
        return ""
    if need.certain > memory.total:
        return f"{need}, and {memory}: it would be refused"
    if need.predicted > memory.total:
        return f"{need}, and {memory}: it may be slow, or run out"
    if need.predicted - BASE_MEMORY > memory.available:
        return f"{need}, and {format_bytes(memory.available)} are free: it may run out"
    return ""


def check(need: Need, hint: str = SMALLER) -> None:
    """Refuse a run that certainly needs more than there is.  Raises DeviceError."""
    memory = host_memory()
    if memory is not None and need.certain > memory.total:
        raise DeviceError(f"{need}, and {memory}", hint)
