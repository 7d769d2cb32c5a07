"""Scratches of film that stay for many frames: thin upright lines that do not move as the picture beside them does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vrx.pipeline.mask.lengths import odd, unit_of
from vrx.pipeline.mask.samples import Area, Luma, Plane

LEAST_HEIGHT = 200  # pixels of a picture; in smaller ones blocks of an encoder look like lines
ROWS = 0.05  # of the height, over which rows are averaged: noise goes, upright lines stay
WIDEST = 6  # pixels, of a line
LEAST_LEVELS = 2.5  # that a line stands out by, over the averaged rows
PROMINENCE = 2.5  # times what is usual beside it, that it does
AROUND = 24  # pixels to both sides, that are beside it in this
LEAST_SHARE = 0.45  # of the height, that a line is seen in, in a frame
LONG = 0.8  # the same on average
DRIFT = 2.0  # pixels that it moves from frame to frame, at most
RANGE = 10.0  # pixels that it stays within
SHORTEST = 12  # frames that it is seen in
MISSED = 3  # frames in a row that it may not be seen in
SEEN = 0.6  # of the frames from its first to its last
APART = 0.25  # pixels a frame, root mean square, that it moves otherwise than the picture beside it
FOLLOWS = 0.5  # of the picture's motion, that it moves along with at most
MOST_MOTION = 2.0  # pixels a frame that count
BESIDE = 40  # pixels to both sides, whose motion is compared
BLOCKS = 16  # of rows, of which the usual motion counts: what passes in front is not the picture
PLAIN = 0.03  # of the gradients on one side of a line, below which the other has none: the edge of a bar
FAINT = 0.1  # of the strongest block's gradients, below which a block tells no motion
SOFT = 2.0  # pixels of the blur under which motion is read
GAP = 0.1  # of the height, over which a line is masked where it is not seen
FOOT = 0.4  # of what a line stands out by, that pixels beside its middle do


class Line(NamedTuple):
    """A thin upright line in a frame: its middle column, whether it is lighter, and in how much of the height."""

    x: float
    lighter: bool
    share: float


@dataclass(frozen=True)
class Standing:
    """A scratch that stays: between columns `left` and `right`, in frames number `first` to `last`."""

    left: float
    right: float
    lighter: bool
    first: int
    last: int


class LineMarks:
    """Finds thin upright lines in single frames of a size (width, height)."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._width, self._height = size
        self.unit = unit_of(self._height)

    def marks(self, luma: Luma) -> tuple[Plane, NDArray[np.bool_]]:
        """How much places stand out from both sides, lighter and darker ones [2, H, W], and where as a line does."""
        rows, columns = odd(ROWS * self._height), odd((WIDEST + 1) * self.unit)
        smooth = cv2.blur(luma.astype(np.float32), (1, rows), borderType=cv2.BORDER_REPLICATE)
        kernel, apart = np.ones((1, columns), np.uint8), []
        for kind in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT):
            apart.append(cv2.morphologyEx(smooth, kind, kernel, borderType=cv2.BORDER_REPLICATE))
        usual = [cv2.blur(x, (odd(2 * AROUND * self.unit), 1)) for x in apart]
        both = np.stack(apart).astype(np.float32)
        return both, (both >= LEAST_LEVELS) & (both >= PROMINENCE * np.stack(usual))

    def find(self, apart: Plane, marked: NDArray[np.bool_]) -> list[Line]:
        """All lines of a frame that has such marks, the strongest first."""
        weights = np.where(marked, apart, 0).sum(1)
        beside = np.ones((1, 3), np.uint8)  # a line may lean
        shares = np.stack([cv2.dilate(x.astype(np.uint8), beside).mean(0) for x in marked])
        found, reach, places = [], odd(WIDEST * self.unit), np.arange(self._width)
        while (shares >= LEAST_SHARE).any():
            which, x = divmod(int(np.argmax(np.where(shares >= LEAST_SHARE, weights, -1))), self._width)
            near = slice(max(0, x - reach), x + reach + 1)
            own = weights[which, near]
            middle = float((places[near] * own).sum() / max(1e-6, own.sum()))
            found.append(Line(middle, which == 0, float(shares[which, near].max())))
            shares[:, near] = 0
        return found


class SideMotion:
    """How far the picture moves across, beside a column, from one frame to the next (Lucas and Kanade, 1981)."""

    def __init__(self, unit: float) -> None:
        self._unit = unit
        self._before: Plane | None = None
        self._sums: tuple[Plane, Plane] | None = None

    def add(self, luma: Luma) -> None:
        """The next frame."""
        soft = cv2.GaussianBlur(luma, (0, 0), SOFT * self._unit).astype(np.float32)
        if self._before is not None:
            slope = cv2.Sobel(self._before, cv2.CV_32F, 1, 0, scale=1 / 8)
            size = (luma.shape[1], BLOCKS)
            change, power = slope * (self._before - soft), slope * slope
            self._sums = (
                cv2.resize(change, size, interpolation=cv2.INTER_AREA).astype(np.float32),
                cv2.resize(power, size, interpolation=cv2.INTER_AREA).astype(np.float32),
            )
        self._before = soft

    def beside(self, x: float) -> float | None:
        """Pixels, at most MOST_MOTION of them; 0 for the first frame; None where one side is plain."""
        if self._sums is None:
            return 0.0
        inner, outer = (WIDEST + 3) * self._unit, BESIDE * self._unit
        places = np.arange(self._sums[0].shape[1]) - x
        sides = [(places >= -outer) & (places < -inner), (places > inner) & (places <= outer)]
        change, power = (np.stack([part[:, side].sum(1) for side in sides]) for part in self._sums)
        strong = power.sum(1)
        if strong.min() < PLAIN * strong.max():
            return None
        change, power = change.sum(0), power.sum(0)
        tells = (power > FAINT * power.max()) & (power > 0)
        if not tells.any():
            return 0.0
        return float(np.clip(np.median(change[tells] / power[tells]), -MOST_MOTION, MOST_MOTION))


