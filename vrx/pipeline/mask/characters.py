"""Lines of characters that change, as those of timecodes: strokes of one light, some of which come and go.

It does not matter whether the scene moves: in one that stays, little else is lit again and again in exactly one light.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vrx.pipeline.mask.lengths import odd, unit_of
from vrx.pipeline.mask.plate import Box
from vrx.pipeline.mask.regions import is_apart, strokes
from vrx.pipeline.mask.samples import Area, LightMoments, Luma, Plane

LEAST_SAMPLES = 8
SAME_LIGHT = 16  # levels below a place's brightest stroke, up to which a stroke is of the same light
ALWAYS = 0.88  # of the samples, that show a stroke where a character does not change
BESIDE_FOUND = 0.6  # the same where a part of the line was found already: bright pictures hide strokes at times
CHANGING = 0.12  # of the samples, that show one where characters change, at least
TURNING, LEAST_TURNS = 0.08, 3  # share of the samples, and number of them, in which such a place changes
FALLS = 8.0  # levels, that it is darker without: else its light stayed, and was a stroke or not by what is around it
BRIDGE = 15  # pixels; strokes as near to each other are of one line
LEAST_STROKES = 24  # pixels of strokes that change, and of those that do not
ONE_LIGHT = 24  # levels around the usual light of a line's strokes, that they have
DARKEST = 80  # of such lights
SHORTEST, TALLEST = 6, 0.12  # pixels, and of the picture's height, that a line may have
BAND = 0.2  # of the busiest row's strokes that change, which the rows of a line have
LEAST_WIDTH, WIDEST = 2.5, 0.9  # heights of the line, and of the picture's width
LINE_REACH = 1.2  # heights of a line, up to which its characters are apart
AT_END = 0.5  # of a line's height, that what it ends with has: lower strokes beside it are the scene's
FEWEST, MOST = 0.1, 0.7  # of a line's rectangle, that strokes fill
CONSTANT = 0.15  # of its strokes, that do not change
VARIED = 0.33  # of these, that strokes which change are, at least
EVEN = 7.0  # levels, deviation of the light of these
OPAQUE = 4.0  # levels, the deviation of each from sample to sample, the median: more shows the scene behind them
FULL = 0.7  # of its height, that these have
ALONE = 0.15  # of the strokes in a line, that there may be above and below it, in rectangles of half its height
MARGIN = 3  # pixels around strokes, to where they have faded out, and an outline


@dataclass(frozen=True)
class Line:
    """A rectangle in rows `top` to before `bottom`, columns `left` to before `right`; `constant` [h, w] in it: strokes
    that do not change.
    """

    left: int
    top: int
    right: int
    bottom: int
    constant: Area

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom."""
        return self.left, self.top, self.right, self.bottom


