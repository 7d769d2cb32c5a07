"""Overlays that last and are told by their color: in a picture as light as they are, luma shows no edges of theirs."""

from __future__ import annotations

import cv2
import numpy as np

from vrx.media.frame import Frame, Kind
from vrx.pipeline.mask.lasting import Lasting, find_lasting
from vrx.pipeline.mask.persistence import Persistence
from vrx.pipeline.mask.samples import Luma, gradients

MOST_USUAL = 3.0  # usual steadiness of a scene's edges of luma, beyond which its own colors stay as well
HALF = 2  # times as large as the planes that colors are looked at in, is the picture


def to_tints(frame: Frame, size: tuple[int, int]) -> tuple[Luma, ...]:
    """Both color differences of a frame of a size (width, height), of 8 bits, at half of it; none of a gray one."""
    planes, depth = frame.planes, frame.layout.depth
    half = (max(1, size[0] // HALF), max(1, size[1] // HALF))
    if frame.layout.kind is Kind.GRAY:
        return ()
    if frame.layout.kind is Kind.RGB:
        red, green, blue = (
            cv2.resize(plane, half, interpolation=cv2.INTER_AREA).astype(np.int32) for plane in planes[:3]
        )
        pairs = ((blue - green) >> 1, (red - green) >> 1)
        return tuple(((pair + (1 << depth - 1)) >> (depth - 8)).astype(np.uint8) for pair in pairs)
    both = (cv2.resize(plane, half, interpolation=cv2.INTER_AREA).astype(np.int32) for plane in planes[1:3])
    return tuple((plane >> (depth - 8)).astype(np.uint8) for plane in both)


class TintFinder:
    """Takes samples of a video of a size (width, height).  Memory is that of a few pictures."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        half = (max(1, size[0] // HALF), max(1, size[1] // HALF))
        self._seen = (Persistence(half), Persistence(half))

    def add(self, tints: tuple[Luma, ...]) -> None:
        """The next sample, as `to_tints` gives it."""
        for seen, tint in zip(self._seen, tints, strict=False):
            seen.add(gradients(tint))

    def finish(self, usual: float | None) -> list[Lasting]:
        """What lasts, as parts of the picture; `usual`: how steady the edges of luma are in the scene."""
        if usual is None or usual > MOST_USUAL:
            return []
        return [self._enlarged(found) for seen in self._seen for found in find_lasting(seen, usual)]

    def _enlarged(self, found: Lasting) -> Lasting:
        left, top, width, height = (
            HALF * found.left,
            HALF * found.top,
            *(HALF * side for side in found.area.shape[::-1]),
        )
        area = cv2.resize(found.area.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
        return Lasting(left, top, area, np.zeros((2, height, width), np.float32), found.upright)
