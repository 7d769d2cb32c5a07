"""Overlays that are there for most of a video: edges that stay much more as they are than the scene does."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vrx.pipeline.mask.lengths import odd, unit_of
from vrx.pipeline.mask.persistence import MOST_USUAL, Persistence, usual_around
from vrx.pipeline.mask.regions import (
    LEAST_SPREAD,
    MOST_AREA,
    SOLID,
    bars,
    complete_box,
    fill_strokes,
    is_scratch,
    sharpen,
    spread,
    touches_border,
)
from vrx.pipeline.mask.samples import Area, Plane

LEAST_SAMPLES = 5
LEAST_STEADY = 0.8  # steadiness of an overlay's edges, at least
TIMES_USUAL = 2.2  # what is usual in the scene, that they have at least
WEAK = 0.5  # of that, which edges beside such have
STRONG_SLOPE, WEAK_SLOPE = 4.0, 2.5  # levels a pixel, of both kinds, at least
BRIDGE = 11  # pixels; edges as near to each other are of one overlay
LEAST_EDGES = 24  # pixels of strong edges that an overlay has at least
STRONG_SHARE = 0.57  # of its edges that are strong
FAINT_SHARE = 0.38  # the same of one that is clear
CLEAR, ALL_WAYS = 1.5, 0.25  # how many times over such a one is steady, and how its edges are spread
TYPICAL = 2.8  # times what is usual there, that the median of its strong edges has
LOOSE, BEST = 0.7, 0.75  # of that median, that the best quarter of each connected piece of edges has
GAP, REACH = 7, 19  # pixels from an overlay between which the scene around it is looked at


@dataclass
class Lasting:
    """`area` [h, w] from `left` and `top` on; `slopes` [2, h, w] of its edges, 0 elsewhere; `upright`: it is a line."""

    left: int
    top: int
    area: Area
    slopes: Plane
    upright: bool


def find_lasting(seen: Persistence, least_usual: float | None = None) -> list[Lasting]:
    """Overlays among the edges of all samples; none where the scene stays as overlays do.

    `least_usual`: what is usual in the scene at least, by what else is known of it.
    """
    usual = seen.usual if least_usual is None else max(least_usual, seen.usual or 0.0)
    if usual is None or usual > MOST_USUAL or seen.samples < LEAST_SAMPLES:
        return []
    steadiness, slopes = seen.steadiness, seen.mean
    strength = np.hypot(*slopes)
    unit = unit_of(strength.shape[0])
    level = max(LEAST_STEADY, TIMES_USUAL * usual)
    strong = (steadiness >= level) & (strength >= STRONG_SLOPE)
    lines = upright_lines(strong, slopes, unit)
    strong &= ~bars(strong)
    edges = beside(strong, (steadiness >= WEAK * level) & (strength >= WEAK_SLOPE) & ~bars(strong), odd(BRIDGE * unit))
    return [*lines, *judge_all(edges, strong, seen, usual)]


def tells(seen: Persistence) -> bool:
    """Whether the scene changes enough for what does not to stand out."""
    usual = seen.usual
    return seen.samples >= LEAST_SAMPLES and usual is not None and usual <= MOST_USUAL


def beside(strong: Area, weak: Area, bridge: int) -> Area:
    """Strong edges and the weak ones that touch such, as far as half a bridge goes."""
    count, labels = cv2.connectedComponents((weak | strong).astype(np.uint8), connectivity=8)
    hit = np.bincount(labels[strong], minlength=count) > 0
    hit[0] = False
    near = cv2.dilate(strong.astype(np.uint8), np.ones((bridge, bridge), np.uint8)) > 0
    return np.asarray(hit[labels] & near)


def upright_lines(strong: Area, slopes: Plane, unit: float) -> list[Lasting]:
    """Scratches that stay at their place."""
    found = []
    side = odd(3 * unit)
    across = strong & (np.abs(slopes[0]) > np.abs(slopes[1]))
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(
        cv2.morphologyEx(across.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((odd(9 * unit), side), np.uint8))
    )
    for label in range(1, count):
        left, top, width, height, _ = (int(value) for value in boxes[label])
        spot = (slice(top, top + height), slice(left, left + width))
        part = (labels[spot] == label) & across[spot]
        own = slopes[:, *spot] * part
        rows, columns = (0, height - 1), (0, width - 1)
        if is_scratch(rows, columns, own[:, part], strong.shape[0], unit):
            found.append(Lasting(left, top, fill_strokes(part, odd(SOLID * unit)), own, True))
    return found


def judge_all(edges: Area, strong: Area, seen: Persistence, usual: float) -> list[Lasting]:
    """Groups of edges that look like an overlay."""
    steadiness, slopes, places = seen.steadiness, seen.mean, seen.seen & ~strong
    strength = np.hypot(*slopes)
    unit = unit_of(edges.shape[0])
    bridge = odd(BRIDGE * unit)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(
        cv2.dilate(edges.astype(np.uint8), np.ones((bridge, bridge), np.uint8))
    )
    found = []
    for label in range(1, count):
        left, top, width, height, _ = (int(value) for value in boxes[label])
        spot = (slice(top, top + height), slice(left, left + width))
        own = edges[spot] & (labels[spot] == label)
        best = own & strong[spot]
        number = np.count_nonzero(best)
        if number < max(LEAST_EDGES * unit, FAINT_SHARE * np.count_nonzero(own)):
            continue
        rows, columns = np.nonzero(own)
        y, x = (top + int(rows.min()), top + int(rows.max())), (left + int(columns.min()), left + int(columns.max()))
        size = (y[1] - y[0] + 1) * (x[1] - x[0] + 1)
        if touches_border(y, x, edges.shape) or size > MOST_AREA * edges.size:
            continue
        ways = spread(slopes[:, *spot][:, own])
        if ways < LEAST_SPREAD:
            continue
        whole = np.zeros(edges.shape, bool)
        whole[spot] = own
        around = usual_around(steadiness, places, whole, round(GAP * unit), round(REACH * unit))
        typical = np.median(steadiness[spot][best])
        clear = typical / max(LEAST_STEADY, TYPICAL * usual_at(usual, around))
        faint = number < STRONG_SHARE * np.count_nonzero(own)
        if clear < (CLEAR if faint else 1) or (faint and ways < ALL_WAYS):
            continue
        own = drop_loose(own, best, steadiness[spot])
        pattern = np.asarray(slopes[:, *spot] * own, np.float32)
        thin = sharpen(own, strength[spot])
        area = complete_box(thin, fill_strokes(thin, odd(SOLID * unit), pattern))
        found.append(Lasting(left, top, area, pattern, False))
    return found


def usual_at(usual: float, around: float | None) -> float:
    """What is usual at a place: where the scene around it moves more than the rest of the picture, half of that counts.

    A still subject in the middle says little of an overlay over what moves behind it.
    """
    return usual if around is None else max(around, (usual + around) / 2)


def drop_loose(edges: Area, strong: Area, steadiness: Plane) -> Area:
    """Edges without the pieces that stay much less as they are than the strong ones: they are of the scene beside."""
    least = LOOSE * float(np.median(steadiness[strong]))
    count, labels = cv2.connectedComponents(edges.astype(np.uint8), connectivity=8)
    whole = edges.copy()
    for label in range(1, count):
        piece = labels == label
        if np.quantile(steadiness[piece], BEST) < least:
            whole[piece] = False
    return whole
