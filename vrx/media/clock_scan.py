"""Continuous clock for containers whose own runs freely.

Broadcast and disc containers have a clock that starts anywhere, wraps, and restarts where recordings were joined.
`ClockScan` reads the timestamps of every packet of such a source once, and its `Timeline` puts all streams on one
continuous clock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from vrx.media.timing import MAX_REORDER

FREE_RUNNING = {"mpegts", "mpeg", "flv", "live_flv"}  # ffmpeg's names of containers with a free-running clock
TICK = Fraction(1, 90_000)  # seconds; the clock of MPEG systems, in which the scan counts
WRAP = 1 << 33  # ticks after which timestamps of MPEG systems wrap (ISO/IEC 13818-1, 2.4.3.7)
MIN_JUMP_BACK = 9_000  # ticks that a restarting video clock goes back at least; ffmpeg's limit, too
MIN_JUMP_AHEAD = 90_000  # ticks that it jumps ahead at least, where sound jumps alike
MIN_JUMP_ALONE = 900_000  # the same without sound to compare, as a frame may be shown for long; ffmpeg's limit
SOUND_JUMP_BACK, SOUND_JUMP_AHEAD = 2_700, 9_000  # the same for sound beside video; its packets last 20 to 60 ms
MAX_OVERLAP = 22_500  # ticks of sound that are dropped at a discontinuity to keep the frames evenly spaced


def plausible_pts(dts: int | None, pts: int | None, reach: int) -> int | None:
    """When a packet is shown; None where that is further than `reach` from when it is decoded.

    Demuxers make up the times that a program stream leaves out, and reach across a seam for them.
    """
    return None if dts is not None and pts is not None and abs(pts - dts) > reach else pts


@dataclass
class PacketRun:
    """Packets of a stream whose times follow on one another, in ticks without wraps.

    `number` is the first packet's place in its stream, `jump` how far its time is from the expected one.  The
    run begins between the byte positions `before` and `after`; `start` and `end` are when it is shown.
    """

    number: int
    jump: int
    before: int
    after: int
    start: int
    end: int


@dataclass
class StreamScan:
    """The scan of one stream; `step` ticks are the duration of packets that do not give one."""

    kind: str
    step: int
    runs: list[PacketRun] = field(default_factory=list)
    wraps: list[tuple[int, int]] = field(default_factory=list)  # from which packet on, how many wraps
    last: int = 0  # byte position of the last packet
    _count: int = 0
    _next: int | None = None

    @property
    def reach(self) -> int:
        """Ticks that may lie between when a packet is decoded and when it is shown."""
        return max(MIN_JUMP_AHEAD, MAX_REORDER * self.step)

    def add(self, dts: int | None, pts: int | None, duration: int, position: int | None) -> None:
        """Look at the next packet: times and duration in ticks, its place in the file where it is known."""
        number, before = self._count, self.last
        self._count, self.last = number + 1, before if position is None else position
        pts = plausible_pts(dts, pts, self.reach)
        time = pts if dts is None else dts
        duration = duration or self.step
        if time is None:
            self._next = None if self._next is None else self._next + duration
            return
        decoded = self._unwrap(time, number)
        shown = decoded if pts is None else decoded + pts - time
        jump = 0 if self._next is None else decoded - self._next
        if not self.runs or self._is_break(jump):
            self.runs.append(PacketRun(number, jump, before, self.last, shown, shown))
        run = self.runs[-1]
        run.start, run.end = min(run.start, shown), max(run.end, shown + duration)
        self._next = decoded + duration

    def _is_break(self, jump: int) -> bool:
        """Whether a run begins; captions and data have no regular times, so each packet is a run."""
        if self.kind == "video":
            return jump > MIN_JUMP_AHEAD or jump < -max(MIN_JUMP_BACK, 2 * self.step)
        return self.kind != "audio" or jump > SOUND_JUMP_AHEAD or jump < -SOUND_JUMP_BACK

    def _unwrap(self, time: int, number: int) -> int:
        """The unwrapped time: of all candidates, the nearest to the expected one."""
        if self._next is None:
            return time
        turns = round((self._next - time) / WRAP)
        if turns != (self.wraps[-1][1] if self.wraps else 0):
            self.wraps.append((number, turns))
        return time + turns * WRAP

    def break_at(self, run: PacketRun) -> PacketRun | None:
        """The run that begins where one of the picture's does, after a jump of the same kind."""
        for own in self.runs[max(1, bisect_right(self.runs, run.before, key=lambda other: other.after)) :]:
            if own.before > run.after:
                break
            if run.jump < 0 or own.jump > run.jump // 2:
                return own
        return None


