"""A span: whole scenes of a source, at least as long as a segment of a resumed run, found in one pass over all frames.

A model starts anew at a hard cut, so a span is restored as a run of all restores its frames.  What it needs of the
frames before it (where scenes begin, when the guidance is refreshed) is in the span, and so is a checksum of its
frames: a reader that was sent to its beginning proves by it that it came to the same pictures as one that read all.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from vrx.errors import InputError
from vrx.media.frame import Frame
from vrx.scenes.detect import Boundary, SceneFrame

ROW_STEP = 8  # every so many rows are in a checksum: decoders fail in blocks of at least as many


@dataclass(frozen=True, kw_only=True)
class Span:
    """Frames `first` to before `first + frames` of a job, the first one shown `start` seconds after the source's first.

    `begin` is its time in seconds of the source; `scene` counts from 0; `hard` and `soft` are the frames, counted
    in the span, that begin a scene or refresh the guidance.  `head` and `checksum` are those of the first frame
    and of all of them.
    """

    number: int
    scene: int
    first: int
    frames: int
    start: Fraction
    begin: Fraction
    hard: tuple[int, ...]
    soft: tuple[int, ...]
    head: int
    checksum: int

    def boundary(self, number: int) -> Boundary:
        """What begins at a frame of the span; a scene at its first one."""
        if number == 0 or number in self.hard:
            return Boundary.HARD
        return Boundary.SOFT if number in self.soft else Boundary.NONE

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "start": str(self.start), "begin": str(self.begin)}

    @classmethod
    def of(cls, values: dict[str, Any]) -> Span:
        """From what `as_dict` gave.  Raises KeyError, TypeError or ValueError."""
        times = {name: Fraction(values[name]) for name in ("start", "begin")}
        places = {name: tuple(map(int, values[name])) for name in ("hard", "soft")}
        return cls(**{**values, **times, **places})


class WrongFramesError(InputError):
    """Frames that a span was found with are not those that are read now."""


def add_checksum(before: int, frame: Frame) -> int:
    """The checksum of frames, from that of those before and the next one: its time, and every ROW_STEP-th row."""
    found = zlib.crc32(f"{frame.time}".encode(), before)
    for plane in frame.planes:
        found = zlib.crc32(plane[::ROW_STEP].tobytes(), found)
    return found


def group_spans(frames: Iterable[SceneFrame], origin: Fraction, least: int) -> Iterator[Span]:
    """The spans of a job from all its frames: each ends at the first hard cut after `least` frames.

    `origin` is the time of the source's first frame.  A span is given once the next one has begun.
    """
    found: Tally | None = None
    for number, item in enumerate(frames):
        hard = item.boundary is Boundary.HARD
        if found is None:
            found = Tally(0, 0, number, item.frame)
        elif hard and found.frames >= least:
            yield found.finish(origin)
            found = Tally(found.number + 1, found.scene + len(found.hard) + 1, number, item.frame)
        found.add(item)
    if found is not None:
        yield found.finish(origin)


class Tally:
    """A span whose frames are being counted."""

    def __init__(self, number: int, scene: int, first: int, frame: Frame) -> None:
        self.number, self.scene, self.first, self._begin = number, scene, first, frame.time
        self.frames = 0
        self.hard: list[int] = []  # without the first frame
        self._soft: list[int] = []
        self._head, self._checksum = add_checksum(0, frame), 0

    def add(self, item: SceneFrame) -> None:
        """Count the next frame."""
        self._checksum = add_checksum(self._checksum, item.frame)
        if self.frames and item.boundary is not Boundary.NONE:
            (self.hard if item.boundary is Boundary.HARD else self._soft).append(self.frames)
        self.frames += 1

    def finish(self, origin: Fraction) -> Span:
        """The span of the frames so far."""
        return Span(
            number=self.number,
            scene=self.scene,
            first=self.first,
            frames=self.frames,
            start=self._begin - origin,
            begin=self._begin,
            hard=tuple(self.hard),
            soft=tuple(self._soft),
            head=self._head,
            checksum=self._checksum,
        )