@dataclass
class Track:
    """A line seen in frame after frame; sums are over pairs of frames that follow one another."""

    lighter: bool
    first: int
    last: int
    low: float
    high: float
    x: float
    seen: int = 0
    share: float = 0.0
    pairs: int = 0
    apart: float = 0.0
    along: float = 0.0
    scene: float = 0.0

    def add(self, number: int, line: Line, moved: float) -> None:
        """It is seen in frame `number`, beside which the picture `moved`."""
        if number == self.last + 1:
            own = max(-MOST_MOTION, min(line.x - self.x, MOST_MOTION))
            self.pairs += 1
            self.apart += min(abs(own - moved), MOST_MOTION) ** 2
            self.along += own * moved
            self.scene += moved**2
        self.last, self.x = number, line.x
        self.low, self.high = min(self.low, line.x), max(self.high, line.x)
        self.seen, self.share = self.seen + 1, self.share + line.share

    def is_scratch(self, unit: float) -> bool:
        """Whether it is long, stays, and does not move as the picture does."""
        if self.seen < SHORTEST or self.seen < SEEN * (self.last - self.first + 1):
            return False
        if self.share < LONG * self.seen or self.high - self.low > RANGE * unit:
            return False
        apart = (self.apart / max(1, self.pairs)) ** 0.5
        return apart >= APART * unit and self.along < FOLLOWS * max(1e-3, self.scene)


class StandingFinder:
    """Looks at every frame of a video of a size (width, height), in order."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._marks, self._motion = LineMarks(size), SideMotion(unit_of(size[1]))
        self._small = size[1] < LEAST_HEIGHT
        self._open: list[Track] = []
        self._found: list[Track] = []
        self._number = -1

    def add(self, luma: Luma) -> None:
        """The next frame."""
        self._number += 1
        if self._small:
            return
        self._motion.add(luma)
        for line in self._marks.find(*self._marks.marks(luma)):
            moved = self._motion.beside(line.x)
            if moved is None:
                continue
            track = self._nearest(line)
            if track is None:
                track = Track(line.lighter, self._number, self._number, line.x, line.x, line.x)
                self._open.append(track)
            track.add(self._number, line, moved)
        self._close(MISSED)

    def _nearest(self, line: Line) -> Track | None:
        def distance(track: Track) -> float:
            return abs(track.x - line.x)

        near = [
            track
            for track in self._open
            if track.lighter == line.lighter
            and track.last < self._number
            and distance(track) <= DRIFT * self._marks.unit * (self._number - track.last)
        ]
        return min(near, key=distance, default=None)

    def _close(self, missed: int) -> None:
        over = [track for track in self._open if self._number - track.last > missed]
        self._open = [track for track in self._open if self._number - track.last <= missed]
        self._found += [track for track in over if track.is_scratch(self._marks.unit)]

    def finish(self) -> list[Standing]:
        """All scratches that stay, in the order of their first frames."""
        self._close(-1)
        found = sorted(self._found, key=lambda track: (track.first, track.low))
        return [Standing(track.low, track.high, track.lighter, track.first, track.last) for track in found]


class StandingMask:
    """Masks of standing scratches in frames of a size (width, height)."""

    def __init__(self, size: tuple[int, int], found: list[Standing]) -> None:
        self._marks, self._found = LineMarks(size), found
        self._width, self._height = size

    def draw(self, luma: Luma, number: int) -> dict[int, Area]:
        """Where frame `number` shows scratches [H, W], by their numbers; those that it does not show are left out."""
        there = {n: one for n, one in enumerate(self._found) if one.first <= number <= one.last}
        if not there:
            return {}
        apart, marked = self._marks.marks(luma)
        lines = self._marks.find(apart, marked)
        drift, half = DRIFT * self._marks.unit, WIDEST * self._marks.unit / 2
        areas: dict[int, Area] = {}
        for place, one in there.items():
            near = (line for line in lines if one.left - drift <= line.x <= one.right + drift)
            line = next((line for line in near if line.lighter == one.lighter), None)
            if line is None:
                continue
            own = 0 if one.lighter else 1
            columns = slice(max(0, round(line.x - half)), min(self._width, round(line.x + half) + 1))
            areas[place] = np.zeros((self._height, self._width), bool)
            areas[place][:, columns] = self._trace(apart[own, :, columns], marked[own, :, columns])
        return areas

    def _trace(self, apart: Plane, marked: Area) -> Area:
        """A line's pixels among some columns [H, w], gaps closed."""
        peak = np.where(marked, apart, 0).max(1, keepdims=True)
        foot = (apart >= FOOT * peak) & (peak > 0)
        gap = odd(GAP * self._height)
        padded = np.pad(foot.astype(np.uint8), ((gap, gap), (0, 0)))
        closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((gap, 3), np.uint8))
        return np.asarray(closed[gap:-gap] > 0)