class CharacterFinder:
    """Counts strokes at every place.  Memory is that of a few pictures."""

    def __init__(self, size: tuple[int, int]) -> None:
        shape = (size[1], size[0])
        self._unit = unit_of(size[1])
        self._light = np.zeros(shape, np.int16)
        self._lit, self._turns = LightMoments(size), np.zeros(shape, np.uint32)
        self._sum = np.zeros(shape)
        self._now = np.zeros(shape, bool)
        self._samples = 0

    def add(self, luma: Luma) -> None:
        """The next sample."""
        found, light = strokes(luma, self._unit), luma.astype(np.int16)
        brighter = found & (light > self._light + SAME_LIGHT)
        self._lit.forget(brighter)
        self._turns[brighter], self._now[brighter] = 0, False
        self._light = np.where(found, np.maximum(light, self._light), self._light)
        now = found & (light >= self._light - SAME_LIGHT)
        self._lit.add(luma, now)
        self._turns += now != self._now
        self._sum += luma
        self._now = now
        self._samples += 1

    def finish(self, found: Sequence[Box] = ()) -> list[Line]:
        """The lines found; `found`: rectangles of overlays that last, maybe their characters that do not change."""
        if self._samples < LEAST_SAMPLES:
            return []
        shown = np.asarray(self._lit.count / self._samples, np.float32)
        turning = self._turns >= max(LEAST_TURNS, TURNING * self._samples)
        changing = turning & (shown >= CHANGING) & (shown < ALWAYS) & (self._falls() >= FALLS)
        return self._find_lines(changing, shown, found)

    def _falls(self) -> Plane:
        """How much darker than its strokes a place is without them, on average [H, W]."""
        without = (self._sum - self._lit.mean() * self._lit.count) / np.maximum(1, self._samples - self._lit.count)
        return np.asarray(self._light - without, np.float32)

    def _find_lines(self, changing: Area, shown: Plane, found: Sequence[Box]) -> list[Line]:
        """Lines among strokes that change, of each light by itself: what is beside them is of others."""
        kernel = np.ones((odd(BRIDGE * self._unit / 3), odd(BRIDGE * self._unit)), np.uint8)
        lines: list[Line] = []
        for light in range(256 - ONE_LIGHT, DARKEST, -ONE_LIGHT):
            alike = changing & (np.abs(self._light - light) <= ONE_LIGHT)
            count, labels, boxes, _ = cv2.connectedComponentsWithStats(cv2.dilate(alike.astype(np.uint8), kernel))
            for label in range(1, count):
                left, top, width, height, _ = (int(value) for value in boxes[label])
                spot = (slice(top, top + height), slice(left, left + width))
                own = alike[spot] & (labels[spot] == label)
                if np.count_nonzero(own) < LEAST_STROKES * self._unit:
                    continue
                line = self._judge(own, left, top, shown, found)
                if line is not None and all(is_apart(line.box, other.box) for other in lines):
                    lines.append(line)
        return lines

    def _judge(self, changing: Area, left: int, top: int, shown: Plane, found: Sequence[Box]) -> Line | None:
        """The line that strokes which change are a part of; None where they do not look like it."""
        rows, columns = np.nonzero(changing)
        light = self._light[top + rows, left + columns]
        usual = int(np.median(light))
        share = np.count_nonzero(changing, axis=1)
        busy = np.flatnonzero(share >= BAND * share.max())
        first, last = top + int(busy[0]), top + int(busy[-1])
        height = last + 1 - first
        lit = (shown >= CHANGING) & (np.abs(self._light - usual) <= ONE_LIGHT)
        own = changing[busy[0] : busy[-1] + 1] & lit[first : last + 1, left : left + changing.shape[1]]
        tall = np.flatnonzero(tall_columns(own))
        if not tall.size or not SHORTEST * self._unit <= height <= TALLEST * shown.shape[0]:
            return None
        start, stop = stretch(lit[first : last + 1], left + int(tall[0]), left + int(tall[-1]) + 1)
        supported = any(not is_apart((start, first, stop, last + 1), box) for box in found)
        always = lit & (shown >= (BESIDE_FOUND if supported else ALWAYS))
        inner, fixed = (area[first : last + 1, start:stop] for area in (lit, always))
        if not LEAST_WIDTH * height <= stop - start <= WIDEST * shown.shape[1]:
            return None
        if not (FEWEST <= inner.mean() <= MOST and fixed.sum() >= CONSTANT * inner.sum()):
            return None
        if np.count_nonzero(changing) < VARIED * fixed.sum():
            return None
        if np.count_nonzero(fixed.any(1)) < FULL * height or fixed.sum() < LEAST_STROKES * self._unit:
            return None
        if self._light[first : last + 1, start:stop][fixed].std() > EVEN:
            return None
        if np.median(self._lit.deviation()[first : last + 1, start:stop][fixed]) > OPAQUE:
            return None
        pad, half = round(MARGIN * self._unit), height // 2
        above, below = (
            slice(max(0, first - pad - half), max(0, first - pad)),
            slice(last + 1 + pad, last + 1 + pad + half),
        )
        for beside in (lit[above], lit[below]):
            if beside.size and beside[:, start:stop].mean() > ALONE * inner.mean():
                return None
        y, x = slice(max(0, first - pad), last + 1 + pad), slice(max(0, start - pad), stop + pad)
        constant = always[y, x]
        return Line(x.start, y.start, x.start + constant.shape[1], y.start + constant.shape[0], constant)


def stretch(lit: Area, start: int, stop: int) -> tuple[int, int]:
    """Columns `start` to `stop` of a band of rows, and those beside them up to where no character is near any more."""
    reach = round(LINE_REACH * lit.shape[0])
    busy = tall_columns(lit)
    while (more := np.flatnonzero(busy[max(0, start - reach) : start])).size:
        start = max(0, start - reach) + int(more[0])
    while (more := np.flatnonzero(busy[stop : stop + reach])).size:
        stop += int(more[-1]) + 1
    return start, stop


def tall_columns(lit: Area) -> Area:
    """Which columns [w] of a band of rows [h, w] are of strokes, side by side, that are as tall as characters."""
    height, width = lit.shape
    ends = np.flatnonzero(np.diff(np.concatenate([[0], lit.any(0), [0]]).astype(np.int8)))
    tall = np.zeros(width, bool)
    for start, stop in zip(ends[::2], ends[1::2], strict=True):
        rows = np.flatnonzero(lit[:, start:stop].any(1))
        tall[start:stop] = rows[-1] + 1 - rows[0] >= AT_END * height
    return tall
