"""Black borders of a video: found by frames across all of it, as ffmpeg's cropdetect finds them, and with more care.

The dark of a night scene has something in it, or fades, or ends in no straight line; a border ends within a few pixels,
is flat but for noise, and has another one opposite, or the picture begins along all of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from math import sqrt
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from vrx.errors import InputError
from vrx.events import Note
from vrx.geometry import Crop
from vrx.media.frame import Frame, Kind
from vrx.media.read import Reader, Span

LIMIT = 24.0  # of 255: a row or column whose mean is brighter shows something; cropdetect's default
BRIGHT, BRIGHTEST = 40.0, 98  # the same where this percentile is, noise apart
LINE = 512  # pixels of a row or column that are looked at, or up to twice as many
PLACES, ENOUGH = 24, 8  # frames that are looked at; key frames that are enough
STEP, MOST = 25, 1500  # of a source without a length: one of so many frames, up to so many
LEAST_SHARE = 0.3  # of a side: a portrait between bars has 0.316; what is smaller shines in the dark
FLAT, STRAIGHT = 3.0, 0.9  # levels of 255 within a border of one side; share of its edge where the picture begins
SPREAD = 2.05  # deviations of noise that the percentile BRIGHTEST is above its median
DEVIATION = 1.4826  # of normal noise, in medians of its size
FINE, COARSE = 4, 16  # pixels of a line whose mean is looked at: in the mean of all frames, and in each
EDGE, JUMP = 4, 10.0  # pixels within which a border ends, and levels of 255 by which it gets brighter there
RED, GREEN = 0.299, 0.587  # of luma


def find_borders(source: Path, span: Span) -> Crop | None:
    """What of the displayed picture is not black borders, in even pixels; None where there are none.

    `span` tells how the source is read; all of it is looked at, whatever its times.  Raises InputError.
    """
    rows, columns = Lines(), Lines()
    step = (2, 2)
    for frame in sample(source, replace(span, start=Fraction(0), end=None, frames=None, crop=None)):
        luma = to_luma(frame)
        noise = SPREAD * noise_of_dark(luma)
        across = brightness(luma, noise)
        lit = np.flatnonzero(across > LIMIT)
        if not len(lit):
            continue
        down = brightness(luma[lit[0] : lit[-1] + 1].T, noise)  # bars above and below would darken the columns
        if not rows.frames:
            step = (max(2, 1 << frame.layout.shift_x), max(2, (2 if frame.interlaced else 1) << frame.layout.shift_y))
        rows.add(means_along(luma, 1), across)
        columns.add(means_along(luma, 0), down)
    if not rows.frames:
        return None
    found = [bounds(lines, side) for lines, side in zip((columns, rows), step, strict=True)]
    if any(b - a < LEAST_SHARE * lines.count for (a, b), lines in zip(found, (columns, rows), strict=True)):
        return None
    (left, right), (top, bottom) = found
    if (right - left, bottom - top) == (columns.count, rows.count):
        return None
    return Crop(right - left, bottom - top, left, top)


class Lines:
    """What the rows, or the columns, of all frames show."""

    def __init__(self) -> None:
        self.frames = 0
        self.brightness = np.zeros(0)  # [N], at its most
        self.total = self.squares = np.zeros((0, 0))  # [N, M / FINE] of levels, sums over all frames
        self.peaks = np.zeros((0, 0))  # [N, M / COARSE], at its most

    def add(self, fine: NDArray[np.float64], brightness: NDArray[np.float64]) -> None:
        """Add a frame's means [N, M / FINE] along its lines, and the brightness [N] of the lines."""
        coarse = means_along(fine, 1, COARSE // FINE)
        if not self.frames:
            self.brightness, self.peaks = brightness, coarse
            self.total, self.squares = np.zeros_like(fine), np.zeros_like(fine)
        self.brightness, self.peaks = np.maximum(self.brightness, brightness), np.maximum(self.peaks, coarse)
        self.total += fine
        self.squares += fine**2
        self.frames += 1

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.brightness)

    def is_flat(self, count: int) -> bool:
        """Whether the first `count` are flat, but for noise, which every frame has anew; so they are where none are."""
        if not count:
            return True
        inside = slice(0, max(1, count - EDGE))
        mean = self.total[inside] / self.frames
        noise = float(np.median(np.sqrt(np.maximum(0, self.squares[inside] / self.frames - mean**2))))
        still = unevenness(mean) <= FLAT + SPREAD * noise / sqrt(self.frames)
        return still and unevenness(self.peaks[inside]) <= FLAT + noise

    def begins_straight(self, count: int) -> bool:
        """Whether the picture begins behind the first `count` along all their length, which is that of what is lit."""
        lit = np.flatnonzero(self.peaks.max(0) > LIMIT)
        if not count or not len(lit):
            return not count
        behind = self.peaks[count : count + EDGE].max(0)
        return bool((behind[lit[0] : lit[-1] + 1] > LIMIT).mean() >= STRAIGHT)

    def reversed(self) -> Lines:
        """The same from the other side."""
        found = Lines()
        found.frames, found.brightness = self.frames, self.brightness[::-1]
        found.total, found.squares, found.peaks = self.total[::-1], self.squares[::-1], self.peaks[::-1]
        return found


