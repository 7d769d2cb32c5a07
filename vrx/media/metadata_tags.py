"""Metadata tags: which of the source a container stores, and which would be wrong in the result."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import av
import av.error

from vrx.errors import OutputError
from vrx.media.ffmpeg import FFmpegProcess
from vrx.media.probe import SourceInfo
from vrx.temporary import spare_folder

STATISTICS = re.compile(r"(BPS|DURATION|NUMBER_OF_FRAMES|NUMBER_OF_BYTES|_STATISTICS_\w+)(-\w+)?", re.IGNORECASE)
FILE_TAGS = {  # about the source file and its writer; the muxer of the result writes its own
    *("major_brand", "minor_version", "compatible_brands", "encoder", "software"),
    *("operational_pattern_ul", "uid", "generation_uid", "material_package_umid", "application_platform"),  # of MXF
    *("company_name", "product_name", "product_version", "product_version_num", "product_uid", "toolkit_version_num"),
}
TIME_CODE = "timecode"
KEYED_CONTAINERS = {"mp4", "mov"}  # containers with a second way of writing tags, by key, which takes all
KEYED_FLAG = "+use_metadata_tags"
TRIAL_ENCODERS = {"webm": "libvpx-vp9", "mpegts": "mpeg2video"}  # else MPEG-4, which the others take


@dataclass(frozen=True, kw_only=True)
class TagOptions:
    """How to write the source's tags: ffmpeg options, and a flag for the MP4 muxer."""

    words: tuple[str, ...] = ()
    movflag: str = ""


@dataclass(frozen=True)
class TrialTags:
    """Tags of a trial file: lowercase names, and values."""

    names: frozenset[str]
    values: frozenset[str]


def find_statistics(tags: Iterable[str]) -> list[str]:
    """Names of statistics tags about the encoded source: bit rate, sizes, durations (by mkvmerge)."""
    return [name for name in tags if STATISTICS.fullmatch(name)]


def delete_args(place: str, names: Iterable[str]) -> tuple[str, ...]:
    """ffmpeg options that delete tags; `place` is `:s:N` for a stream, or empty for the file."""
    return tuple(word for name in names for word in (f"-metadata{place}", f"{name}="))


def try_tags(source: Path, container: str, movflag: str = "") -> TrialTags | None:
    """The file's tags that a container keeps, from muxing a single frame.

    None where the trial fails.
    """
    words = ["-y", "-i", f"file:{source}", "-f", "lavfi", "-i", "color=size=64x64:rate=25:duration=0.04"]
    words += ["-map", "1:v", "-map_metadata", "0", "-map_chapters", "-1", "-frames:v", "1"]
    words += ["-c:v", TRIAL_ENCODERS.get(container, "mpeg4"), *(["-movflags", movflag] if movflag else [])]
    with spare_folder() as folder:
        if folder is None:
            return None
        trial = folder / "trial"
        try:
            FFmpegProcess([*words, "-f", container, f"file:{trial}"]).finish()
            with av.open(f"file:{trial}", metadata_errors="replace") as box:
                names = {name.lower() for name in box.metadata}
                names |= {TIME_CODE for stream in box.streams if TIME_CODE in stream.metadata}  # a track of its own
                return TrialTags(frozenset(names), frozenset(box.metadata.values()))
        except (OutputError, av.error.FFmpegError, OSError, ValueError):
            return None


def find_lost_tags(info: SourceInfo, survived: TrialTags) -> list[str]:
    """Names of the file's tags that a trial file has neither by name nor by value."""
    return [
        name
        for name, value in info.metadata.items()
        if value.strip() and name.lower() not in FILE_TAGS | survived.names and value not in survived.values
    ]
