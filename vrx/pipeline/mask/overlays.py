"""Overlays (logos, subtitles, timecodes): those that last, those that come and go, and characters that change."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from vrx.pipeline.mask.lasting import Lasting, find_lasting, tells
from vrx.pipeline.mask.lengths import unit_of
from vrx.pipeline.mask.overlay import Overlay, drop_parts, gather, is_part
from vrx.pipeline.mask.passing import Passing, PassingFinder
from vrx.pipeline.mask.persistence import Persistence
from vrx.pipeline.mask.regions import strokes
from vrx.pipeline.mask.samples import Area, Luma, gradients

FEW = 48  # overlays that are looked for at any time; of more, only when they were seen
LITTLE = 5.0  # usual steadiness of a scene, beyond which an overlay that lasts may be missed
SHORT, COVERED = 0.7, 0.6  # share of the time that such are seen for at most, and of what they cover together, at least
STEADY_PART = 0.1  # share of a line with changing characters, that does not change
ALWAYS = 0.8  # of the samples, that the characters of a line with changing ones which do not change are there
CHANGED_SHARE = 0.05  # of a line's rectangle, where characters change in its middle
CHANGING = 0.2  # share of the samples in which a place shows a stroke, where characters change
TURNING, LEAST_TURNS = 0.05, 3  # share of the samples, and number of them, in which such a place changes
BUSY = 0.15  # of a column of such a line, that changes where characters do
LINE_REACH = 1.2  # heights of a line, up to which characters that change are apart
MOST_SPREAD = 25.0  # levels, deviation of the light of a stroke from sample to sample, where characters change
OPAQUE_SPREAD = 6.0  # levels, the same of the characters which do not change: more shows the scene behind them
SAME_LIGHT = 40.0  # levels, that it may differ from the light of the characters which do not change
LEAST_GROWTH = 0.3  # heights of a line, that such characters add to its width
TALLEST_LINE, WIDEST_LINE = 0.2, 0.9  # of the picture's sides, that a line may have


class OverlayFinder:
    """Takes samples of a video.  Memory is that of a few pictures."""

    def __init__(self, size: tuple[int, int]) -> None:
        width, height = size
        self._unit = unit_of(height)
        self._strokes, self._turns, self._light, self._power = (np.zeros((height, width), np.float32) for _ in range(4))
        self._now = np.zeros((height, width), bool)
        self._times: list[Fraction] = []
        self._lasts = False
        self._passing = PassingFinder(size)
        self.persistence = Persistence(size)

    @property
    def is_still(self) -> bool:
        """Whether what stays cannot be told from the scene, or none was told from one that moves little."""
        usual = self.persistence.usual
        return not tells(self.persistence) or (usual is not None and usual > LITTLE and not self._lasts)

    def add(self, luma: Luma, time: Fraction) -> None:
        """The next sample."""
        slopes = gradients(luma)
        self.persistence.add(slopes)
        self._passing.add(luma, slopes, time)
        now = strokes(luma, self._unit)
        self._strokes += now
        self._turns += now != self._now if self._times else False
        self._light[now] += luma[now]
        self._power[now] += np.square(luma[now], dtype=np.float32)
        self._now = now
        self._times.append(time)

    def finish(self) -> list[Overlay]:
        """All that was found."""
        if not self._times:
            return []
        passing = [self._sometimes(found) for found in self._passing.finish()]
        lasting = [self._always(found) for found in find_lasting(self.persistence)]
        lasting = [overlay for overlay in lasting if not self._is_sum(overlay, passing)]
        self._lasts = bool(lasting)
        for overlay in lasting:
            if not overlay.upright:
                self._include_changing(overlay)
        others = gather([x for x in passing if not any(is_part(x, whole) for whole in lasting)])
        found = drop_parts([*lasting, *others])
        if len(found) <= FEW:
            for overlay in found:
                overlay.since = overlay.until = None
        return found

    def _always(self, found: Lasting) -> Overlay:
        times = self._times[0], self._times[-1]
        at = (found.left, found.top)
        return Overlay(*at, found.area, at, found.slopes, *times, None, None, [], upright=found.upright)

    def _sometimes(self, found: Passing) -> Overlay:
        first, last = self._times[found.first], self._times[found.last]
        since = self._times[found.first - 2] if found.first >= 2 else None
        until = self._times[found.last + 2] if found.last + 2 < len(self._times) else None
        at = (found.left, found.top)
        return Overlay(*at, found.area, at, found.slopes, first, last, since, until, [(first, last)])

    def _is_sum(self, overlay: Overlay, passing: list[Overlay]) -> bool:
        """Whether an overlay is what all samples together show of some that come and go."""
        parts = [part for part in passing if is_part(part, overlay)]
        most = SHORT * (self._times[-1] - self._times[0])
        if any(part.last - part.first > most for part in parts):
            return False
        left, top, width, height = overlay.box
        covered = np.zeros((height, width), bool)
        for part in parts:
            x, y = part.left - left, part.top - top
            rows, columns = np.nonzero(part.area)
            inside = (rows + y >= 0) & (rows + y < height) & (columns + x >= 0) & (columns + x < width)
            covered[rows[inside] + y, columns[inside] + x] = True
        return bool((covered & overlay.area).sum() >= COVERED * overlay.area.sum())

    def _is_lit_as(self, overlay: Overlay) -> Area:
        """Where, in the rows of an overlay, strokes are of one light, and that of its own: a scene's are of many."""
        left, top, width, height = overlay.box
        rows = slice(top, top + height)
        shown = np.maximum(1, self._strokes[rows])
        light = self._light[rows] / shown
        deviation = np.sqrt(np.maximum(self._power[rows] / shown - light**2, 0))
        own = overlay.area & (self._strokes[rows, left : left + width] >= ALWAYS * len(self._times))
        if not own.any() or np.median(deviation[:, left : left + width][own]) > OPAQUE_SPREAD:
            return np.zeros(light.shape, bool)
        usual = np.median(light[:, left : left + width][own])
        return np.asarray((deviation <= MOST_SPREAD) & (np.abs(light - usual) <= SAME_LIGHT))

    def _include_changing(self, overlay: Overlay) -> None:
        """Characters beside an overlay that change, as those of timecodes: the whole line, where there are any."""
        left, top, width, height = overlay.box
        if width < height or height > TALLEST_LINE * self._strokes.shape[0]:
            return
        share = self._strokes[top : top + height] / len(self._times)
        if np.quantile(share[:, left : left + width][overlay.area], 1 - STEADY_PART) < ALWAYS:
            return
        turns = self._turns[top : top + height] / len(self._times)
        changing = (share >= CHANGING) & (share < ALWAYS) & (turns >= max(TURNING, LEAST_TURNS / len(self._times)))
        changing &= self._is_lit_as(overlay)
        busy = changing.mean(0) >= BUSY
        reach = round(LINE_REACH * height)
        start, stop = left, left + width
        while (more := np.flatnonzero(busy[max(0, start - reach) : start])).size:
            start = max(0, start - reach) + int(more[0])
        while (more := np.flatnonzero(busy[stop : stop + reach])).size:
            stop += int(more[-1]) + 1
        within = changing[:, left : left + width]
        if stop - start < width + LEAST_GROWTH * height and within.mean() < CHANGED_SHARE:
            return
        if stop - start > WIDEST_LINE * self._strokes.shape[1]:
            return
        line = np.flatnonzero((share[:, start:stop] >= CHANGING).mean(1) >= BUSY / 2)
        if not line.size:
            return
        pad = max(1, round(2 * self._unit))
        first, last = max(0, int(line[0]) - pad), min(height, int(line[-1]) + 1 + pad)
        begin, end = max(0, start - pad), min(self._strokes.shape[1], stop + pad)
        overlay.left, overlay.top, overlay.changes = begin, top + first, True
        overlay.area = np.ones((last - first, end - begin), bool)