def means_along(levels: NDArray[np.float64], axis: int, count: int = FINE) -> NDArray[np.float64]:
    """The means of `count` neighbors along the rows [H, W / count], or for an axis of 0 the columns [W, H / count].

    A rest is left out, unless there is no more.
    """
    height, width = levels.shape
    count = min(count, levels.shape[axis])
    if axis:
        found = levels[:, : width // count * count].reshape(height, -1, count).mean(2)
    else:
        found = levels[: height // count * count].reshape(-1, count, width).mean(1).T
    return cast("NDArray[np.float64]", found)


def unevenness(levels: NDArray[np.float64]) -> float:
    """By how many levels the brightest are above the median."""
    return float(np.percentile(levels, BRIGHTEST) - np.median(levels))


def brightness(luma: NDArray[np.float64], noise: float) -> NDArray[np.float64]:
    """How bright each row is: its mean, or more than LIMIT where that is low and a part of it is bright.

    `noise` is by how many levels noise alone brightens that part.
    """
    some = luma[:, :: max(1, luma.shape[1] // LINE)]
    part = np.percentile(some, BRIGHTEST, 1) - noise
    found: NDArray[np.float64] = np.maximum(some.mean(1), part + (LIMIT - BRIGHT))
    return found


def noise_of_dark(luma: NDArray[np.float64]) -> float:
    """The deviation of noise where a picture is as dark as a border, by what neighbors differ; 0 where it is not."""
    some = luma[:: max(1, len(luma) // LINE), : luma.shape[1] // FINE * FINE]
    blocks = some.reshape(len(some), -1, FINE)
    dark = blocks[blocks.mean(2) < LIMIT]
    return DEVIATION * float(np.median(np.abs(np.diff(dark)))) / sqrt(2) if len(dark) else 0.0


def bounds(lines: Lines, step: int) -> tuple[int, int]:
    """From where to before where lines are bright, within that to multiples of `step`; a side that is lit stays odd."""
    means = lines.brightness
    lit = np.flatnonzero(means > LIMIT)
    if not len(lit):
        return 0, 0
    before, after = border(means), border(means[::-1])
    sides = ((lines, before), (lines.reversed(), after))
    uneven = abs(before - after) > EDGE
    if not all(side.is_flat(count) and (not uneven or side.begins_straight(count)) for side, count in sides):
        return 0, len(means)
    begin, end = before, len(means) - after
    return -(-begin // step) * step, end if end == len(means) else end // step * step


def border(means: NDArray[np.float64]) -> int:
    """How many of the first rows or columns are a border; 0 where they get brighter slowly."""
    begin = int(np.flatnonzero(means > LIMIT)[0])
    if begin == 0 or means[begin : begin + EDGE].max() < means[max(0, begin - EDGE) : begin].min() + JUMP:
        return 0
    return begin


def sample(source: Path, span: Span) -> Iterator[Frame]:
    """Frames across a source, upright: key frames, which take the least work; where these are few, others."""
    with open_upright(source, span) as reader:
        info = reader.info_on_timeline()
        duration, count = info.video.duration or reader.info.duration, info.estimated_frames
        few = count is not None and count <= PLACES
        steady = reader.timeline is None or reader.timeline.is_continuous  # else times lead elsewhere
        if duration and not few and not reader.info.still and steady:
            seen = set[int]()
            for start in places(duration):
                frame = reader.key_frame(start)
                if frame is not None and frame.pts not in seen:
                    seen.add(frame.pts)
                    yield frame
            if len(seen) >= ENOUGH:
                return
    with open_upright(source, span) as reader:
        if few or not duration or (count is not None and count <= MOST):
            step = max(1, count // PLACES) if count else STEP
            yield from islice(reader.frames(), 0, None if few else MOST, step)
            return
    for start in places(duration):
        try:
            with open_upright(source, replace(span, start=start, frames=1)) as reader:
                yield from reader.frames()
        except InputError:  # what the header promises and the file does not have
            return


def places(duration: Fraction) -> list[Fraction]:
    """The middles of equal parts of a duration, in seconds."""
    return [duration * (2 * place + 1) / (2 * PLACES) for place in range(PLACES)]


def open_upright(source: Path, span: Span) -> Reader:
    """A reader whose pictures come as they are shown."""
    reader = Reader(source, span, ignore)
    reader.make_upright()
    return reader


def to_luma(frame: Frame) -> NDArray[np.float64]:
    """Luma [H, W] in levels of 255."""
    first, *others = frame.planes
    luma = first.astype(np.float64)
    if frame.layout.kind is Kind.RGB:
        luma = RED * luma + GREEN * others[0] + (1 - RED - GREEN) * others[1]
    return luma * (256 / (1 << frame.layout.depth))


def ignore(note: Note) -> None:
    """Notes about a source come from the run that restores it."""
