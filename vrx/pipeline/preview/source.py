"""The source of a preview: opened again for every place, its pictures upright and for an ordinary screen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.errors import UsageError
from vrx.events import Note
from vrx.media.deinterlace import Deinterlace
from vrx.media.file_types import is_pattern
from vrx.media.frame import Frame
from vrx.media.probe import SourceInfo
from vrx.media.read import Reader, Span
from vrx.pipeline.colorspace import to_rgb
from vrx.pipeline.output import copied_span
from vrx.pipeline.screen import to_screen
from vrx.pipeline.session import select_span
from vrx.settings import Job, format_time

CPU = torch.device("cpu")
BEHIND = 0.1  # brightness of what is seen through transparent pictures
USUAL_RATE = Fraction(25)  # frames a second of a source that states none


@dataclass(frozen=True)
class Source:
    """A file to preview: `name` for messages; what a run restores of it is from `begin` to before `end`.

    Times are seconds after the first frame; `end` None is unknown, `limit` None where a run restores all to the end.
    `reading` is how it is read besides: its stream, threads, rate and crop.
    """

    path: Path
    name: str
    info: SourceInfo
    reading: Span
    begin: Fraction
    end: Fraction | None
    limit: Fraction | None

    @classmethod
    def of(cls, job: Job, path: Path, name: str) -> Source:
        """The source of a job.  Raises InputError, and UsageError for a stream that is not a video."""
        selection = job.selection
        part = replace(select_span(selection), threads=job.model.threads or 0)
        reading = replace(part, start=Fraction(0), end=None, frames=None)
        with Reader(path, reading, ignore, name) as reader:
            info = reader.info_on_timeline()
        times = copied_span(selection.start, selection.end, selection.frames, info.video.rate)
        begin, limit = (Fraction(0), None) if times is None else times
        ends = [end for end in (limit, info.video.duration or info.duration) if end]
        end = min(ends, default=None)
        return cls(path, name, info, reading, begin, end, limit)

    @property
    def single(self) -> bool:
        """Whether it is one picture."""
        return self.info.still and not is_pattern(self.path)

    @property
    def rate(self) -> Fraction:
        """Frames a second, nominal."""
        return self.info.video.rate or USUAL_RATE

    def open(self, start: Fraction, frames: int | None = None, which: Deinterlace = Deinterlace.OFF) -> Reader:
        """The part from `start` seconds on, upright; a context manager."""
        first = Fraction(0) if self.single else start
        span = replace(self.reading, start=first, end=self.limit, frames=frames)
        reader = Reader(self.path, span, ignore, self.name, which)
        reader.make_upright()
        return reader

    def refuse(self, time: Fraction) -> UsageError:
        """The error of a place that is not in what a run restores."""
        at = f"--at {format_time(time)}"
        if time < self.begin:
            return UsageError(f"{at} is before the part that --start chooses", "Choose a later place")
        end = "" if self.end is None else f", which ends at {format_time(self.end)}"
        return UsageError(f"{at} is past the end of {self.name}{end}", "Choose an earlier place")


def ignore(note: Note) -> None:
    """Notes about a source come from the runs that restore it."""


def open_result(path: Path) -> Reader:
    """The file of a run, its pictures as they are shown."""
    reader = Reader(path, Span(), ignore)
    reader.make_upright()
    return reader


def display_size(reader: Reader) -> tuple[int, int]:
    """Width and height of an open file as players show it, with square pixels: none are left out."""
    (width, height), aspect = reader.size, reader.sample_aspect or Fraction(1)
    return (round(width * aspect), height) if aspect >= 1 else (width, round(height / aspect))


def display_colors(frame: Frame, size: tuple[int, int]) -> Tensor:
    """A frame for an ordinary screen at a size (width, height): [3, H, W] in 0..1; transparent parts are dark."""
    colors, alpha = to_rgb(frame, CPU)
    colors = to_screen(colors, frame.color.transfer)
    if alpha is not None:
        colors = torch.lerp(torch.full_like(colors, BEHIND), colors, alpha)
    width, height = size
    if colors.shape[-2:] != (height, width):
        colors = F.interpolate(colors[None], (height, width), mode="bicubic", antialias=True)[0]
    return colors.clamp(0, 1)
