"""How much is restored for a place, so that it looks as it would in a run of all: from where its scene begins.

A model carries what it knows from frame to frame and starts anew at a cut.  A scene that began long before is
joined late; what is then missing is the memory of earlier frames and, in part, how the scene's damage was estimated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from operator import ge, gt
from pathlib import Path

from vrx.errors import InputError
from vrx.media.deinterlace import Deinterlace
from vrx.media.frame import Frame
from vrx.pipeline.preview.source import Source
from vrx.scenes.cut_list import read_cuts
from vrx.scenes.detect import CUT_THRESHOLD, MIN_SCENE_FRAMES, Boundary, SceneFrame, apply_cuts, detect_cuts
from vrx.settings import SelectionSettings

REACH = 25  # frames back, up to which a run begins where the scene does
# frames before a place that a run joins a longer scene at: with 16, pictures of the embedded model differed by at most
# 3 of 255 levels from those of a run from the scene's beginning (with 0 by up to 31, with 8 by up to 6)
LEAD = 16
WARM_UP = 2 * MIN_SCENE_FRAMES + 1  # frames more that the detection of cuts looks at
TRIES = 4  # beginnings of what it looks at, each of so many frames earlier


@dataclass(frozen=True)
class Stretch:
    """Frames of a source, as they are restored: from `start` seconds after its first frame on `lead` ones that are not
    shown, then those that are, at `times`.

    Cuts are found from `begin` on, `skipped` frames before; that one is frame `number` of a run of all, where cuts are
    given by numbers.  `complete`: whether a run of all begins a scene at `start` too; `cut` is the time of a cut among
    the shown, `scene` that from which on the frames before it are known to be of one scene.
    """

    start: Fraction
    lead: int
    times: tuple[Fraction, ...]
    complete: bool
    cut: Fraction | None = None
    scene: Fraction = Fraction(0)
    begin: Fraction = Fraction(0)
    skipped: int = 0
    number: int = 0

    @property
    def time(self) -> Fraction:
        """Of the first shown frame."""
        return self.times[0]

    @property
    def frames(self) -> int:
        """How many are restored."""
        return self.lead + len(self.times)


@dataclass(frozen=True)
class Reading:
    """How a run reads its source: its selection, and how it deinterlaces."""

    selection: SelectionSettings
    which: Deinterlace = Deinterlace.OFF


def find_stretch(source: Source, reading: Reading, time: Fraction, length: Fraction | None) -> Stretch:
    """What to restore for a place.  Raises UsageError for one that is not in the source, and InputError."""
    if source.single:
        if time:
            raise source.refuse(time)
        return Stretch(Fraction(0), 0, (Fraction(0),), True)
    if time < source.begin or (source.end is not None and time >= source.end):
        raise source.refuse(time)
    end = time + (length or 0)
    past = ge if length else gt  # of one frame the one that is shown then
    back = (REACH + WARM_UP) / source.rate
    begin = max(source.begin, time - back)
    for _ in range(TRIES):
        number = count_frames(source, reading.which, begin) if reading.selection.scenes not in ("auto", "off") else 0
        times, scenes, until = read_window(source, reading, (begin, number), lambda at: past(at, end))
        if begin == source.begin or not any(place < MIN_SCENE_FRAMES for place in scenes):
            break
        begin = max(source.begin, begin - back)  # a cut so soon after the beginning changes what is found later
    if until <= time:
        raise source.refuse(time)
    first = max((n for n, at in enumerate(times) if at <= time), default=0)
    last = len(times) if length is not None else first + 1
    starts = [n for n in scenes if n <= first]
    complete = bool(starts) and first - starts[-1] <= REACH
    lead = first - starts[-1] if complete else min(first, LEAD)
    cut = next((times[n] for n in scenes if first < n < last), None)
    start = first - lead
    scene = times[starts[-1] if starts else 0]
    return Stretch(times[start], lead, tuple(times[first:last]), complete, cut, scene, begin, start, number)


def read_window(
    source: Source, reading: Reading, window: tuple[Fraction, int], is_past: Callable[[Fraction], bool]
) -> tuple[list[Fraction], list[int], Fraction]:
    """Times of the frames from the window's beginning to before those past it; which of them begin a scene; and when
    the last one stops being shown.

    `window`: its first time, and the number of its first frame.  One frame at least, but for a window after the end
    of a source whose length is unknown.
    """
    begin, number = window
    times: list[Fraction] = []
    scenes: list[int] = [0] if begin <= source.begin else []
    with source.open(begin, which=reading.which) as reader:
        try:
            for place, item in enumerate(find_boundaries(reader.frames(), reading.selection, number)):
                at = item.frame.time - reader.origin
                if times and is_past(at):
                    return times, scenes, at
                if item.boundary is Boundary.HARD:
                    scenes.append(place)
                times.append(at)
        except InputError:
            if times or source.end is not None:
                raise
        return times, scenes, reader.end - reader.origin if times else begin


def find_boundaries(frames: Iterator[Frame], selection: SelectionSettings, number: int) -> Iterator[SceneFrame]:
    """Frames with their scene boundaries, as a run of all has them; `number` is that of the first."""
    if selection.scenes == "off":
        return apply_cuts(frames, frozenset())
    if selection.scenes != "auto":
        cuts = read_cuts(Path(selection.scenes))
        return apply_cuts(frames, frozenset(cut - number for cut in cuts))
    threshold = selection.scene_threshold
    return detect_cuts(frames, CUT_THRESHOLD if threshold is None else threshold)


def count_frames(source: Source, which: Deinterlace, end: Fraction) -> int:
    """How many frames a run of all restores before a time."""
    if end <= source.begin:
        return 0
    with source.open(source.begin, which=which) as reader:
        count = 0
        for frame in reader.frames():
            if frame.time - reader.origin >= end:
                break
            count += 1
    return count
