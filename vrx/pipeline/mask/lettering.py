"""Whether a place in a picture shows lettering: bright strokes in rows, all letters as tall and as light as the others.

Nothing tells lettering from a scene as well as its light: the brightest pixels of its letters differ by a level or two,
those of leaves, windows or waves by ten and more.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vrx.pipeline.mask.lengths import odd
from vrx.pipeline.mask.regions import strokes
from vrx.pipeline.mask.samples import Area, Luma

NEAR = 12  # pixels around edges, to which letters may reach
TOUCHING = 3  # pixels a side, within which edges are of a stroke
BRIGHT, DIMMER = 0.85, 50  # quantile of the strokes' light that is theirs, and levels below it that their pixels have
SAME_LIGHT = 12  # levels from theirs, that others beside them, and all letters of a line, have
LEAST_AREA, SHORTEST, TALLEST = 4, 5, 0.12  # pixels of a letter, its height in pixels and in heights of the picture
WIDEST = 3.5  # heights, of letters that touch one another
FEWEST = 3  # letters
PEAK = 0.9  # quantile of a letter's light that is its own
ONE_LIGHT = 2.0  # levels, the median deviation of these
ALIKE, MOST_ALIKE = 0.75, 1.9  # share of letters as tall as the others, up to that ratio
ROW, IN_ROWS = 0.4, 0.75  # heights that middles of letters of a row are apart, and share of letters that are in one
OUTLINE = 4  # pixels around a letter, to which its edges and its outline reach
BESIDE = 1.2  # heights of letters, in which others are beside them
MOST_OF_ALL = 0.85  # of the strokes' pixels, that are of letters


class Letters(NamedTuple):
    """Lettering: which of the edges [h, w] that were looked at are its, and all of its pixels [H, W] in a picture."""

    edges: Area
    area: Area


def find_letters(luma: Luma, edges: Area, left: int, top: int, unit: float) -> Letters | None:
    """The letters that edges [h, w] from `left` and `top` on in a picture [H, W] belong to; None if they are of none.

    `unit`: see `lengths`.
    """
    pad, (height, width) = round(NEAR * unit), edges.shape
    x, y = max(0, left - pad), max(0, top - pad)
    light = luma[y : top + height + pad, x : left + width + pad]
    near = np.zeros(light.shape, np.uint8)
    near[top - y : top - y + height, left - x : left - x + width] = edges
    lit = strokes(light, unit)
    seen = lit & (cv2.dilate(near, np.ones((odd(TOUCHING * unit),) * 2, np.uint8)) > 0)
    if not seen.any():
        return None
    own = float(np.quantile(light[seen], BRIGHT))
    bright = seen & (light >= own - DIMMER)
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(bright.astype(np.uint8), connectivity=8)
    _, _, wide, high, size = boxes.T
    fits = (size >= LEAST_AREA * unit**2) & (high >= SHORTEST * unit) & (high <= TALLEST * luma.shape[0])
    fits &= wide <= WIDEST * high
    fits[0] = False  # what is not bright
    letters = np.flatnonzero(fits)
    if len(letters) < FEWEST or size[letters].sum() < MOST_OF_ALL * np.count_nonzero(bright):
        return None
    peaks = np.array([peak_of(light, labels, label, boxes[label].tolist()) for label in letters.tolist()])
    off = np.abs(peaks - np.median(peaks))
    if np.median(off) > ONE_LIGHT or not in_rows(boxes[letters]):
        return None
    fits[letters[off > SAME_LIGHT]] = False
    usual = float(np.median(high[letters]))
    area = np.zeros(luma.shape, bool)
    area[y : y + light.shape[0], x : x + light.shape[1]] = complete(
        fits[labels], lit & (light >= own - SAME_LIGHT), usual
    )
    around = cv2.dilate(area.astype(np.uint8), np.ones((odd(2 * OUTLINE * unit),) * 2, np.uint8)) > 0
    return Letters(edges & around[top : top + height, left : left + width], area)


def peak_of(light: Luma, labels: NDArray[np.integer | np.floating], label: int, box: list[int]) -> float:
    """The light of a letter; looked for in its box alone, as a scene may have thousands of such strokes."""
    left, top, width, height = box[:4]
    spot = (slice(top, top + height), slice(left, left + width))
    return float(np.quantile(light[spot][labels[spot] == label], PEAK))


def complete(letters: Area, lit: Area, usual: float) -> Area:
    """Letters [H, W] of a `usual` height with the strokes beside them, `lit`: dots, dashes and more letters."""
    _, labels, boxes, _ = cv2.connectedComponentsWithStats((lit | letters).astype(np.uint8), connectivity=8)
    small = boxes[:, 3] <= MOST_ALIKE * usual
    small[0] = False
    rows = cv2.dilate(letters.astype(np.uint8), np.ones((odd(usual / 2), odd(2 * BESIDE * usual)), np.uint8)) > 0
    alike = small[labels] & rows
    return np.asarray(letters | alike)


def in_rows(boxes: NDArray[np.integer | np.floating]) -> bool:
    """Whether letters with such boxes [n, 5] (left, top, width, height, area) are of one height, and in rows."""
    high, middle = boxes[:, 3], boxes[:, 1] + boxes[:, 3] / 2
    usual = float(np.median(high))
    alike = (high * MOST_ALIKE >= usual) & (high <= MOST_ALIKE * usual)
    same = np.abs(middle[:, None] - middle[None]) <= ROW * usual
    return bool(alike.mean() >= ALIKE and (same.sum(1) >= FEWEST).mean() >= IN_ROWS)
