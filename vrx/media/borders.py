"""Black borders of a video: found by frames across all of it, as ffmpeg's cropdetect finds them, and with more care.

The dark of a night scene has something in it, or fades, or ends in no straight line; a border is plain, ends within a
few pixels, and has another one opposite, unless it is narrow, or flat, with the picture beginning along all of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vrx.errors import InputError
from vrx.events import Note
from vrx.geometry import Crop
from vrx.media.frame import Frame, Kind
from vrx.media.read import Reader, Span

LIMIT = 24.0  # of 255: a row or column whose mean is brighter shows something; cropdetect's default
BRIGHT, BRIGHTEST = 40.0, 98  # the same where this percentile is; with noise of 8 levels black is still below
LINE = 512  # pixels of a row or column that are looked at, or up to twice as many
PLACES, ENOUGH = 24, 8  # frames that are looked at; key frames that are enough
STEP, MOST = 25, 1500  # of a source without a length: one of so many frames, up to so many
LEAST_SHARE = 0.3  # of a side: a portrait between bars has 0.316; what is smaller shines in the dark
NARROW = 0.05  # of a side: borders of analog edges, and the difference of two that are opposite each other
FLAT, STRAIGHT = 3.0, 0.9  # levels of 255 within a border of one side; share of its edge where the picture begins
EDGE, JUMP = 4, 10.0  # pixels within which a border ends, and levels of 255 by which it gets brighter there
RED, GREEN = 0.299, 0.587  # of luma


def find_borders(source: Path, span: Span) -> Crop | None:
    """What of the displayed picture is not black borders, in even pixels; None where there are none.

    `span` tells how the source is read; all of it is looked at, whatever its times.  Raises InputError.
    """
    rows = columns = np.zeros(0)
    brightest = np.zeros((0, 0))  # of each pixel, in all frames
    step = (2, 2)
    for frame in sample(source, replace(span, start=Fraction(0), end=None, frames=None, crop=None)):
        luma = to_luma(frame)
        across = brightness(luma)
        lit = np.flatnonzero(across > LIMIT)
        if not len(lit):
            continue
        down = brightness(luma[lit[0] : lit[-1] + 1].T)  # bars above and below would darken the columns
        if not len(rows):
            rows, columns, brightest = across, down, luma
            step = (max(2, 1 << frame.layout.shift_x), max(2, (2 if frame.interlaced else 1) << frame.layout.shift_y))
        rows, columns = np.maximum(rows, across), np.maximum(columns, down)
        np.maximum(brightest, luma, out=brightest)
    if not len(rows):
        return None
    found = [bounds(*line, side) for line, side in zip(((columns, brightest.T), (rows, brightest)), step, strict=True)]
    if any(b - a < LEAST_SHARE * len(m) for (a, b), m in zip(found, (columns, rows), strict=True)):
        return None
    (left, right), (top, bottom) = found
    if (right - left, bottom - top) == (len(columns), len(rows)):
        return None
    return Crop(right - left, bottom - top, left, top)


def brightness(luma: NDArray[np.float64]) -> NDArray[np.float64]:
    """How bright each row is: its mean, or more than LIMIT where that is low and a part of it is bright."""
    some = luma[:, :: max(1, luma.shape[1] // LINE)]
    found: NDArray[np.float64] = np.maximum(some.mean(1), np.percentile(some, BRIGHTEST, 1) + (LIMIT - BRIGHT))
    return found


def bounds(means: NDArray[np.float64], lines: NDArray[np.float64], step: int) -> tuple[int, int]:
    """From where to before where means are bright, within that to multiples of `step`; a side that is lit stays odd.

    `lines` [N, M] are those whose brightness the `means` [N] are, at their brightest.
    """
    lit = np.flatnonzero(means > LIMIT)
    if not len(lit):
        return 0, 0
    before, after = border(means), border(means[::-1])
    if abs(before - after) > NARROW * len(means) and not (is_bar(lines, before) and is_bar(lines[::-1], after)):
        return 0, len(means)
    begin, end = before, len(means) - after
    return -(-begin // step) * step, end if end == len(means) else end // step * step


def border(means: NDArray[np.float64]) -> int:
    """How many of the first rows or columns are a border; 0 where they get brighter slowly."""
    begin = int(np.flatnonzero(means > LIMIT)[0])
    if begin == 0 or means[begin : begin + EDGE].max() < means[max(0, begin - EDGE) : begin].min() + JUMP:
        return 0
    return begin


def is_bar(lines: NDArray[np.float64], count: int) -> bool:
    """Whether the first `count` of lines are flat in all frames, and the picture begins behind them along all their
    length, which no shadow does; the length is that of what is lit.  So it is where there are none.
    """
    if not count:
        return True
    bar, behind = lines[: max(1, count - EDGE)], lines[count : count + EDGE].max(0)
    lit = np.flatnonzero(lines.max(0) > LIMIT)
    flat = np.percentile(bar, BRIGHTEST) - np.median(bar) <= FLAT
    return bool(flat and (behind[lit[0] : lit[-1] + 1] > LIMIT).mean() >= STRAIGHT)


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
