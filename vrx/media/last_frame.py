"""How long the last picture of a result is shown: no encoder is told, and each guesses from those before it."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import av
import av.error

from vrx.errors import OutputError
from vrx.media.ffmpeg import FFmpegProcess
from vrx.media.partial_files import partial_path

DURATION_CONTAINERS = {"mp4", "mov", "matroska", "webm"}  # containers that hold how long a picture is shown
TOLERANCE = Fraction(1, 100)  # seconds by which a guess may be wrong
UNMAPPABLE_CODECS = {"", "bin_data"}  # streams that ffmpeg makes itself, such as the text track of chapters


def set_last_duration(path: Path, container: str, words: list[str], end: Fraction) -> None:
    """Let the last picture of a finished file be shown until `end` seconds, if it is not already.

    `words` are those that ffmpeg needs for the container.  Raises OutputError where the file cannot be written.
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
        return  # what cannot be read is found when frames are counted
    last = max(shown)[0] if shown else end
    now = parse_duration_tag(tag) or max((time + duration for time, duration in shown), default=end)
    if end <= last or abs(now - end) <= TOLERANCE:
        return
    until = f"floor({float(end):.6f}/TB-PTS+0.5)"
    where = f"gte(PTS*TB,{float(last - TOLERANCE / 10):.6f})+gte(N,{len(shown) - 1})"
    held = partial_path(path)
    encoder = FFmpegProcess(
        [
            *("-y", "-copyts", "-i", f"file:{path}", *mapped, "-c", "copy"),
            *("-bsf:v:0", f"setts=pts=PTS:dts=DTS:duration='if({where},{until},DURATION)'", *words, f"file:{held}"),
        ]
    )
    try:
        encoder.finish()
        held.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}") from error
    finally:
        held.unlink(missing_ok=True)


def parse_duration_tag(tag: str) -> Fraction | None:
    """A Matroska duration such as 00:00:03.400000000, or None."""
    found = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", tag)
    return None if found is None else int(found[1]) * 3600 + int(found[2]) * 60 + Fraction(found[3])
