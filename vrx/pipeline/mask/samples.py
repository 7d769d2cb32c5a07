"""Frames between which the picture has changed as a whole: what stays at its place in all of them is not of it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8]
Plane = NDArray[np.float32]
Area = NDArray[np.bool_]

SMALL_SIDE = 320  # pixels; whether the picture has changed is seen in one shrunk to at most this
BLOCKS = 8  # parts a side that are looked at by themselves: an overlay is in a few of them only
EDGE = 5.0  # levels a pixel, from which on a gradient is an edge
LEAST_EDGES = 0.03  # share of a block's pixels; with fewer its shapes are compared
LEAST_BLOCKS = 4  # that show something
LEAST_CONTRAST = 3.0  # levels, deviation; a part with fewer edges and less shows nothing to compare
CHANGED_SHAPES = 0.6  # correlation up to which such a part has changed
CHANGED_BLOCK = 0.35  # share of a block's edges that may still be there where it has changed
CHANGED = 0.65  # share of the blocks that have changed where the picture has
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


class ChangeDetector:
    """Chooses frames: the first, and each that has changed as a whole since the one chosen before."""

    def __init__(self) -> None:
        self._before: NDArray[np.uint8] | None = None

    def is_new(self, luma: Luma) -> bool:
        """Whether a frame is chosen."""
        height, width = luma.shape
        factor = min(1.0, SMALL_SIDE / max(height, width))
        size = (max(BLOCKS, round(width * factor)), max(BLOCKS, round(height * factor)))
        now = cv2.resize(luma, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        if self._before is None or has_changed(self._before, now):
            self._before = now
            return True
        return False


def has_changed(before: Luma, now: Luma) -> bool:
    """Whether most parts of a picture show something else than before: other edges, or where there are few, shapes."""
    first, second = gradients(before), gradients(now)
    edges = np.hypot(*first) >= EDGE
    counts, stays, areas = (block_sums(x) for x in (edges, agree(first, second) & edges, np.ones_like(edges)))
    likeness, contrast = correlate(before, now)
    sharp, soft = counts >= LEAST_EDGES * areas, contrast >= LEAST_CONTRAST
    changed = np.where(sharp, stays <= CHANGED_BLOCK * counts, likeness <= CHANGED_SHAPES)
    shown = sharp | soft
    return bool(np.count_nonzero(shown) >= LEAST_BLOCKS and np.mean(changed[shown]) >= CHANGED)


def correlate(a: Luma, b: Luma) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How alike parts of two pictures are, -1 to 1 whatever their light, and the deviation of the first in levels."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    areas = block_sums(np.ones_like(x))
    mean_x, mean_y = block_sums(x) / areas, block_sums(y) / areas
    var_x, var_y = block_sums(x * x) / areas - mean_x**2, block_sums(y * y) / areas - mean_y**2
    both = block_sums(x * y) / areas - mean_x * mean_y
    return both / np.sqrt(np.maximum(var_x * var_y, 1e-3)), np.sqrt(np.maximum(var_x, 0))


def block_sums(x: NDArray[np.generic]) -> NDArray[np.float64]:
    """Sums over each of BLOCKS x BLOCKS parts."""
    rows, columns = (np.linspace(0, side, BLOCKS + 1).astype(int)[:-1] for side in x.shape)
    sums = np.add.reduceat(np.add.reduceat(x.astype(np.float64), rows, 0), columns, 1)
    return np.asarray(sums)
