"""Frames that are looked at, and the slopes of luma in them."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8]
Plane = NDArray[np.float32]
Area = NDArray[np.bool_]

RATE = 8  # samples a second
SLACK = Fraction(1, 100)  # seconds that a frame may be early
EDGE = 5.0  # levels a pixel, from which on a gradient is an edge
SAME_DIRECTION = 0.8  # cosine, from which on two gradients are of the same edge
SAME_STRENGTH = 2.5  # ratio of two gradients up to which they are


def gradients(luma: NDArray[np.generic]) -> tuple[Plane, Plane]:
    """Slopes of luma across and down, levels a pixel, [H, W] each."""
    source = luma.astype(np.float32)
    across = cv2.Sobel(source, cv2.CV_32F, 1, 0, scale=1 / 8)
    down = cv2.Sobel(source, cv2.CV_32F, 0, 1, scale=1 / 8)
    return across.astype(np.float32, copy=False), down.astype(np.float32, copy=False)


def agree(a: tuple[Plane, Plane], b: tuple[Plane, Plane]) -> NDArray[np.bool_]:
    """Where two gradients are of the same edge."""
    along = a[0] * b[0] + a[1] * b[1]
    first, second = np.hypot(*a), np.hypot(*b)
    alike = (first <= SAME_STRENGTH * second) & (second <= SAME_STRENGTH * first)
    same: NDArray[np.bool_] = (along >= SAME_DIRECTION * first * second) & alike & (second >= EDGE)
    return same


class LightMoments:
    """Mean of luma and its deviation from sample to sample, at every place over the samples that count there.

    Sums of squares are in float64: those of a film are too large for float32, whose rounding would look like a change.
    `count` [H, W]: how many samples that are.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        shape = (size[1], size[0])
        self.count = np.zeros(shape, np.uint32)
        self._sum, self._power = np.zeros(shape), np.zeros(shape)

    def add(self, luma: Luma, where: Area | None = None) -> None:
        """The next sample, which counts everywhere or in an area."""
        light = luma.astype(np.float64) if where is None else luma * where.astype(np.float64)
        self.count += np.uint32(1) if where is None else where
        self._sum += light
        self._power += np.square(light)

    def forget(self, where: Area) -> None:
        """Begin anew in an area."""
        for plane in (self.count, self._sum, self._power):
            plane[where] = 0

    def mean(self) -> Plane:
        """Levels [H, W]; 0 where no sample counts."""
        return np.asarray(self._sum / np.maximum(1, self.count), np.float32)

    def deviation(self) -> Plane:
        """Levels [H, W]; 0 where no sample counts."""
        count = np.maximum(1, self.count)
        return np.asarray(np.sqrt(np.maximum(self._power / count - np.square(self._sum / count), 0)), np.float32)


class Sampler:
    """Chooses frames at even intervals: all of a slow video."""

    def __init__(self) -> None:
        self._next: Fraction | None = None

    def is_next(self, time: Fraction) -> bool:
        """Whether the frame of a time, in seconds, is chosen."""
        if self._next is not None and time < self._next:
            return False
        self._next = time + Fraction(1, RATE) - SLACK
        return True
