"""Overlays that come and go, as subtitles do: edges that stay at their place for a while.

Two things tell them from the scene: while they are there, they stay more as they are than its edges do (where it
moves); and all of their edges begin in the same moment, and end in the same one, while the scene goes on (where it
does not).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vrx.pipeline.mask.lengths import odd, unit_of
from vrx.pipeline.mask.lettering import find_letters
from vrx.pipeline.mask.persistence import NOISE, Persistence
from vrx.pipeline.mask.plate import include_plate
from vrx.pipeline.mask.regions import (
    LEAST_SPREAD,
    MOST_AREA,
    SOLID,
    complete_box,
    fill_strokes,
    inside,
    sharpen,
    spread,
)
from vrx.pipeline.mask.samples import EDGE, Area, Luma, Plane, agree, gradients

LEAST_HITS = 5  # samples in a row that show an edge at the same place
MOST_MISSES = 2  # samples in a row that do not: it has ended
LEAST_SHARE = 0.75  # of the samples between that show it
LEAST_TIME = 0.6  # seconds that an overlay is seen at least
LEAST_EDGES = 40  # pixels of edges that an overlay has at least
STRONG = 9.0  # levels a pixel, that its edges have, the median
BRIDGE = 11  # pixels; edges as near to each other are of one overlay
WINDOW = 6  # samples in which the scene is looked at
LEAST_STEADY = 2.0  # steadiness of its edges, at least
TYPICAL = 3.0  # what is usual in the scene at the time, that the median of its edges has
TOGETHER = 0.92  # share of its edges that begin in one sample or the next, where the scene goes on
SUDDEN = 0.45  # share of all edges that may begin, or end, in a sample in which the scene goes on
ALONE = 0.12  # share of the edges around it that may begin, or end, at the same time
GAP, REACH = 5, 22  # pixels from it, between which these are
LEAST_AROUND = 20  # edges there, fewer say nothing
STIR_LEVELS, STIR_SIDE, STIR_SAMPLES = 12, 45, 3  # change of luma, pixels a side, and samples in which it is looked at
MOST_STIR = 0.5  # share of the pixels around edges that change as these begin or end: more is something that passes
STEP_STRONG = 18.0  # levels a pixel, that the edges of one told by that have, the median
STEP_EDGES = 100  # pixels of edges that such a one has at least
STEP_STEADY = 4.5  # and their steadiness
BRIEF = 1.5  # seconds; what is no lettering, and shown for less, comes and goes so: a foot stands as long
FIRM_STRONG, FIRM_STEADY = 9.0, 3.0  # strength and steadiness of the edges that are looked at for it
OUTLINE = 2.5  # pixels around lettering, that its outline reaches
PLATE_EDGE = 4.0  # levels a pixel, at the sides of a plate behind lettering
PLATE_SIDE = 0.6  # share of such a side that has this edge
RECENT = 0.2  # weight of a sample in the mean that the plate behind lettering is looked for in
DENSE, OUTER = 0.3, (0.02, 0.98)  # share of a rectangle that edges fill, and quantiles of their places that it spans


@dataclass
class Passing:
    """`area` [h, w] from `left` and `top` on; `slopes` [2, h, w] of its edges, from (left, top) `edges_at` on; numbers
    of `first` and `last` sample.
    """

    left: int
    top: int
    area: Area
    edges_at: tuple[int, int]
    slopes: Plane
    first: int
    last: int


class Around(NamedTuple):
    """Shares of the edges around some that began with them, and that end with them; 0 where few are seen.

    `tells`: these alone say whether the scene goes on, as many are seen around what is `lettering` for certain.
    """

    began: float
    ended: float
    tells: bool
    lettering: bool


class PassingFinder:
    """Follows every place's edge from sample to sample.  Memory is that of a few pictures."""

    def __init__(self, size: tuple[int, int]) -> None:
        width, height = size
        self._unit = unit_of(height)
        self._size = size
        self._mean = (np.zeros((height, width), np.float32), np.zeros((height, width), np.float32))
        self._energy = np.zeros((height, width), np.float32)
        self._hits, self._tests, self._misses = (np.zeros((height, width), np.uint32) for _ in range(3))
        self._stir, self._stir_now = (np.zeros((height, width), np.float32) for _ in range(2))
        self._before = deque[Luma](maxlen=STIR_SAMPLES)
        self._recent = deque[Plane](maxlen=MOST_MISSES + 1)
        self._begin = np.zeros((height, width), np.int32)
        self._times: list[Fraction] = []
        self._window, self._usual = Persistence(size), list[float | None]()
        self._begun: list[float] = []
        self._ended: list[float] = []
        self.found: list[Passing] = []

    def add(self, luma: Luma, slopes: tuple[Plane, Plane], time: Fraction) -> None:
        """The next sample, and its gradients."""
        number = len(self._times)
        self._times.append(time)
        self._watch_scene(slopes)
        self._stir_now = self._changed_around(luma)
        before = self._recent[-1] if self._recent else luma.astype(np.float32)
        self._recent.append(cv2.accumulateWeighted(luma, before.copy(), RECENT).astype(np.float32, copy=False))
        strength = np.hypot(*slopes)
        strong = strength >= EDGE
        alive = self._hits > 0
        same = alive & agree(self._mean, slopes)
        self._tests[alive] += 1
        self._hits[same] += 1
        self._misses[same] = 0
        self._misses[alive & ~same] += 1
        for mean, new in zip(self._mean, slopes, strict=True):
            mean[same] += (new[same] - mean[same]) / self._hits[same]
        self._energy[same] += np.square(strength[same])
        over = alive & ((self._misses >= MOST_MISSES) | ((self._hits < LEAST_HITS) & ~same))
        fresh = (over | ~alive) & strong
        edges = max(1, int(np.count_nonzero(strong | alive)))
        self._begun.append(int(np.count_nonzero(fresh)) / edges)
        self._ended.append(int(np.count_nonzero(alive & (self._misses == 1))) / edges)
        self._extract(over & (self._hits >= LEAST_HITS), number - MOST_MISSES)
        for mean, new in zip(self._mean, slopes, strict=True):
            mean[fresh] = new[fresh]
        self._hits[over], self._misses[over], self._tests[over] = 0, 0, 0
        self._hits[fresh], self._tests[fresh], self._begin[fresh] = 1, 1, number
        self._energy[fresh] = np.square(strength[fresh])
        self._stir[fresh] = self._stir_now[fresh]

    def _changed_around(self, luma: Luma) -> Plane:
        """Share of the pixels around each place that are not what they were two samples before."""
        self._before.append(luma)
        changed = (cv2.absdiff(luma, self._before[0]) >= STIR_LEVELS).astype(np.float32)
        side = odd(STIR_SIDE * self._unit)
        return np.asarray(cv2.blur(changed, (side, side)), np.float32)

    def finish(self) -> list[Passing]:
        """All that was found."""
        self._extract(self._hits >= LEAST_HITS, len(self._times) - 1)
        return self.found

    def _watch_scene(self, slopes: tuple[Plane, Plane]) -> None:
        self._window.add(slopes)
        if self._window.samples == WINDOW:
            self._usual.append(self._window.usual)
            self._window = Persistence(self._size)

    def _usual_between(self, first: int, last: int) -> float | None:
        """What was usual in the scene from one sample to another, the most; None where that is not known."""
        parts = self._usual[first // WINDOW : last // WINDOW + 1] or self._usual[-1:]
        known = [value for value in parts if value is not None]
        return max(known) if known else None

    def _extract(self, ended: Area, last: int) -> None:
        """Overlays among edges that were seen up to sample number `last`: all together, then those of one beginning."""
        edges = ended & (self._hits >= LEAST_SHARE * self._tests)
        least = LEAST_EDGES * self._unit
        if np.count_nonzero(edges) < least:
            return
        edges &= ~self._extract_groups(edges, last)
        while np.count_nonzero(edges) >= least:
            counts = np.convolve(np.bincount(self._begin[edges]), np.ones(3, np.int64), "same")
            group = edges & (np.abs(self._begin - int(counts.argmax())) <= 1)
            if counts.max() < least or not group.any():
                return
            rest = group & ~self._extract_groups(group, last)
            self._extract_groups(rest & self._is_firm(), last)
            edges &= ~group

    def _extract_groups(self, edges: Area, last: int) -> Area:
        """Overlays among edges; which edges are theirs."""
        bridge = odd(BRIDGE * self._unit)
        near = cv2.dilate(edges.astype(np.uint8), np.ones((bridge, bridge), np.uint8))
        count, labels, boxes, _ = cv2.connectedComponentsWithStats(near)
        used = np.zeros(edges.shape, bool)
        for label in range(1, count):
            left, top, width, height, _ = (int(value) for value in boxes[label])
            spot = (slice(top, top + height), slice(left, left + width))
            own = edges[spot] & (labels[spot] == label)
            if np.count_nonzero(own) >= LEAST_EDGES * self._unit and self._judge(own, left, top, last):
                used[spot] |= own
        return used

    def _judge(self, edges: Area, left: int, top: int, last: int) -> bool:
        """Whether edges in a rectangle look like an overlay, which is then kept."""
        edges = inside(edges, left, top, self._hits.shape)
        if np.count_nonzero(edges) < LEAST_EDGES * self._unit:
            return False
        letters = find_letters(self._before[-1 if last == len(self._times) - 1 else 0], edges, left, top, self._unit)
        if letters is not None and np.count_nonzero(letters.edges) < LEAST_EDGES * self._unit:
            letters = None
        edges = edges if letters is None else letters.edges
        spot = (slice(top, top + edges.shape[0]), slice(left, left + edges.shape[1]))
        first = int(np.median(self._begin[spot][edges]))
        slopes = np.stack([mean[spot] for mean in self._mean])
        strength = np.hypot(*slopes)
        rows, columns = np.nonzero(edges)
        y, x = (top + int(rows.min()), top + int(rows.max())), (left + int(columns.min()), left + int(columns.max()))
        size = (y[1] - y[0] + 1) * (x[1] - x[0] + 1)
        if size > MOST_AREA * self._hits.size:
            return False
        if np.median(strength[edges]) < STRONG or not is_dense(rows, columns):
            return False
        if spread(slopes[:, edges]) < LEAST_SPREAD or self._times[last] - self._times[first] < LEAST_TIME:
            return False
        thin, at = sharpen(edges, strength), (left, top)
        area = complete_box(thin, fill_strokes(thin, odd(SOLID * self._unit)))
        if letters is not None:
            area, left, top = self._with_outline(area, left, top, letters.area)
        if not self._stays(edges, spot, strength, first, last):
            around = self._around(area, left, top, first, letters is not None)
            if not self._steps(edges, spot, strength, (first, last), around):
                return False
        self.found.append(Passing(left, top, area, at, np.asarray(slopes * edges, np.float32), first, last))
        return True

    def _with_outline(self, area: Area, left: int, top: int, letters: Area) -> tuple[Area, int, int]:
        """The area of lettering with its outline and the plate behind it, and from where on that is."""
        whole = np.asarray(cv2.dilate(letters.astype(np.uint8), disc(round(OUTLINE * self._unit))), np.uint8)
        whole[top : top + area.shape[0], left : left + area.shape[1]] |= area
        x, y, width, height = cv2.boundingRect(whole)
        box = (x, y, x + width, y + height)
        plate = include_plate(box, np.stack(gradients(self._recent[0])), PLATE_EDGE, PLATE_SIDE, mirrored=True)
        if plate != box:
            return np.ones((plate[3] - plate[1], plate[2] - plate[0]), bool), plate[0], plate[1]
        return whole[y : y + height, x : x + width] > 0, x, y

    def _stays(self, edges: Area, spot: tuple[slice, slice], strength: Plane, first: int, last: int) -> bool:
        """Whether edges stayed as they are more than the scene did."""
        usual = self._usual_between(first, last)
        return usual is not None and self._steadiness(edges, spot, strength) >= max(LEAST_STEADY, TYPICAL * usual)

    def _steps(
        self, edges: Area, spot: tuple[slice, slice], strength: Plane, span: tuple[int, int], around: Around
    ) -> bool:
        """Whether edges came all at once, or went so, while the scene went on."""
        first, last = span
        if np.median(strength[edges]) < STEP_STRONG or np.count_nonzero(edges) < STEP_EDGES * self._unit:
            return False
        counts = np.bincount(self._begin[spot][edges])
        if np.convolve(counts, np.ones(2, np.int64)).max() < TOGETHER * counts.sum():
            return False
        if self._steadiness(edges, spot, strength) < STEP_STEADY:
            return False
        stirs = [np.median(stir[spot][edges]) <= MOST_STIR for stir in (self._stir, self._stir_now)]
        goes_on = (stirs[0] and max(self._begun[max(0, first - 1) : first + 2]) <= SUDDEN) or around.tells
        came = goes_on and first > 1 and around.began <= ALONE
        over = last + MOST_MISSES < len(self._times)
        goes_on = (stirs[1] and max(self._ended[last : last + MOST_MISSES + 1]) <= SUDDEN) or around.tells
        went = over and goes_on
        ended = went and around.ended <= ALONE
        if over and first > 1 and not around.lettering and self._times[last] - self._times[first] < BRIEF:
            return bool(came and ended)
        return bool((came and (first > 2 or went)) or ended)

    def _around(self, area: Area, left: int, top: int, first: int, lettering: bool) -> Around:
        """The edges around an area that is seen from sample `first` on."""
        gap, reach = round(GAP * self._unit), round(REACH * self._unit)
        rows = slice(max(0, top - reach), top + area.shape[0] + reach)
        columns = slice(max(0, left - reach), left + area.shape[1] + reach)
        own = np.zeros(self._hits[rows, columns].shape, np.uint8)
        y, x = top - rows.start, left - columns.start
        own[y : y + area.shape[0], x : x + area.shape[1]] = area
        near, far = (cv2.dilate(own, np.ones((2 * side + 1,) * 2, np.uint8)) > 0 for side in (gap, reach))
        ring = far & ~near & (self._hits[rows, columns] > 1)
        if np.count_nonzero(ring) < LEAST_AROUND:
            return Around(0.0, 0.0, False, lettering)
        began = (np.abs(self._begin[rows, columns][ring] - first) <= 1).mean()
        ended = (self._misses[rows, columns][ring] > 0).mean()
        return Around(float(began), float(ended), lettering, lettering)

    def _is_firm(self) -> Area:
        """Places whose edges are strong, and hardly changed."""
        strength = np.hypot(*self._mean)
        changing = self._energy / np.maximum(1, self._hits) - strength**2
        firm = np.square(strength / FIRM_STEADY - NOISE) >= changing
        return np.asarray(firm & (strength >= max(FIRM_STRONG, FIRM_STEADY * NOISE)))

    def _steadiness(self, edges: Area, spot: tuple[slice, slice], strength: Plane) -> float:
        changing = np.sqrt(np.maximum(self._energy[spot] / np.maximum(1, self._hits[spot]) - strength**2, 0))
        return float(np.median((strength / (changing + NOISE))[edges]))


def disc(reach: int) -> NDArray[np.uint8]:
    """A kernel that reaches so many pixels to all sides."""
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2), np.uint8)


def is_dense(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> bool:
    """Whether edges fill the rectangle that most of them are in, as those of text do."""
    sides = [np.diff(np.quantile(places, OUTER))[0] + 1 for places in (rows, columns)]
    return bool(len(rows) >= DENSE * sides[0] * sides[1])
