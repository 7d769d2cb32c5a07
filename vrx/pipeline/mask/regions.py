"""From places with edges to the areas of overlays."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vrx.pipeline.mask.lengths import odd
from vrx.pipeline.mask.samples import Area, Luma, Plane

SOLID = 5  # pixels; strokes up to that wide are closed between their edges
HOLE = 2  # times the square of that: smaller holes are filled, whatever is around them
SIDE, SIDES = (
    0.25,
    0.45,
)  # shares of a side of a rectangle that edges are along: of each, and of two opposite ones, mean
UNBROKEN = 0.3  # of a side, that the longest of these is, mean of two opposite sides
PEAK = 0.2  # of the strongest gradient two pixels around, below which an edge is only the foot of that one
FOOT = 5  # pixels a side that are looked at for it
LEAST_SPREAD = 0.08  # of the directions of edges, 0 to 1: lines alone stay where a picture moves along them
BORDER = 2  # pixels; what touches the border belongs to the picture: bars, a dashboard, a film gate
MOST_AREA = 0.25  # of a picture that an overlay's rectangle may have
LONG = 0.5  # of a picture's side, that a straight edge of bars has
SCRATCH_WIDTH = 6  # pixels, at most
SCRATCH_HEIGHT = 0.5  # of the picture's, at least
SCRATCH_SLOPE = 3  # times as steep across as down, that its edges are
SCRATCH_UPRIGHT, SCRATCH_SIDE = 0.9, 0.25  # shares of its edges that are so, and of each of its two sides
STROKES = 9  # pixels; strokes of text are narrower
STROKE_LEVELS = 30  # by which they differ from what is around them


def strokes(luma: Luma, unit: float) -> Area:
    """Where a picture has thin strokes that are brighter than what is around them."""
    kernel = np.ones((odd(STROKES * unit),) * 2, np.uint8)
    return np.asarray(cv2.morphologyEx(luma, cv2.MORPH_TOPHAT, kernel) >= STROKE_LEVELS)


def spread(slopes: Plane) -> float:
    """How different the directions of gradients [2, n] are: 0 for lines that are parallel, 1 for a circle."""
    low, high = np.linalg.eigvalsh(slopes @ slopes.T)
    return float(low / max(high, 1e-9))


def is_scratch(y: tuple[int, int], x: tuple[int, int], slopes: Plane, height: int, unit: float) -> bool:
    """Whether edges are those of a thin upright line, from rows and columns `y` and `x` (first, last) of a picture.

    `slopes` [2, n]: gradients across and down; `height` of the picture; `unit`: see `lengths`.
    """
    upright = np.abs(slopes[0]) >= SCRATCH_SLOPE * np.abs(slopes[1])
    both = min((slopes[0] > 0).mean(), (slopes[0] < 0).mean())
    if y[1] - y[0] < SCRATCH_HEIGHT * height or x[1] - x[0] > SCRATCH_WIDTH * unit:
        return False
    return bool(upright.mean() > SCRATCH_UPRIGHT and both > SCRATCH_SIDE)


def fill_strokes(edges: Area, width: int, slopes: Plane | None = None) -> Area:
    """What edges enclose, and the strokes between them, up to `width` pixels.

    With `slopes` [2, H, W], the gradients of the edges, the inside of a ring stays open: light and dark are on the same
    sides of the edges of an area, and on opposite sides of the two edges of a stroke around nothing.
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    padded = np.pad(edges.astype(np.uint8), width)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)[width:-width, width:-width]
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(closed.copy(), outlines, -1, 1, cv2.FILLED)
    if slopes is None:
        return np.asarray(filled > 0)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(filled - closed, connectivity=4)
    for label in range(1, count):
        hole = labels == label
        if boxes[label][cv2.CC_STAT_AREA] > HOLE * width * width and is_hollow(hole, filled > 0, slopes, width):
            filled[hole] = 0
    return np.asarray(filled > 0)


