"""Overlays (logos, subtitles, timecodes): those that last, those that come and go, and characters that change."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np

from vrx.pipeline.mask.characters import CharacterFinder, Line
from vrx.pipeline.mask.completion import complete
from vrx.pipeline.mask.lasting import LEAST_SAMPLES, STRONG_SLOPE, WEAK_SLOPE, Lasting, find_lasting, tells
from vrx.pipeline.mask.lengths import odd, unit_of
from vrx.pipeline.mask.look import Drawn, find_drawn
from vrx.pipeline.mask.overlay import Overlay, drop_parts, gather, is_part
from vrx.pipeline.mask.passing import Passing, PassingFinder
from vrx.pipeline.mask.persistence import Persistence
from vrx.pipeline.mask.plate import include_plate
from vrx.pipeline.mask.regions import SOLID, fill_strokes, is_apart, sharpen
from vrx.pipeline.mask.samples import LightMoments, Luma, Plane, gradients
from vrx.pipeline.mask.tints import TintFinder

FEW = 48  # overlays that are looked for at any time; of more, only when they were seen
STAYS = 3.5  # usual steadiness of a scene, beyond which overlays are told by their look, too
LOOK_STEADY = 3.0  # steadiness of the edges of these
AROUND = 4  # pixels around these, to which their edges and outlines reach
LITTLE = 3.5  # usual steadiness of a scene, beyond which an overlay that lasts may be missed
WHOLE = 0.7  # of its edges, that one which comes and goes has: it is that one, at times too faint to be seen
SHORT, COVERED = 0.7, 0.6  # share of the time that such are seen for at most, and of what they cover together, at least


class OverlayFinder:
    """Takes samples of a video.  Memory is that of a few pictures."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._times: list[Fraction] = []
        self._lasts = False
        self._passing = PassingFinder(size)
        self._unit = unit_of(size[1])
        self._characters = CharacterFinder(size)
        self._light = LightMoments(size)
        self._tints = TintFinder(size)
        self.by_look: list[Overlay] = []
        self.persistence = Persistence(size)

    @property
    def _stays(self) -> bool:
        """Whether the scene stays so much as an overlay does that some of these are not told from it."""
        usual = self.persistence.usual
        return len(self._times) >= LEAST_SAMPLES and (usual is None or usual > STAYS)

    @property
    def is_still(self) -> bool:
        """Whether what stays cannot be told from the scene, or none was told from one that moves little."""
        usual = self.persistence.usual
        return not tells(self.persistence) or (usual is not None and usual > LITTLE and not self._lasts)

    def add(self, luma: Luma, time: Fraction, tints: tuple[Luma, ...] = ()) -> None:
        """The next sample, with its colors (`tints.to_tints`)."""
        slopes = gradients(luma)
        self.persistence.add(slopes)
        self._passing.add(luma, slopes, time)
        self._characters.add(luma)
        self._light.add(luma)
        self._tints.add(tints)
        self._times.append(time)

    def finish(self) -> list[Overlay]:
        """All that was found."""
        if not self._times:
            return []
        passing = [self._sometimes(found) for found in self._passing.finish()]
        light = self._light.mean(), self._light.deviation()
        lasting = [self._always(found, light) for found in find_lasting(self.persistence)]
        lasting = [overlay for overlay in lasting if not self._is_sum(overlay, passing)]
        usual = self.persistence.usual
        lasting += [self._tinted(found) for found in self._tints.finish(usual) if not found.upright]
        lines = [
            self._line(found) for found in self._characters.finish([x.rectangle for x in lasting if not x.upright])
        ]
        if self._stays:
            boxes = [x.rectangle for x in (*lines, *lasting)]
            drawn = find_drawn(light[0])
            apart = [x for x in drawn if all(is_apart(x.box, box) for box in boxes)]
            self.by_look = [self._drawn(x) for x in apart if self._lasts_all_the_time(x)]
            lasting += self.by_look
        self._lasts = bool(lasting)
        lasting = [x for x in lasting if not any(is_part(x, line) for line in lines)]
        others = gather([x for x in passing if not any(is_part(x, whole) for whole in [*lines, *lasting])])
        found = [*lines, *drop_parts([*lasting, *others])]
        if len(found) <= FEW:
            for overlay in found:
                overlay.since = overlay.until = None
        return found

    def _always(self, found: Lasting, light: tuple[Plane, Plane]) -> Overlay:
        times, at = (self._times[0], self._times[-1]), (found.left, found.top)
        left, top, area = at[0], at[1], found.area
        rows, columns = np.flatnonzero(area.any(1)), np.flatnonzero(area.any(0))
        if not found.upright and rows.size:
            own = (left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1)
            plate = include_plate(own, self.persistence.mean)
            if plate != own:
                left, top, area = plate[0], plate[1], np.ones((plate[3] - plate[1], plate[2] - plate[0]), bool)
            area, left, top = complete(area, left, top, light, self._unit)
        return Overlay(left, top, area, at, found.slopes, *times, None, None, [], upright=found.upright, lasts=True)

    def _tinted(self, found: Lasting) -> Overlay:
        """What its color tells: nothing in luma says when, so at all times."""
        times, at = (self._times[0], self._times[-1]), (found.left, found.top)
        return Overlay(*at, found.area, at, found.slopes, *times, None, None, [times], lasts=True)

    def _line(self, found: Line) -> Overlay:
        around = cv2.dilate(found.constant.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        left, top, right, bottom = include_plate(found.box, self.persistence.mean)
        slopes = self.persistence.mean[:, found.top : found.bottom, found.left : found.right] * around
        area, at = np.ones((bottom - top, right - left), bool), (found.left, found.top)
        times = self._times[0], self._times[-1]
        return Overlay(left, top, area, at, slopes, *times, None, None, [], changes=True)

    def _lasts_all_the_time(self, found: Drawn) -> bool:
        """Whether the edges of what looks like a logo are there in all samples."""
        left, top, right, bottom = found.box
        spot = (slice(top, bottom), slice(left, right))
        edges = np.hypot(*self.persistence.mean[:, *spot]) >= STRONG_SLOPE
        return bool(edges.any() and np.median(self.persistence.steadiness[spot][edges]) >= LOOK_STEADY)

    def _drawn(self, found: Drawn) -> Overlay:
        """What looks like a logo, with all edges in its rectangle, as far as they reach around it."""
        reach = round(AROUND * self._unit)
        left, top, right, bottom = found.box
        left, top, right, bottom = max(0, left - reach), max(0, top - reach), right + reach, bottom + reach
        slopes = self.persistence.mean[:, top:bottom, left:right]
        strength = np.hypot(*slopes)
        edges = sharpen(strength >= WEAK_SLOPE, strength)
        area = fill_strokes(edges, odd(SOLID * self._unit))
        if found.plate:
            area[reach:-reach, reach:-reach] = True
        times, pattern = (self._times[0], self._times[-1]), np.asarray(slopes * edges, np.float32)
        return Overlay(left, top, area, (left, top), pattern, *times, None, None, [times])

    def _sometimes(self, found: Passing) -> Overlay:
        first, last = self._times[found.first], self._times[found.last]
        since = self._times[found.first - 2] if found.first >= 2 else None
        until = self._times[found.last + 2] if found.last + 2 < len(self._times) else None
        at = (found.left, found.top)
        return Overlay(*at, found.area, found.edges_at, found.slopes, first, last, since, until, [(first, last)])

    def _is_sum(self, overlay: Overlay, passing: list[Overlay]) -> bool:
        """Whether an overlay is what all samples together show of some that come and go."""
        parts = [part for part in passing if is_part(part, overlay)]
        most = SHORT * (self._times[-1] - self._times[0])
        if any(part.last - part.first > most or part.is_like(overlay, WHOLE) for part in parts):
            return False
        left, top, width, height = overlay.box
        covered = np.zeros((height, width), bool)
        for part in parts:
            x, y = part.left - left, part.top - top
            rows, columns = np.nonzero(part.area)
            inside = (rows + y >= 0) & (rows + y < height) & (columns + x >= 0) & (columns + x < width)
            covered[rows[inside] + y, columns[inside] + x] = True
        return bool((covered & overlay.area).sum() >= COVERED * overlay.area.sum())
