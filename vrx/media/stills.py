"""Names of pictures, picture sequences and videos, and how their demuxer must be asked for them."""

from __future__ import annotations

import re
from pathlib import Path

STILL_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".jxl", ".exr"}
CONTAINED = {".avif"}  # stills in a container of their own, which opens like a video
STILL_SUFFIXES |= CONTAINED
VIDEO_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts"}
VIDEO_SUFFIXES |= {".wmv", ".flv", ".vob", ".ogv", ".3gp", ".nut", ".y4m", ".mxf", ".gif"}
PATTERN = re.compile(r"%0?\d*d")
SEQUENCE_RATE = 24  # frames a second of a numbered sequence, which has no time of its own


def is_pattern(path: Path) -> bool:
    """Whether a name is a picture sequence such as `f_%05d.png` and no file of that very name."""
    suffix = path.suffix.lower()
    return bool(PATTERN.search(path.name)) and suffix in STILL_SUFFIXES - CONTAINED and not path.exists()


def is_still(path: Path) -> bool:
    """Whether a name is one picture or a sequence of them."""
    return path.suffix.lower() in STILL_SUFFIXES


def is_media(path: Path) -> bool:
    """Whether a name looks like something vrx restores."""
    return path.suffix.lower() in STILL_SUFFIXES | VIDEO_SUFFIXES


def sequence_members(path: Path) -> list[Path]:
    """The files of a numbered sequence, in the order of their numbers."""
    head, tail = PATTERN.split(path.name, maxsplit=1)
    number = re.compile(re.escape(head) + r"(\d+)" + re.escape(tail) + "$")
    found = []
    if path.parent.is_dir():
        for member in path.parent.iterdir():
            match = number.match(member.name)
            if match:
                found.append((int(match.group(1)), member))
    return [member for _, member in sorted(found)]


def still_options(path: Path) -> tuple[str | None, dict[str, str]]:
    """Format and options with which a local name must be opened."""
    if is_still(path) and path.suffix.lower() not in CONTAINED:
        return "image2", {"framerate": str(SEQUENCE_RATE), "pattern_type": "none"}
    return None, {}
