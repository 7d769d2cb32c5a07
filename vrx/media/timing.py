"""Timestamps of decoded frames: made to increase, and put in display order where packets have decoding times only."""

from __future__ import annotations

from fractions import Fraction

MAX_REORDER = 16  # frames that may be decoded between a frame and those it follows (H.264, A.3.1; H.265, A.4.2)


class Clock:
    """Gives every decoded frame an integer timestamp later than the one before.

    Counts in `time_base` seconds; missing times are rebuilt from the frame rate.
    """

    def __init__(self, time_base: Fraction, rate: Fraction) -> None:
        self.time_base = time_base
        self.step = max(1, round(1 / (rate * time_base))) if rate else 1
        self.last: int | None = None

    def stamp(self, pts: int | None) -> tuple[int, str]:
        """A picture's time, and what was repaired about it in words (empty: nothing)."""
        repair = ""
        if pts is None:
            pts = 0 if self.last is None else self.last + self.step
            repair = "frames without a timestamp were placed by the frame rate" if self.last is not None else ""
        elif self.last is not None and pts <= self.last:
            pts = self.last + 1
            repair = "frames with timestamps that go backwards were moved"
        self.last = pts
        return pts, repair


class DisplayOrder:
    """Timestamps for frames of a stream whose packets have decoding times only: the earliest one not used yet.

    AVI is such a container: it counts packets, and B-frames come after the frames they refer to.
    """

    def __init__(self) -> None:
        self._free: list[int] = []  # times of packets, in order, not used by a frame yet
        self._inside: dict[int, int] = {}  # packets in the decoder: time, number
        self._count = 0

    def push(self, dts: int) -> int:
        """Add a packet before it is decoded; its frame must be decoded with the time returned."""
        self._free.append(dts)
        self._inside[dts] = self._count
        self._count += 1
        return dts

    def pop(self, sent: int) -> int:
        """The time of the next decoded frame, whose packet was pushed as `sent`."""
        number = self._inside.pop(sent, None)
        if number is None:
            return sent
        for lost in [dts for dts, other in self._inside.items() if other < number - MAX_REORDER]:
            del self._inside[lost]  # it never comes out: damaged, or not shown
            self._free.remove(lost if lost in self._free else self._free[0])
        return self._free.pop(0)
