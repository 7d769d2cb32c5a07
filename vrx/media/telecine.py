"""Telecine undone: the frames of a film, out of the fields that they were spread over for broadcast and discs.

3:2 pulldown makes 60 fields a second of 24 frames, which are shown for three and two fields in turn.  *Hard*: the
fields were woven into 30 frames, two of five mixed.  *Soft*: the frames are stored whole, and flags repeat fields;
decoders give their times.  Recordings go from one to the other, and to video that never was film.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, groupby, islice
from operator import itemgetter

from av.video.frame import VideoFrame

from vrx.errors import UsageError
from vrx.media.field_filters import filter_pictures

NTSC, PAL = Fraction(30_000, 1001), Fraction(25)  # interlaced frames a second
WHOLE = Fraction(30)  # the same as NTSC, without its thousandth
TOLERANCE = Fraction(1, 20)  # frames a second that rates in headers are off
CYCLE = Fraction(4, 5)  # frames of film in an interlaced frame
FILM_FIELDS = Fraction(5, 2)  # fields that a frame of film is shown for, on average
LONG = Fraction(9, 4)  # fields; what is shown for longer is no interlaced frame
MATCH = ("fieldmatch", "order=auto:mode=pcn:combmatch=full")  # three candidates: right with a wrong field order, too
WHOLE_FRAMES = ("bwdif", "mode=send_frame:parity=auto:deint=all")  # of what has no match: video, cuts of edited fields
DECIMATE = ("decimate", "mixed=1:dupthresh=2")  # one of five, where one differs by 2% at most from that before
AS_IT_IS = ("null", "")
MOST_CALM = 3  # frames between two without a match, that are of the same video, though little moves in them
FORMATS = {"yuv410p", "yuv411p", "yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p"}  # of the filters


def interlaced_rate(rate: Fraction) -> Fraction:
    """Interlaced frames a second of a source with about `rate` pictures a second, some of which are film's.

    Raises UsageError for a rate that is not of broadcast.
    """
    if abs(rate - PAL) < TOLERANCE:
        return PAL
    if rate == WHOLE or rate == WHOLE * CYCLE:
        return WHOLE
    if NTSC * CYCLE - TOLERANCE < rate < NTSC + TOLERANCE:
        return NTSC
    raise UsageError(
        f"--deinterlace film is for telecine of 29.97 frames a second, and for 25; the video has {float(rate):.3f}",
        "Use --deinterlace on or double",
    )


def film_rate(rate: Fraction) -> Fraction:
    """Frames a second of the film in such a source."""
    found = interlaced_rate(rate)
    return found if found == PAL else found * CYCLE


def check_format(pix_fmt: str) -> None:
    """Refuse a pixel format that the filters would convert.  Raises UsageError."""
    if pix_fmt not in FORMATS:
        raise UsageError(
            f"--deinterlace film works on YUV of 8 bits, and the video is {pix_fmt}",
            "Use --deinterlace on or double, or convert it to yuv422p first",
        )


def undo_telecine(
    pictures: Iterable[VideoFrame], rate: Fraction, time_base: Fraction, divisor: int
) -> Iterator[VideoFrame]:
    """The frames of the film, evenly spaced; stretches that are none keep their own rate.

    Times of pictures increase in `time_base` seconds, those of results count in ticks `divisor` times as fine.
    """
    frames = interlaced_rate(rate)
    field = 1 / (2 * frames * time_base)
    paced = AS_IT_IS if frames == PAL else DECIMATE
    step = round(2 * field)
    for is_film, run in groupby(find_film(pictures, field), key=itemgetter(0)):
        found = (picture for _, picture in run)
        if is_film:
            yield from space_evenly(found, field, divisor)
        else:
            matched = filter_pictures(found, [MATCH], 1, step)
            yield from filter_pictures(deinterlace_video(matched, step), [paced], divisor, step)


def deinterlace_video(matched: Iterable[VideoFrame], step: int) -> Iterator[VideoFrame]:
    """Pictures whose fields were matched; whole ones of those that have no match, which are flagged as interlaced."""
    before: VideoFrame | None = None
    for is_video, run in groupby(find_video(matched), key=itemgetter(0)):
        pictures = (picture for _, picture in run)
        if is_video:  # the filter leaves a picture as it is that has none beside it
            whole = filter_pictures(pictures if before is None else chain([before], pictures), [WHOLE_FRAMES], 1, step)
            yield from islice(whole, 0 if before is None else 1, None)
            continue
        for picture in pictures:
            time, before = picture.pts, picture
            yield picture
            before.pts = time  # whoever took it counts anew


def find_video(matched: Iterable[VideoFrame]) -> Iterator[tuple[bool, VideoFrame]]:
    """Each picture, after whether it is of video: it is flagged, or few lie between flagged ones."""
    waiting: list[VideoFrame] = []
    follows = False
    for picture in matched:
        flagged = picture.interlaced_frame
        if not flagged and follows and len(waiting) < MOST_CALM:
            waiting.append(picture)
            continue
        yield from ((flagged, other) for other in waiting)
        waiting.clear()
        follows = flagged
        yield flagged, picture
    yield from ((False, other) for other in waiting)


def find_film(pictures: Iterable[VideoFrame], field: Fraction) -> Iterator[tuple[bool, VideoFrame]]:
    """Each picture, after whether it is a frame of film already.

    Those are progressive, and shown for longer than two fields of `field` ticks, or follow one that is.
    """
    source = iter(pictures)
    picture, follows = next(source, None), False
    while picture is not None:
        following = next(source, None)
        is_long = following is not None and (following.pts or 0) - (picture.pts or 0) > LONG * field
        yield not picture.interlaced_frame and (is_long or follows), picture
        picture, follows = following, is_long


def space_evenly(pictures: Iterable[VideoFrame], field: Fraction, divisor: int) -> Iterator[VideoFrame]:
    """Frames that are shown for three and two fields in turn, each for two and a half.

    A time that would move by more than a field begins the spacing anew.
    """
    begin, number = Fraction(0), 0
    for picture in pictures:
        time, even = picture.pts or 0, begin + number * FILM_FIELDS * field
        if not number or abs(even - time) > field:
            begin, number, even = Fraction(time), 0, Fraction(time)
        picture.pts = round(even * divisor)
        number += 1
        yield picture
