"""Cost model: how long a batch takes with N workers, and what stops it from being faster with more.

The driver is simulated as it works: it looks through one file after the other, workers take the longest span that
waits, and a file whose spans are done is joined.  Every rate is one that was measured, on the machine at hand.
"""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from vrx.files import sync

PROBE = 32 << 20  # bytes that are written to measure a disk
PASSES = 3  # over a result's bytes: its segments are hashed, read again, and written joined


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Frames per second of a worker (`restore`) and of the first pass (`scan`), bytes per second of the driver's disk
    (`disk`), bytes of a frame of the result, seconds until the cluster is joined and its workers are ready with their
    model (`start`), and seconds of a span besides its frames (`open`: its source, its encoder, its end).

    Files of one span of at most `whole` frames are restored at once, without a first pass.
    """

    restore: float
    scan: float
    disk: float
    frame_bytes: float
    start: float = 0.0
    open: float = 0.0
    whole: int = 0

    def first_pass(self, spans: Sequence[int]) -> float:
        """Seconds of the first pass over a file."""
        return 0.0 if len(spans) == 1 and spans[0] <= self.whole else sum(spans) / self.scan

    def join(self, frames: int) -> float:
        """Seconds of joining a result."""
        return PASSES * frames * self.frame_bytes / self.disk


@dataclass(frozen=True)
class Prediction:
    """Seconds that `workers` take, and the share of that time that they work."""

    workers: int
    seconds: float
    busy: float


@dataclass(frozen=True)
class Limit:
    """What a batch cannot be faster than: its name, its seconds, and with how many workers it is reached."""

    name: str
    seconds: float
    workers: int


def simulate(files: Sequence[Sequence[int]], workers: int, rates: Rates) -> Prediction:
    """Run a batch in theory: `files` are the lengths of their spans, in frames, as they are opened one by one."""
    free = [rates.start] * workers
    waiting: list[tuple[int, int]] = []  # the longest first: its frames, below zero, and its file
    left, ends = [len(spans) for spans in files], [0.0] * len(files)
    worked = scanned = 0.0
    arrivals = []
    for number, spans in enumerate(files):
        seconds = rates.first_pass(spans)
        for frames in spans:
            scanned += seconds * frames / max(1, sum(spans))
            arrivals.append((scanned, frames, number))
    place, joined = 0, 0.0
    finished: list[tuple[float, int]] = []
    for _ in arrivals:
        now = heapq.heappop(free)
        if not waiting and place < len(arrivals):
            now = max(now, arrivals[place][0])
        while place < len(arrivals) and arrivals[place][0] <= now:
            heapq.heappush(waiting, (-arrivals[place][1], arrivals[place][2]))
            place += 1
        frames, number = heapq.heappop(waiting)
        seconds = rates.open - frames / rates.restore
        worked += seconds
        heapq.heappush(free, now + seconds)
        ends[number], left[number] = max(ends[number], now + seconds), left[number] - 1
        if not left[number]:
            finished.append((ends[number], number))
    for end, number in sorted(finished):
        joined = max(joined, end) + rates.join(sum(files[number]))
    return Prediction(workers, joined, worked / max(1e-9, joined * workers))


def find_limit(files: Sequence[Sequence[int]], rates: Rates) -> Limit:
    """What bounds a batch however many workers there are."""
    frames = sum(map(sum, files))
    work = frames / rates.restore + rates.open * sum(map(len, files))
    floors = {
        "the first pass over all frames, on this machine": sum(map(rates.first_pass, files)),
        "joining the results, on this machine's disk": sum(rates.join(sum(spans)) for spans in files),
        "the longest span, which is one scene or more": max((max(spans) for spans in files if spans), default=0)
        / rates.restore
        + rates.open,
    }
    name = max(floors, key=lambda floor: floors[floor])
    return Limit(name, floors[name], max(1, round(work / max(1e-9, floors[name]))))


def measure_disk(folder: Path) -> float:
    """Bytes per second that are written in a folder, and synced.  Raises OSError."""
    block = bytes(PROBE)
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        begin = perf_counter()
        file.write(block)
        file.flush()
        sync(Path(file.name))
        return PROBE / max(1e-9, perf_counter() - begin)


def counts_for(workers: int, most: int) -> list[int]:
    """Numbers of workers that a plan shows: powers of two up to what is there and what still helps."""
    shown = [1]
    while shown[-1] * 2 <= max(workers, most, 1) and len(shown) < 11:
        shown.append(shown[-1] * 2)
    return sorted({*shown, max(1, workers)})
