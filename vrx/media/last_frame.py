"""Duration of the last frame: set by a remux, as encoders guess it from the frames before."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import av
import av.error

from vrx.errors import OutputError
from vrx.media.ffmpeg import FFmpegProcess
from vrx.media.partial_files import partial_path

DURATION_CONTAINERS = {"mp4", "mov", "matroska", "webm"}  # containers that store frame durations
TOLERANCE = Fraction(1, 100)  # seconds the end may be off
UNMAPPABLE_CODECS = {"", "bin_data"}  # streams that ffmpeg makes itself, such as the text track of chapters


def set_last_duration(path: Path, container: str, words: list[str], end: Fraction) -> None:
    """Extend or shorten the last frame of a finished file to end at `end` seconds.

    `words` are the ffmpeg arguments for the container.  Raises OutputError where the file cannot be written.
    """
    if container not in DURATION_CONTAINERS:
        return
    try:
        with av.open(f"file:{path}") as box:
            streams = [
                s for s in box.streams if s.codec_context is None or s.codec_context.name not in UNMAPPABLE_CODECS
            ]
            mapped = [word for stream in streams for word in ("-map", f"0:{stream.index}")]
            video = box.streams.video[0]
            tag = video.metadata.get("DURATION", "")
            shown = [
                (p.pts * p.time_base, (p.duration or 0) * p.time_base) for p in box.demux(video) if p.pts is not None
            ]
    except (av.error.FFmpegError, OSError, IndexError):
        return  # an unreadable file fails the frame count
    last = max(shown)[0] if shown else end
    now = parse_duration_tag(tag) or max((time + duration for time, duration in shown), default=end)
    if end <= last or abs(now - end) <= TOLERANCE:
        return
    until = f"floor({float(end):.6f}/TB-PTS+0.5)"
    where = f"gte(PTS*TB,{float(last - TOLERANCE / 10):.6f})+gte(N,{len(shown) - 1})"
    remuxed = partial_path(path)
    encoder = FFmpegProcess(
        [
            *("-y", "-copyts", "-i", f"file:{path}", *mapped, "-c", "copy"),
            *("-bsf:v:0", f"setts=pts=PTS:dts=DTS:duration='if({where},{until},DURATION)'", *words, f"file:{remuxed}"),
        ]
    )
    try:
        encoder.finish()
        remuxed.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}") from error
    finally:
        remuxed.unlink(missing_ok=True)


def parse_duration_tag(tag: str) -> Fraction | None:
    """A Matroska duration such as 00:00:03.400000000, or None."""
    found = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", tag)
    return None if found is None else int(found[1]) * 3600 + int(found[2]) * 60 + Fraction(found[3])
