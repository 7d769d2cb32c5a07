"""The picture and the clip of a preview, from its source and the results of its runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from vrx.media.frame import Frame
from vrx.media.lettering import Picture
from vrx.media.signals import defer_signals
from vrx.media.target import Target
from vrx.media.write import Writer
from vrx.pipeline.colorspace import Conversion, from_rgb
from vrx.pipeline.pictures import to_picture
from vrx.pipeline.preview.search import Search
from vrx.pipeline.preview.sheet import Sheet, Size
from vrx.pipeline.preview.source import Source, display_colors, display_size, open_result
from vrx.pipeline.preview.stretch import Stretch
from vrx.pipeline.video import make_plain_target
from vrx.settings import OutputSettings, format_time

SEARCHED = 1280  # pixels across of the pictures that are searched for differences
SEARCHED_PAIRS = 6  # of frames
SLACK = Fraction(1, 8)  # of a frame, by which times in results may be rounded
CLIP_CRF = 12  # of x264: what it loses is not seen beside what is compared
SOURCE, ENLARGED = "source", "source, bicubic"  # names of the first column, as it is and at the result's size


@dataclass(frozen=True)
class RestoredPlace:
    """A place: for each choice what was restored of it, and into which file, and the line above."""

    stretches: tuple[Stretch, ...]
    results: tuple[Path, ...]
    title: str

    @property
    def time(self) -> Fraction:
        """Of the first shown frame, in seconds after the source's first."""
        return self.stretches[0].time


class Composer:
    """Draws places of a source; `names` of the choices, `size` of the pictures with square pixels."""

    def __init__(self, source: Source, names: Sequence[str], first: RestoredPlace) -> None:
        self._source = source
        with ExitStack() as stack:
            readers = [stack.enter_context(open_result(path)) for path in first.results]
            sizes = [display_size(reader) for reader in readers]
            own = display_size(stack.enter_context(source.open(first.time, 1)))
        self._size = max(sizes, key=lambda size: size[0] * size[1])
        self._names = (SOURCE if own == self._size else ENLARGED, *names)
        self.sheet = Sheet.fit(len(self._names), self._size)

    def frames(self, shown: RestoredPlace) -> Iterator[tuple[Fraction, tuple[Frame, ...]]]:
        """The shown frames of all columns, and when they are shown, in seconds after the source's first."""
        times = max((stretch.times for stretch in shown.stretches), key=len)  # rates may differ
        slack = SLACK / self._source.rate
        with ExitStack() as stack:
            source = stack.enter_context(self._source.open(shown.time))
            tracks = [Track(source.frames(), -source.origin, slack)]
            for stretch, path in zip(shown.stretches, shown.results, strict=True):
                reader = stack.enter_context(open_result(path))
                tracks.append(Track(reader.frames(), stretch.start, slack))
            for time in times:
                yield time, tuple(track.at(time) for track in tracks)

    def search(self, shown: RestoredPlace) -> tuple[Size, int]:
        """Left and top of the part to enlarge, and the number of the frame to show in the picture."""
        part = (self.sheet.part[0] / self._size[0], self.sheet.part[1] / self._size[1])
        factor = min(1.0, SEARCHED / self._size[0])
        size = (max(1, round(self._size[0] * factor)), max(1, round(self._size[1] * factor)))
        complete, choices = Search(part), Search(part)
        searched = pick_pairs(max(len(stretch.times) for stretch in shown.stretches))
        for number, (_, frames) in enumerate(self.frames(shown)):
            if number in searched:
                pictures = torch.stack([display_colors(frame, size) for frame in frames])
                complete.add(number, pictures)
                choices.add(number, pictures[1:])
        place, best = (choices if choices.found else complete).find()
        return self.sheet.place(*place), best

    def draw(
        self, shown: RestoredPlace, place: Size, only: int | None = None
    ) -> Iterator[tuple[int, Fraction, Picture]]:
        """Numbers, times and sheets of the shown frames, or of one of them."""
        for number, (time, frames) in enumerate(self.frames(shown)):
            if only is None or number == only:
                pictures = (to_picture(display_colors(frame, self._size)) for frame in frames)  # one after the other
                title = f"{format_time(time)}   {shown.title}"
                yield number, time, self.sheet.draw(title, self._names, pictures, place)


class Track:
    """Gives the frame of a file that is shown at each of rising times, in seconds after the source's first frame.

    The file's zero is at `start` of those; its times are rounded by less than `slack`.
    """

    def __init__(self, frames: Iterator[Frame], start: Fraction, slack: Fraction) -> None:
        self._frames, self._ahead = frames, start - slack
        self._current = next(frames)
        self._coming = next(frames, None)

    def at(self, time: Fraction) -> Frame:
        """The frame that is shown then, the first or the last one outside of the file."""
        while self._coming is not None and self._coming.time + self._ahead <= time:
            self._current, self._coming = self._coming, next(self._frames, None)
        return self._current


def pick_pairs(count: int) -> set[int]:
    """Numbers of the frames among `count` that are searched: all, or pairs of neighbors that are spread over them."""
    if count <= 2 * SEARCHED_PAIRS:
        return set(range(count))
    firsts = {number * (count - 2) // (SEARCHED_PAIRS - 1) for number in range(SEARCHED_PAIRS)}
    return firsts | {number + 1 for number in firsts}


class Clip:
    """Writes sheets as a video; a context manager, which leaves no file unless `finish` was called."""

    def __init__(self, path: Path, source: Source, size: Size, overwrite: bool) -> None:
        settings = OutputSettings(path=str(path), crf=CLIP_CRF, overwrite=overwrite)
        plain = make_plain_target(path, settings, size, source.rate)
        self._target: Target = replace(plain, time_base=source.info.video.time_base)
        self._begin = Fraction(0)  # of the running place, in the clip
        self._last, self._step = Fraction(0), 1 / source.rate
        with defer_signals():
            self._writer = Writer(self._target)

    def __enter__(self) -> Clip:
        self._writer.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        self._writer.__exit__(kind, *exc)

    def write(self, sheet: Picture, time: Fraction) -> None:
        """Add a sheet that is shown from `time` seconds after its place's first frame on."""
        target = self._target
        colors = torch.from_numpy(np.ascontiguousarray(sheet)).permute(2, 0, 1).float() / 255
        planes = from_rgb(colors, None, Conversion(target.layout, target.color, target.size))
        pts = round((self._begin + time) / target.time_base)
        self._writer.write(Frame(planes, target.layout, target.color, pts, target.time_base))
        self._last = self._begin + time

    def end_place(self) -> None:
        """The next sheet is of another place."""
        self._begin = self._last + self._step

    def finish(self) -> None:
        """Give the file its name.  Raises OutputError."""
        self._writer.finish()