def is_hollow(hole: Area, filled: Area, slopes: Plane, width: int) -> bool:
    """Whether gradients [2, H, W] point into a hole where they point out of what is around it, or the reverse."""
    return inflow(hole, slopes, width) * inflow(filled, slopes, width) < 0


def inflow(area: Area, slopes: Plane, width: int) -> float:
    """How much gradients point into an area, near its outline."""
    soft = cv2.GaussianBlur(np.pad(area, width).astype(np.float32), (0, 0), width / 4)
    inner = (slice(width, -width), slice(width, -width))
    across, down = (cv2.Sobel(soft, cv2.CV_32F, *order)[inner] for order in ((1, 0), (0, 1)))
    return float(np.vdot(across, slopes[0]) + np.vdot(down, slopes[1]))


def complete_box(edges: Area, area: Area) -> Area:
    """An area, or the rectangle around it where edges are along most of its four sides, unbroken as letters are not."""
    sides = []
    for turned in (edges, edges.T):
        thick = cv2.dilate(turned.astype(np.uint8), np.ones((3, 1), np.uint8))
        share = thick.mean(1)
        long = np.flatnonzero(share >= SIDE)
        if not long.size:
            return area
        first, last = int(long[0]), int(long[-1])
        runs = [longest_run(thick[row]) / thick.shape[1] for row in (first, last)]
        if share[first] + share[last] < 2 * SIDES or sum(runs) < 2 * UNBROKEN:
            return area
        sides.append((first, last + 1))
    (top, bottom), (left, right) = sides
    whole = area.copy()
    whole[top:bottom, left:right] = True
    return whole


def longest_run(row: NDArray[np.uint8]) -> int:
    """Pixels of a row that are marked side by side."""
    ends = np.flatnonzero(np.diff(np.concatenate([[0], row, [0]]).astype(np.int8)))
    return int((ends[1::2] - ends[::2]).max(initial=0))


def sharpen(edges: Area, strength: Plane) -> Area:
    """Edges without the feet that gradients, taken over three pixels, have beside them."""
    peak = cv2.dilate(np.where(edges, strength, 0).astype(np.float32), np.ones((FOOT, FOOT), np.uint8))
    return np.asarray(edges & (strength >= PEAK * peak))


def bars(edges: Area) -> Area:
    """Straight edges as long as those of bars at the border of a picture, across or upright."""
    found = np.zeros(edges.shape, np.uint8)
    found[edges.mean(1) >= LONG] = 1
    found[:, edges.mean(0) >= LONG] = 1
    return np.asarray(cv2.dilate(found, np.ones((3, 3), np.uint8)) > 0)


def touches_border(y: tuple[int, int], x: tuple[int, int], size: tuple[int, ...]) -> bool:
    """Whether rows and columns (first, last) reach the border of a picture of `size`."""
    return y[0] < BORDER or x[0] < BORDER or y[1] >= size[0] - BORDER or x[1] >= size[1] - BORDER


def is_apart(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    """Whether two rectangles (left, top, right, bottom) have no pixel in common."""
    return min(a[2], b[2]) <= max(a[0], b[0]) or min(a[3], b[3]) <= max(a[1], b[1])


def inside(edges: Area, left: int, top: int, size: tuple[int, ...]) -> Area:
    """Edges [h, w] from `left` and `top` on in a picture of `size`, without those connected ones that reach its border.

    What reaches it belongs to the picture, or is the rim of a plate behind lettering.
    """
    rows, columns = np.nonzero(edges)
    y, x = (top + int(rows.min()), top + int(rows.max())), (left + int(columns.min()), left + int(columns.max()))
    if not touches_border(y, x, size):
        return edges
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(edges.astype(np.uint8), connectivity=8)
    kept = np.zeros(count, bool)
    for label, (across, down, width, height) in enumerate(boxes[1:, :4].tolist(), 1):
        y, x = (top + down, top + down + height - 1), (left + across, left + across + width - 1)
        kept[label] = not touches_border(y, x, size)
    return np.asarray(kept[labels])
