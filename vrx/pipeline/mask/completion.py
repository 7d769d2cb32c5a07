"""Parts of an opaque overlay whose edges were not told from the scene: they have its light, which does not change."""

from __future__ import annotations

import cv2
import numpy as np

from vrx.pipeline.mask.lengths import odd
from vrx.pipeline.mask.samples import Area, Plane

STEADY = 3.0  # levels, deviation of a pixel's light from sample to sample, at most
SAME_LIGHT = 6.0  # levels, that a part's light may differ from that of the overlay
OPAQUE = 0.5  # of an overlay's area, that is so steady: less shows the scene
LEAST_AREA = 6  # pixels
REACH = 1.0  # heights around it, in which its parts are
DIFFERENT, CHANGING = 12.0, 6.0  # levels that the picture beside a part differs from it, or changes, by
OUTLINED = 0.85  # of the pixels beside it, that do
EDGE = 2  # pixels, to which the outline of a part reaches


def complete(area: Area, left: int, top: int, light: tuple[Plane, Plane], unit: float) -> tuple[Area, int, int]:
    """An area [h, w] from `left` and `top` on with the missing parts, and from where on that is.

    `light` [H, W] each: mean of luma and its deviation from sample to sample; `unit`: see `lengths`.
    """
    mean, deviation = light
    height, width = area.shape
    inner = area & (deviation[top : top + height, left : left + width] <= STEADY)
    if inner.sum() < OPAQUE * area.sum():
        return area, left, top
    usual = float(np.median(mean[top : top + height, left : left + width][inner]))
    reach = round(REACH * np.count_nonzero(area.any(1)))
    x, y = max(0, left - reach), max(0, top - reach)
    spot = (slice(y, top + height + reach), slice(x, left + width + reach))
    alike = (deviation[spot] <= STEADY) & (np.abs(mean[spot] - usual) <= SAME_LIGHT)
    whole = np.zeros(alike.shape, bool)
    whole[top - y : top - y + height, left - x : left - x + width] = area
    rows = np.flatnonzero(whole.any(1))
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(alike.astype(np.uint8))
    for label in range(1, count):
        first, last = boxes[label][1], boxes[label][1] + boxes[label][3]
        if boxes[label][4] < LEAST_AREA * unit**2 or first > rows[-1] or last <= rows[0]:
            continue
        part = labels == label
        if not (part & ~whole).any() or touches_border(part):
            continue
        grown = cv2.dilate(part.astype(np.uint8), np.ones((odd(2 * EDGE * unit + 1),) * 2, np.uint8)) > 0
        beside = (cv2.dilate(grown.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~grown & ~whole
        differs = (np.abs(mean[spot][beside] - usual) >= DIFFERENT) | (deviation[spot][beside] >= CHANGING)
        if not beside.any() or differs.mean() >= OUTLINED:
            whole |= grown
    rows, columns = np.flatnonzero(whole.any(1)), np.flatnonzero(whole.any(0))
    top, left = int(rows[0]), int(columns[0])
    return whole[top : rows[-1] + 1, left : columns[-1] + 1], x + left, y + top


def touches_border(part: Area) -> bool:
    """Whether an area reaches the border of the picture that it is in."""
    return bool(part[[0, -1]].any() or part[:, [0, -1]].any())