@dataclass(frozen=True)
class Discontinuity:
    """Where the clock restarts: the first of the picture's runs behind it, and the byte positions around it."""

    run: PacketRun
    before: int
    after: int


@dataclass(frozen=True)
class TimestampShifts:
    """How a stream's packets move: from packet number `numbers[i]` on by `ticks[i]`.

    Where `ends[i]` is not None, sound of the next part begins then, and what would overlap it is dropped.  Packets
    shown more than `reach` ticks after they are decoded have a made-up time.
    """

    numbers: tuple[int, ...] = (0,)
    ticks: tuple[int, ...] = (0,)
    ends: tuple[int | None, ...] = (None,)
    reach: int = WRAP

    def at(self, number: int) -> tuple[int, int | None]:
        """Ticks to add to the times of a packet, and when sound of the next part begins."""
        place = max(0, bisect_right(self.numbers, number) - 1)
        return self.ticks[place], self.ends[place]


@dataclass(frozen=True)
class Timeline:
    """One continuous clock for all streams of a source, which continues that of its first part.

    `shifts` by stream index; `is_continuous` where nothing is shifted.  `begin` and `end` of the video, and `sound`
    when the first sound begins (None where none is near), in seconds.  `keys` are the sizes of the picture's key
    frames in bytes, by the time their packets come with.
    """

    shifts: dict[int, TimestampShifts]
    is_continuous: bool
    begin: Fraction
    end: Fraction
    sound: Fraction | None
    keys: Mapping[int, int] = field(default_factory=dict)

    def zero(self, first_picture: Fraction) -> Fraction:
        """The time that becomes zero: the earliest of picture and sound."""
        return first_picture if self.sound is None else min(first_picture, self.sound)


class ClockScan:
    """Looks at all packets of a source in the file's order.

    `kinds` by stream index; `video` is the stream that leads, at about `rate` frames a second.
    """

    def __init__(self, kinds: Mapping[int, str], video: int, rate: Fraction) -> None:
        step = round(1 / (rate * TICK)) if rate else 0
        self._streams = {index: StreamScan(kind, step if index == video else 0) for index, kind in kinds.items()}
        self._video = self._streams[video]

    def add(self, stream: int, dts: int | None, pts: int | None, duration: int, position: int | None) -> None:
        """Look at a packet: times and duration in ticks, its byte position where it is known."""
        self._streams[stream].add(dts, pts, duration, position)

    def timeline(self) -> Timeline:
        """The continuous clock of all packets added."""
        video, streams = self._video, self._streams.values()
        sound = [stream for stream in streams if stream.kind == "audio" and stream.runs]
        seams = [seam for run in video.runs[1:] if (seam := find_discontinuity(run, sound)) is not None]
        shifts = [0]
        extents = [Extents(stream, seams) for stream in (video, *sound)]
        for number in range(1, len(seams) + 1):
            shifts.append(shifts[-1] + part_shift(number, extents))
        begin = video.runs[0].start if video.runs else 0
        starts = [stream.runs[0].start + shifts[part_number(stream.runs[0], seams)] for stream in sound]
        near = [start for start in starts if abs(start - begin) <= MIN_JUMP_ALONE]
        measured = [run for stream in (video, *sound) for run in stream.runs]
        usual = near == starts and all(run.start >= 0 and run.end < WRAP for run in measured)
        return Timeline(
            shifts={index: stream_shifts(stream, seams, shifts) for index, stream in self._streams.items()},
            is_continuous=usual and not seams and not any(stream.wraps for stream in streams),
            begin=begin * TICK,
            end=max((end + shifts[number] for number, end in extents[0].ends.items()), default=0) * TICK,
            sound=min(near) * TICK if near else None,
        )


