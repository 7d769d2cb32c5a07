"""Frames in a file as they are: those of a segment that is not complete, to be encoded when its rest is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import prod
from pathlib import Path

import numpy as np

from vrx.files import sync
from vrx.media.frame import Frame, Kind
from vrx.media.target import Target


class RawFrames:
    """Adds frames to a new file.  `times`: those of its frames, in seconds.  Raises OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.times: list[Fraction] = []
        self._file = path.open("wb")

    def write(self, frame: Frame) -> None:
        """Add one frame."""
        for plane in frame.planes:
            self._file.write(plane.tobytes())
        self.times.append(frame.time)

    def finish(self) -> None:
        """Complete the file, on disk."""
        self._file.close()
        sync(self.path)

    def discard(self) -> None:
        """Remove the file."""
        self._file.close()
        self.path.unlink(missing_ok=True)


def read_raw_frames(path: Path, times: Sequence[Fraction], target: Target) -> Iterator[Frame]:
    """The frames of a file, as they were written for a target.  Raises OSError, and ValueError for another size."""
    shapes, kind = plane_shapes(target), np.dtype("u1" if target.layout.depth == 8 else "<u2")
    count = sum(map(prod, shapes))
    ends = np.cumsum([prod(shape) for shape in shapes])[:-1]
    with path.open("rb") as file:
        for time in times:
            samples = np.frombuffer(file.read(count * kind.itemsize), kind)
            if samples.size != count:
                raise ValueError(f"{path.name} ends early")
            planes = tuple(part.reshape(shape) for part, shape in zip(np.split(samples, ends), shapes, strict=True))
            base = Fraction(1, time.denominator)
            yield Frame(planes, target.layout, target.color, time.numerator, base)


def plane_shapes(target: Target) -> list[tuple[int, int]]:
    """Rows and columns of each plane of a target's frames."""
    layout, (width, height) = target.layout, target.size
    colors = {Kind.GRAY: 0, Kind.RGB: 2, Kind.YUV: 2}[layout.kind]
    columns, rows = layout.chroma_size(width, height)
    return [(height, width), *[(rows, columns)] * colors, *[(height, width)] * layout.alpha]
