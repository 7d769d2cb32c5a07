"""Interlaced frames made whole by ffmpeg's motion-adaptive bwdif: frame for frame, or a frame of each field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from fractions import Fraction
from itertools import chain, groupby

from av.video.frame import VideoFrame

from vrx.errors import UsageError
from vrx.media.field_filters import filter_pictures
from vrx.media.telecine import check_format, film_rate, undo_telecine


class Deinterlace(StrEnum):
    """What becomes of interlaced frames.

    OFF: they stay.  AUTO: those flagged as interlaced become whole; ON: all do.  DOUBLE: a frame of each field; where
    some are flagged as interlaced, those that are not are given twice.  FILM: the frames of the film that telecine
    spread over the fields.
    """

    OFF = "off"
    AUTO = "auto"
    ON = "on"
    DOUBLE = "double"
    FILM = "film"

    @property
    def divisor(self) -> int:
        """How many times as fine the ticks are that the results' times need: they lie between those of the source."""
        return DIVISORS.get(self, 1)

    def rate(self, rate: Fraction) -> Fraction:
        """Frames a second of the results of a source.  Raises UsageError for a rate that telecine does not give."""
        if self is Deinterlace.FILM:
            return film_rate(rate)
        return 2 * rate if self is Deinterlace.DOUBLE else rate


def check_source(which: Deinterlace, first: VideoFrame, is_picture: bool) -> None:
    """Refuse what a source is not made for: a single picture, a format, or a size.  Raises UsageError."""
    if which.divisor > 1 and is_picture:
        raise UsageError(f"--deinterlace {which} makes other frames of a video's, and this is a picture", "Use on")
    if which is Deinterlace.FILM:
        check_format(first.format.name)
    if which in (Deinterlace.ON, Deinterlace.DOUBLE):
        check_size(first)


def check_size(picture: VideoFrame) -> None:
    """Refuse pictures that bwdif does not take.  Raises UsageError."""
    form = picture.format
    if form.chroma_width(picture.width) < LEAST_COLUMNS or form.chroma_height(picture.height) < LEAST_ROWS:
        raise UsageError(
            f"pictures of {picture.width}x{picture.height} in {form.name} are too small to be deinterlaced",
            "Use --deinterlace off",
        )


DIVISORS = {Deinterlace.DOUBLE: 2, Deinterlace.FILM: 4}  # a field is half a frame; film frames: 1, 1 1/4, 1 1/2, ...
LEAST_COLUMNS, LEAST_ROWS = 3, 4  # of every plane, for bwdif
BWDIF = {
    Deinterlace.AUTO: "mode=send_frame:parity=auto:deint=interlaced",
    Deinterlace.ON: "mode=send_frame:parity=auto:deint=all",
    Deinterlace.DOUBLE: "mode=send_field:parity=auto:deint=all",
}


def deinterlace(
    pictures: Iterable[VideoFrame], which: Deinterlace, rate: Fraction, time_base: Fraction
) -> Iterator[VideoFrame]:
    """Deinterlaced pictures of a source of about `rate` frames a second, whose times increase in `time_base` seconds.

    Their own times are counted in `time_base / which.divisor`.  All must have one size, as the filters require.
    With AUTO pictures before the first interlaced one pass unchanged; from there on all go through the filter, which
    looks one frame ahead and passes unflagged ones unchanged.
    """
    if which is Deinterlace.FILM:
        yield from undo_telecine(pictures, rate, time_base, which.divisor)
        return
    source = iter(pictures)
    step = max(1, round(1 / (rate * time_base))) if rate else 1
    for picture in source:
        if which is not Deinterlace.OFF and (which is not Deinterlace.AUTO or picture.interlaced_frame):
            check_size(picture)
            filters = [("bwdif", BWDIF[which])]
            yield from filter_pictures(chain([picture], source), filters, which.divisor, step)
            return
        yield picture


def double_flagged(
    pictures: Iterable[VideoFrame], which: Deinterlace, rate: Fraction, time_base: Fraction
) -> Iterator[VideoFrame]:
    """As `deinterlace` with DOUBLE, of a source whose flags tell: those not flagged as interlaced are given twice.

    That is the same object with another time: use each before the next.
    """
    step = max(1, round(1 / (rate * time_base))) if rate else 1
    for interlaced, run in groupby(with_following(pictures), key=lambda pair: bool(pair[0].interlaced_frame)):
        if interlaced:
            yield from deinterlace(until_following(run), which, rate, time_base)
            continue
        for picture, following in run:
            begin = picture.pts or 0
            end = begin + (picture.duration or step) if following is None else following.pts or 0
            for half in range(which.divisor):
                picture.pts = begin * which.divisor + half * (end - begin)
                yield picture


def until_following(pairs: Iterable[tuple[VideoFrame, VideoFrame | None]]) -> Iterator[VideoFrame]:
    """Pictures that are shown until the next, whatever they tell, so that no field of the last comes after that."""
    for picture, following in pairs:
        if following is not None:
            picture.duration = (following.pts or 0) - (picture.pts or 0)
        yield picture


def with_following(pictures: Iterable[VideoFrame]) -> Iterator[tuple[VideoFrame, VideoFrame | None]]:
    """Each picture, and the next; None behind the last."""
    source = iter(pictures)
    picture = next(source, None)
    while picture is not None:
        following = next(source, None)
        yield picture, following
        picture = following