class Extents:
    """When each part of a stream starts and ends, in ticks, by the part's number."""

    def __init__(self, stream: StreamScan, seams: Sequence[Discontinuity]) -> None:
        self.starts: dict[int, int] = {}
        self.ends: dict[int, int] = {}
        for run in stream.runs:
            number = part_number(run, seams)
            self.starts.setdefault(number, run.start)
            self.ends[number] = max(run.end, self.ends.get(number, run.end))


def find_discontinuity(run: PacketRun, sound: Iterable[StreamScan]) -> Discontinuity | None:
    """The discontinuity where a video run begins; None where sound continues there without a jump."""
    before, after, alone = run.before, run.after, True
    for stream in sound:
        own = stream.break_at(run)
        if own is not None:
            before, after, alone = max(before, own.before), min(after, own.after), False
        elif stream.runs[0].after <= run.before and stream.last >= run.after:
            return None
    if alone and 0 <= run.jump < MIN_JUMP_ALONE:
        return None
    return Discontinuity(run, before, after)


def part_number(run: PacketRun, seams: Sequence[Discontinuity]) -> int:
    """The part a run belongs to: how many seams it begins behind."""
    number = bisect_left(seams, run.after, key=lambda seam: seam.before)
    while number and belongs_before(run, seams[number - 1]):
        number -= 1
    return number + (number < len(seams) and run is seams[number].run)


def belongs_before(run: PacketRun, seam: Discontinuity) -> bool:
    """Whether a run that begins between the packets around a seam belongs to the part before it.

    It does not where its clock jumps as the picture's does; else its time must be nearer to that before the seam.
    """
    jump, start = seam.run.jump, seam.run.start
    if run is seam.run or run.after >= seam.after or 2 * run.jump * jump > jump**2:
        return False
    return abs(run.start - start + jump) < abs(run.start - start)


def part_shift(number: int, streams: Sequence[Extents]) -> int:
    """Ticks by which part `number` moves against the one before, to begin where that one ends.

    The first of `streams`, the video, continues without a gap; later only where much sound would overlap.
    """
    before = number - 1
    moves = [
        stream.ends[before] - stream.starts[number]
        for stream in streams
        if before in stream.ends and number in stream.starts
    ]
    return moves[0] if max(moves) <= moves[0] + MAX_OVERLAP else max(moves)


def stream_shifts(stream: StreamScan, seams: Sequence[Discontinuity], shifts: Sequence[int]) -> TimestampShifts:
    """How the packets of a stream move: wraps undone, each part behind the one before."""
    changes: dict[int, tuple[int, int | None]] = {}
    later = start = begins = None
    for run in reversed(stream.runs):
        belongs = part_number(run, seams)
        if belongs != later:
            later, begins = belongs, start
        start = run.start + shifts[belongs]
        changes[run.number] = (shifts[belongs], begins if stream.kind == "audio" else None)
    changes.setdefault(0, (shifts[0], None))
    wraps = dict(stream.wraps)
    numbers, ticks, ends, turns, now = [], [], [], 0, changes[0]
    for number in sorted({*changes, *wraps}):
        now, turns = changes.get(number, now), wraps.get(number, turns)
        numbers.append(number)
        ticks.append(now[0] + turns * WRAP)
        ends.append(now[1])
    return TimestampShifts(tuple(numbers), tuple(ticks), tuple(ends), stream.reach)
