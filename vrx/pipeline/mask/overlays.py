"""Overlays (logos, subtitles, timecodes): edges that stay at their place while the picture behind them changes."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np

from vrx.pipeline.mask.lengths import odd, unit_of
from vrx.pipeline.mask.overlay import Overlay, drop_parts, gather
from vrx.pipeline.mask.samples import EDGE, Area, Luma, Plane, agree, gradients

LEAST_HITS = 6  # samples in a row that show an edge at the same place
WEAK_HITS = 4  # samples in a row, of edges beside such
STRONG_SHARE = 0.25  # of an overlay's edges that are seen that often
MOST_MISSES = 3  # samples in a row that do not: it has ended
LEAST_SHARE = 0.65  # of the samples between that show it
LEAST_EDGES = 24  # pixels of edges that an overlay has at least
BRIDGE = 7  # pixels; edges as near to each other are of one overlay
SOLID = 5  # pixels; strokes up to that wide are closed between their edges
LEAST_SPREAD = 0.08  # of the directions of edges, 0 to 1: lines alone stay where a picture moves along them
MOST_AREA = 0.25  # of a picture that an overlay's rectangle may have
BORDER = 2  # pixels; what touches the border belongs to the picture: bars, a dashboard, a film gate
STRONG = 7.0  # levels a pixel, that the edges of an overlay have at least, the median
LEAST_TIME = 0.7  # seconds that an overlay is seen at least
FEW = 48  # overlays that are looked for at any time; of more, only when they were seen
STEADY = 0.35  # length of the mean direction of a place's edges, 0 to 1, where one of a lasting overlay is
STROKES = 9  # pixels; strokes of text are narrower
STROKE_LEVELS = 30  # by which they differ from what is around them
ALWAYS = 0.8  # of the samples, that the characters of such a line which do not change are there
CHANGED_SHARE = 0.12  # of a line's rectangle, where characters change in its middle
CHANGING = 0.2  # share of the samples in which a place shows a stroke, where characters change
BUSY = 0.15  # of a column of such a line, that changes where characters do
LINE_REACH = 1.2  # heights of a line, up to which characters that change are apart
LEAST_GROWTH = 0.3  # heights of a line, that such characters add to its width
TALLEST_LINE, WIDEST_LINE = 0.15, 0.9  # of the picture's sides, that a line may have
SCRATCH_WIDTH = 6  # pixels, at most
SCRATCH_HEIGHT = 0.5  # of the picture's, at least
SCRATCH_SLOPE = 3  # times as steep across as down, that its edges are
SCRATCH_UPRIGHT, SCRATCH_SIDE = 0.9, 0.25  # shares of its edges that are so, and of each of its two sides


class OverlayFinder:
    """Follows every pixel's edge from sample to sample.  Memory is that of a few pictures."""

    def __init__(self, size: tuple[int, int]) -> None:
        width, height = size
        self._unit = unit_of(height)
        self._mean = (np.zeros((height, width), np.float32), np.zeros((height, width), np.float32))
        self._hits, self._tests, self._misses = (np.zeros((height, width), np.uint16) for _ in range(3))
        self._begin = np.zeros((height, width), np.int32)
        self._strokes = np.zeros((height, width), np.float32)
        self._directions = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
        self._times: list[Fraction] = []
        self.found: list[Overlay] = []

    @property
    def samples(self) -> int:
        """How many there were."""
        return len(self._times)

    def add(self, luma: Luma, time: Fraction) -> None:
        """The next sample."""
        now = gradients(luma)
        strength = np.hypot(*now)
        strong = strength >= EDGE
        for total, slope in zip(self._directions, now, strict=True):
            total += slope / np.maximum(strength, EDGE)
        self._strokes += strokes(luma, self._unit)
        number = len(self._times)
        self._times.append(time)
        alive = self._hits > 0
        same = alive & agree(self._mean, now)
        self._tests[alive] += 1
        self._hits[same] += 1
        self._misses[same] = 0
        self._misses[alive & ~same] += 1
        for mean, new in zip(self._mean, now, strict=True):
            mean[same] += (new[same] - mean[same]) / np.minimum(self._hits[same], 8)
        over = alive & ((self._misses >= MOST_MISSES) | ((self._hits < WEAK_HITS) & ~same))
        self._extract(over, number - MOST_MISSES)
        fresh = (over | ~alive) & strong
        for mean, new in zip(self._mean, now, strict=True):
            mean[fresh] = new[fresh]
        self._hits[over], self._misses[over], self._tests[over] = 0, 0, 0
        self._hits[fresh], self._tests[fresh], self._begin[fresh] = 1, 1, number

    def finish(self) -> list[Overlay]:
        """All that was found."""
        self._extract(self._hits > 0, len(self._times) - 1)
        self.found = gather(self.found)
        lasting = [overlay for overlay in self.found if not overlay.upright and self._lasts(overlay)]
        for overlay in lasting:
            self._complete(overlay)
            self._include_changing(overlay)
        self.found = drop_parts(self.found)
        for overlay in lasting:
            overlay.certain = [(overlay.first, overlay.last)]
        if len(self.found) <= FEW:
            for overlay in self.found:
                overlay.since = overlay.until = None
        return self.found

    def _extract(self, ended: Area, last: int) -> None:
        """Overlays among edges that were seen up to sample number `last`."""
        edges = ended & (self._hits >= WEAK_HITS) & (self._hits >= LEAST_SHARE * self._tests)
        if np.count_nonzero(edges) < LEAST_EDGES * self._unit:
            return
        bridge = odd(BRIDGE * self._unit)
        near = cv2.dilate(edges.astype(np.uint8), np.ones((bridge, bridge), np.uint8))
        count, labels, boxes, _ = cv2.connectedComponentsWithStats(near)
        for label in range(1, count):
            left, top, width, height, _ = (int(value) for value in boxes[label])
            spot = (slice(top, top + height), slice(left, left + width))
            self._judge(edges[spot] & (labels[spot] == label), left, top, last)

    def _judge(self, edges: Area, left: int, top: int, last: int) -> None:
        """An overlay, if edges in a rectangle look like one."""
        rows, columns = np.nonzero(edges)
        often = np.count_nonzero(self._hits[rows + top, columns + left] >= LEAST_HITS)
        if often < max(LEAST_EDGES * self._unit, STRONG_SHARE * len(rows)):
            return
        slopes = np.stack([mean[rows + top, columns + left] for mean in self._mean])
        if np.median(np.hypot(*slopes)) < STRONG:
            return
        height, width = self._hits.shape
        y, x = (top + rows.min(), top + rows.max()), (left + columns.min(), left + columns.max())
        inside = y[0] >= BORDER and x[0] >= BORDER and y[1] < height - BORDER and x[1] < width - BORDER
        if (y[1] - y[0]) * (x[1] - x[0]) > MOST_AREA * height * width:
            return
        upright = is_scratch(y, x, slopes, height, self._unit)
        if not upright and (not inside or spread(slopes) < LEAST_SPREAD):
            return
        first = int(np.median(self._begin[rows + top, columns + left]))
        times = self._times[first], self._times[max(first, min(last, len(self._times) - 1))]
        if times[1] - times[0] < LEAST_TIME:
            return
        pattern = np.zeros((2, *edges.shape), np.float32)
        pattern[:, rows, columns] = slopes
        area = fill_strokes(edges, odd(SOLID * self._unit))
        since = self._times[first - 2] if first >= 2 else None
        until = self._times[last + MOST_MISSES - 1] if last + MOST_MISSES <= len(self._times) else None
        self._merge(Overlay(left, top, area, (left, top), pattern, *times, since, until, [times], upright=upright))

    def _merge(self, new: Overlay) -> None:
        """Add an overlay, or extend the one it is another view of; the larger one stays."""
        for number, old in enumerate(self.found):
            if old.is_like(new):
                larger = max(old, new, key=lambda overlay: int(overlay.area.sum()))
                larger.first, larger.last = min(old.first, new.first), max(old.last, new.last)
                larger.certain = [*old.certain, *new.certain]
                larger.since = None if old.since is None or new.since is None else min(old.since, new.since)
                larger.until = None if old.until is None or new.until is None else max(old.until, new.until)
                self.found[number] = larger
                return
        self.found.append(new)

    def _lasts(self, overlay: Overlay) -> bool:
        """Whether an overlay is there most of the time: all samples together show its edges."""
        (x, y), (_, height, width) = overlay.edges_at, overlay.pattern.shape
        mean = np.hypot(*(total[y : y + height, x : x + width] for total in self._directions)) / len(self._times)
        return bool(np.median(mean[overlay.pattern.any(0)]) >= STEADY)

    def _complete(self, overlay: Overlay) -> None:
        """The parts of a lasting overlay that were hard to see at times, as white ones before a bright picture."""
        left, top, width, height = overlay.box
        reach = max(width, height) // 2
        rows = slice(max(0, top - reach), min(self._hits.shape[0], top + height + reach))
        columns = slice(max(0, left - reach), min(self._hits.shape[1], left + width + reach))
        steady = np.hypot(*(total[rows, columns] for total in self._directions)) >= STEADY * len(self._times)
        own = np.zeros(steady.shape, bool)
        own[top - rows.start : top - rows.start + height, left - columns.start : left - columns.start + width] = (
            overlay.area
        )
        bridge = odd(BRIDGE * self._unit)
        _, labels = cv2.connectedComponents(cv2.dilate((steady | own).astype(np.uint8), np.ones((bridge, bridge))))
        edges = steady & np.isin(labels, np.unique(labels[own]))
        area = own | fill_strokes(edges, odd(SOLID * self._unit))
        y, x = np.flatnonzero(area.any(1)), np.flatnonzero(area.any(0))
        overlay.area = area[y[0] : y[-1] + 1, x[0] : x[-1] + 1]
        overlay.left, overlay.top = columns.start + int(x[0]), rows.start + int(y[0])

    def _include_changing(self, overlay: Overlay) -> None:
        """Characters beside an overlay that change, as those of timecodes: the whole line, where there are any."""
        left, top, width, height = overlay.box
        if width < height or height > TALLEST_LINE * self._hits.shape[0]:
            return
        share = self._strokes[top : top + height] / len(self._times)
        if np.quantile(share[:, left : left + width][overlay.area], 0.75) < ALWAYS:
            return
        busy = (share >= CHANGING).mean(0) >= BUSY
        reach = round(LINE_REACH * height)
        start, stop = left, left + width
        while (more := np.flatnonzero(busy[max(0, start - reach) : start])).size:
            start = max(0, start - reach) + int(more[0])
        while (more := np.flatnonzero(busy[stop : stop + reach])).size:
            stop += int(more[-1]) + 1
        inner = share[:, left : left + width]
        within = (inner >= CHANGING) & (inner < ALWAYS)
        if stop - start < width + LEAST_GROWTH * height and within.mean() < CHANGED_SHARE:
            return
        if stop - start > WIDEST_LINE * self._hits.shape[1]:
            return
        pad = max(1, round(self._unit))
        begin, end = max(0, start - pad), min(self._hits.shape[1], stop + pad)
        overlay.left, overlay.area, overlay.changes = begin, np.ones((height, end - begin), bool), True


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


def fill_strokes(edges: Area, width: int) -> Area:
    """What edges enclose, and the strokes between them."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    padded = np.pad(edges.astype(np.uint8), width)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(closed, outlines, -1, 1, cv2.FILLED)
    return np.asarray(closed[width:-width, width:-width] > 0)
