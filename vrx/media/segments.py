"""Segments: parts of a result, joined at the end without encoding again.

Parts have the container of the result, so that it holds in parts what it holds whole.  Each begins near
time zero, and ffmpeg's concat demuxer gets the distance of their beginnings: it would otherwise guess that
from durations, which variable frame rates spoil.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import gcd
from pathlib import Path

import av
import av.error

from vrx.errors import OutputError
from vrx.media.atomic import commit, count_frames, write_error
from vrx.media.ffmpeg import FFmpegProcess
from vrx.media.ffmpeg_args import (
    container_args,
    hdr10_args,
    offset_args,
    orientation_args,
    stream_codec_args,
    stream_copy_args,
    timestamp_offset,
)
from vrx.media.orientation import UPRIGHT
from vrx.media.partial_files import partial_path
from vrx.media.target import Target
from vrx.media.write import set_end_time, writer_error

JOINABLE_CONTAINERS = {"mp4", "mov", "matroska", "webm"}
MILLISECOND_CONTAINERS = {"matroska", "webm"}  # their times are whole milliseconds
MILLISECOND = Fraction(1, 1000)
LIST_NAME = "parts.ffconcat"


@dataclass(frozen=True)
class Segment:
    """An encoded part of a result: its file, its frames, and when its first one is shown, in seconds."""

    path: Path
    frames: int
    begin: Fraction


def segment_target(target: Target, path: Path, begin: Fraction) -> Target:
    """The target of a part whose first picture is shown at `begin`: pictures only, no other streams."""
    base = target.time_base
    if target.container in MILLISECOND_CONTAINERS:  # the shift must not round where the whole would not
        fine = Fraction(gcd(base.numerator * 1000, base.denominator), base.denominator * 1000)
        base = fine if fine.denominator < 2**31 else base
    return replace(
        target,
        path=path,
        source=None,
        copied_streams=(),
        span=None,
        orientation=UPRIGHT,
        overwrite=True,
        time_base=base,
        offset=target.offset + segment_zero(begin, target),
    )


def join_segments(
    segments: Sequence[Segment],
    target: Target,
    end: Fraction | None = None,
    on_finished: Callable[[Path], None] = lambda finished: None,
) -> None:
    """Join segments of one folder into the result, add the source's other streams, and commit it.

    `end` is when the last frame stops being shown, in seconds of the source, where that is known.
    `on_finished` is called with the joined file before it is renamed.
    Raises OutputError where they do not fit together or cannot be written; the parts stay.
    """
    assert target.path is not None
    folder = segments[0].path.parent
    check_headers(segments, target.path)
    begins = [container_time(segment.begin, target) for segment in segments]
    write_concat_list(folder / LIST_NAME, segments, begins)
    partial = partial_path(target.path)
    try:
        encoder = FFmpegProcess(build_join_arguments(target, begins[0], partial), folder=folder)
        try:
            encoder.finish()
        except OutputError as error:
            raise writer_error(error, target.path) from error
        sent, arrived = sum(segment.frames for segment in segments), count_frames(partial)
        if sent != arrived:
            raise OutputError(
                f"{target.path}: joined file has {arrived} of {sent} frames; output discarded",
                "Run the same command with --no-resume",
            )
        set_end_time(target, partial, end)
        on_finished(partial)
        commit(partial, target.path, target.overwrite)
    finally:
        partial.unlink(missing_ok=True)


def segment_zero(begin: Fraction, target: Target) -> Fraction:
    """The time of the result that is zero in a part which begins at `begin`.

    Whole milliseconds where the container rounds to them, and none of the part's times is below zero: the pipe to
    ffmpeg holds no such times.  ffmpeg takes the part's first time off again where it joins.
    """
    time = begin - target.offset
    return time // MILLISECOND * MILLISECOND if target.container in MILLISECOND_CONTAINERS else time


def container_time(time: Fraction, target: Target) -> Fraction:
    """When the result shows what the source shows at `time`, as its container holds it."""
    time -= target.offset
    if target.container not in MILLISECOND_CONTAINERS:
        return time
    return int(abs(time) / MILLISECOND + Fraction(1, 2)) * MILLISECOND * (1 if time >= 0 else -1)


def check_headers(segments: Sequence[Segment], path: Path) -> None:
    """Refuse parts of which one decoder could not play all."""
    headers = set()
    for segment in segments:
        try:
            with av.open(f"file:{segment.path}") as box:
                headers.add(box.streams.video[0].codec_context.extradata)
        except (av.error.FFmpegError, OSError, IndexError) as error:
            raise OutputError(
                f"cannot read {segment.path}, a segment of {path}", "Run the same command with --no-resume"
            ) from error
    if len(headers) > 1:
        raise OutputError(
            f"the segments of {path} cannot be joined with this encoder", "Run the same command with --no-resume"
        )


def write_concat_list(path: Path, segments: Sequence[Segment], begins: Sequence[Fraction]) -> None:
    """The list that ffmpeg reads: names beside it, and how long each part lasts until the next begins."""
    lines = ["ffconcat version 1.0"]
    for place, segment in enumerate(segments):
        lines.append(f"file {segment.path.name}")
        if place + 1 < len(segments):
            lines.append(f"duration {float(begins[place + 1] - begins[place]):.6f}")
    try:
        path.write_text("\n".join(lines) + "\n")
    except OSError as error:
        raise write_error(path, error) from error


def build_join_arguments(target: Target, begin: Fraction, destination: Path) -> list[str]:
    """The ffmpeg command, for the folder of the parts as working directory."""
    assert target.path is not None
    absolute = replace(target, source=None if target.source is None else target.source.absolute())
    words = ["-y", "-copyts", *orientation_args(target), *hdr10_args(target)]
    words += [*offset_args(begin + timestamp_offset(target)), "-f", "concat", "-i", f"file:{LIST_NAME}"]
    opened, mapped = stream_copy_args(absolute) if target.source is not None else ([], [])
    words += [*opened, "-map", "0:v:0", *mapped, "-c:v:0", "copy", *stream_codec_args(target)]
    words += ["-disposition:v:0", "default"] if target.copied_streams else []
    return [*words, *container_args(target), f"file:{destination.absolute()}"]
