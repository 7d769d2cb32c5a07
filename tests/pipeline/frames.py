"""Frames without files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from tests.clips import scenery
from vrx.media.frame import Color, Frame, Kind, Layout
from vrx.pipeline.chunking import MaskedFrame
from vrx.scenes.detect import Boundary

RGB = Layout(Kind.RGB, 8)


def frame(number: int, size: tuple[int, int] = (24, 16), shot: int = 0) -> Frame:
    picture = scenery(number, size, shot)
    planes = tuple(np.ascontiguousarray(picture[..., c]) for c in range(3))
    return Frame(planes, RGB, Color(matrix="rgb", full_range=True), number * 40, Fraction(1, 1000))


def stream(
    count: int, cuts: Sequence[int] = (), soft: Sequence[int] = (), size: tuple[int, int] = (24, 16), start: int = 0
) -> Iterator[MaskedFrame]:
    for number in range(start, start + count):
        boundary = Boundary.HARD if number in cuts else Boundary.SOFT if number in soft else Boundary.NONE
        yield MaskedFrame(frame(number, size), None, boundary)
