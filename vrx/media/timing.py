"""Exact time arithmetic: integers with their time base from demuxer to muxer."""

from __future__ import annotations

from fractions import Fraction


class Clock:
    """Gives every decoded picture a time that is whole and later than the one before.

    Counts in `time_base` seconds; missing times are rebuilt from the frame rate.
    """

    def __init__(self, time_base: Fraction, rate: Fraction) -> None:
        self.time_base = time_base
        self.step = max(1, round(1 / (rate * time_base))) if rate else 1
        self.last: int | None = None
        self._first: int | None = None

    @property
    def origin(self) -> Fraction | None:
        """When the first picture was shown, in seconds."""
        return None if self._first is None else self._first * self.time_base

    def begin(self, pts: int | None) -> None:
        """Set the origin without showing anything: before a seek."""
        self._first = pts or 0

    def stamp(self, pts: int | None) -> tuple[int, str]:
        """A picture's time, and what was repaired about it (empty when nothing)."""
        repaired = ""
        if pts is None:
            pts = 0 if self.last is None else self.last + self.step
            repaired = "frames without a time were placed by the frame rate" if self.last is not None else ""
        elif self.last is not None and pts <= self.last:
            pts = self.last + 1
            repaired = "frames whose times went backwards were moved"
        self.last = pts
        self._first = pts if self._first is None else self._first
        return pts, repaired
