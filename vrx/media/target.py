"""Output target: all settings of a result, as one value."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from vrx.media.encoders import EncoderSpec
from vrx.media.fields import FieldOrder
from vrx.media.file_types import PATTERN
from vrx.media.frame import Color, Layout
from vrx.media.metadata_tags import TagOptions
from vrx.media.orientation import UPRIGHT, Orientation
from vrx.media.streams import CopiedStream

FORMATS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
    ".nut": "nut",
    ".ts": "mpegts",
}
PIPED_PICTURE = "picture.png"  # what a picture on its way to standard output is called
ONE_PICTURE = "Use -o NAME_%05d.png for one picture per frame, or --frames 1"


@dataclass(frozen=True, kw_only=True)
class Target:
    """Settings of a result.

    `path` None is standard output.  `size` (width, height); `span` seconds after the source's start to copy
    the other streams from, None for all; `offset` seconds by which all times move back, and `delay` seconds by
    which those of the copied streams are later than the pictures'.  `source_index` None: the restored stream is
    not in `source`.
    `hdr10` are options before ffmpeg's input, `mastering` x265's own for an ffmpeg without them.
    `pictures` are the still sources of the frames, in order, whose metadata is copied.  `fields`: the order of those
    that the frames consist of, None for progressive ones.
    A `path` such as `f_%05d.png` is a pattern unless it is `literal`: numbered from `first_number`.
    """

    path: Path | None
    container: str
    rule: EncoderSpec
    layout: Layout
    color: Color
    size: tuple[int, int]
    time_base: Fraction
    rate: Fraction
    sample_aspect: Fraction
    orientation: Orientation = UPRIGHT
    source: Path | None = None
    source_index: int | None = 0
    span: tuple[Fraction, Fraction | None] | None = None
    offset: Fraction = Fraction(0)
    delay: Fraction = Fraction(0)
    copied_streams: tuple[CopiedStream, ...] = ()
    crf: int | None = None
    preset: str | None = None
    pix_fmt: str | None = None
    threads: int | None = None
    encoder_args: tuple[str, ...] = ()
    mastering: tuple[str, ...] = ()
    hdr10: tuple[str, ...] = ()
    tags: TagOptions = field(default_factory=TagOptions)
    overwrite: bool = False
    pictures: tuple[Path, ...] = ()
    literal: bool = False
    fields: FieldOrder | None = None
    first_number: int = 1

    @property
    def still(self) -> bool:
        """Whether pictures are written, not a video."""
        return self.container == "image2"

    @property
    def sequence(self) -> bool:
        """Whether one file a frame is written."""
        return self.still and not self.literal and self.path is not None and bool(PATTERN.search(self.path.name))

    @property
    def single(self) -> bool:
        """Whether it holds one picture only."""
        return self.still and not self.sequence
