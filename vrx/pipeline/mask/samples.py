"""Frames between which the picture has changed as a whole: what stays at its place in all of them is not of it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8]
Plane = NDArray[np.float32]

SMALL_SIDE = 320  # pixels; whether the picture has changed is seen in one shrunk to at most this
BLOCKS = 8  # parts a side that are looked at by themselves: an overlay is in a few of them only
EDGE = 5.0  # levels a pixel, from which on a gradient is an edge
LEAST_EDGES = 0.03  # share of a block's pixels; with fewer it shows nothing to compare
LEAST_BLOCKS = 4  # that show something
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
        self._before: tuple[Plane, Plane] | None = None

    def is_new(self, luma: Luma) -> bool:
        """Whether a frame is chosen."""
        height, width = luma.shape
        factor = min(1.0, SMALL_SIDE / max(height, width))
        size = (max(BLOCKS, round(width * factor)), max(BLOCKS, round(height * factor)))
        now = gradients(cv2.resize(luma, size, interpolation=cv2.INTER_AREA))
        if self._before is None or has_changed(self._before, now):
            self._before = now
            return True
        return False


def has_changed(before: tuple[Plane, Plane], now: tuple[Plane, Plane]) -> bool:
    """Whether most parts of a picture show other edges than before."""
    edges = np.hypot(*before) >= EDGE
    same = agree(before, now) & edges
    counts, stays, areas = (block_sums(x) for x in (edges, same, np.ones_like(edges)))
    shown = counts >= LEAST_EDGES * areas
    if np.count_nonzero(shown) < LEAST_BLOCKS:
        return False
    return bool(np.mean(stays[shown] <= CHANGED_BLOCK * counts[shown]) >= CHANGED)


def block_sums(x: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many are true in each of BLOCKS x BLOCKS parts."""
    rows, columns = (np.linspace(0, side, BLOCKS + 1).astype(int)[:-1] for side in x.shape)
    sums = np.add.reduceat(np.add.reduceat(x.astype(np.int64), rows, 0), columns, 1)
    return np.asarray(sums)
