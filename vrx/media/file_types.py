"""File types by name: pictures, image sequences and videos, and the demuxer options they need."""

from __future__ import annotations

import os
import re
from pathlib import Path

from vrx.errors import UsageError
from vrx.media.animations import HEIF_SUFFIXES, is_animation

STILL_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".jxl", ".exr", ".dpx"}
HEIF_CONTAINERS = HEIF_SUFFIXES  # stills in a container of their own, which opens like a video
STILL_SUFFIXES |= HEIF_CONTAINERS
VIDEO_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts"}
VIDEO_SUFFIXES |= {".wmv", ".flv", ".vob", ".ogv", ".3gp", ".nut", ".y4m", ".mxf", ".gif", ".apng"}
VIDEO_SUFFIXES |= {".3g2", ".asf", ".divx", ".dv", ".f4v", ".m1v", ".m2p", ".m2t", ".m2v", ".mjpeg", ".mjpg"}
VIDEO_SUFFIXES |= {".mk3d", ".mod", ".mpe", ".mpv", ".ogm", ".qt", ".rm", ".rmvb", ".tod", ".trp", ".vro", ".wtv"}
VIDEO_SUFFIXES |= {".264", ".265", ".amv", ".av1", ".gxf", ".h264", ".h265", ".hevc", ".ivf", ".obu", ".xvid"}
PATTERN = re.compile(r"%0?\d*d")
LAST_NUMBER = re.compile(r"\d+(?=\D*$)")
SEQUENCE_RATE = 24  # frames a second of a numbered sequence, which has no time of its own, unless one is given


SIGNATURES = (  # first bytes of picture files
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"BM", ".bmp"),
    (b"SDPX", ".dpx"),
    (b"XPDS", ".dpx"),
    (b"\xff\x0a", ".jxl"),
    (b"\0\0\0\x0cJXL ", ".jxl"),
)
ALIASES = {".jpeg": ".jpg", ".tiff": ".tif", ".heif": ".heic", ".hif": ".heic"}
BRANDS = {b"avif": ".avif", b"avis": ".avif"} | dict.fromkeys((b"heic", b"heix", b"mif1", b"msf1", b"heim"), ".heic")


def detect_suffix(head: bytes) -> str:
    """The suffix of the picture that a file's first 16 bytes begin, empty where they begin none."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return ".webp"
    if head[4:8] == b"ftyp":
        return BRANDS.get(head[8:12], "")
    return next((suffix for mark, suffix in SIGNATURES if head.startswith(mark)), "")


def is_pattern(path: Path) -> bool:
    """Whether a name is a picture sequence such as `f_%05d.png` and no file of that very name."""
    suffix = path.suffix.lower()
    return bool(PATTERN.search(path.name)) and suffix in STILL_SUFFIXES - HEIF_CONTAINERS and not path.exists()


def check_numbered(name: str, path: Path) -> None:
    """Refuse a frame rate for what is not numbered pictures; `name` is what messages call it.  Raises UsageError."""
    if is_pattern(path):
        return
    kind, hint = "a video", "Remove it: a video's times stay as they are"
    if is_still(path):
        kind, hint = "a picture", f"Name numbered pictures by their pattern: {pattern_of(path) or 'f_%05d.png'}"
    raise UsageError(f"--fps is for numbered pictures, and {name} is {kind}", hint)


def pattern_of(path: Path) -> Path | None:
    """The pattern that a numbered picture is one of, by the last number in its name; None for another file."""
    match = LAST_NUMBER.search(path.stem)
    if match is None or not is_still(path):
        return None
    digits = f"%0{len(match[0])}d" if match[0].startswith("0") else "%d"
    return path.with_name(f"{path.stem[: match.start()]}{digits}{path.stem[match.end() :]}{path.suffix}")


def sequence_stem(pattern: Path) -> str:
    """A name for all pictures of a pattern: its stem without the number, `shot` of `shot_%04d.png`.

    Where the number comes first, the folder's name takes its place: `frames.x2` of `frames/%04d.x2.png`.
    """
    stem = re.sub(rf"[._-]*{PATTERN.pattern}", "", pattern.stem, count=1)
    if stem and not stem.startswith("."):
        return stem
    return (os.path.basename(os.path.abspath(pattern.parent)) or "frames") + stem  # noqa: PTH100, PTH119 - of links, too


def is_still(path: Path) -> bool:
    """Whether a name is one picture or a sequence of them; animations are not."""
    return path.suffix.lower() in STILL_SUFFIXES and not is_animation(path)


def is_media(path: Path) -> bool:
    """Whether a name looks like something vrx restores."""
    return path.suffix.lower() in STILL_SUFFIXES | VIDEO_SUFFIXES


def list_numbered(path: Path) -> list[tuple[int, Path]]:
    """The files of a numbered sequence with their numbers, in order."""
    head, tail = PATTERN.split(path.name, maxsplit=1)
    number = re.compile(re.escape(head) + r"(\d+)" + re.escape(tail) + "$")
    found = []
    if path.parent.is_dir():
        for member in path.parent.iterdir():
            match = number.match(member.name)
            if match:
                found.append((int(match.group(1)), member))
    return sorted(found)


def sequence_members(path: Path) -> list[Path]:
    """The files of a numbered sequence, in the order of their numbers."""
    return [member for _, member in list_numbered(path)]


def sequence_numbers(path: Path) -> list[int]:
    """The numbers of a numbered sequence, in order."""
    return [number for number, _ in list_numbered(path)]


def demuxer_options(path: Path) -> tuple[str | None, dict[str, str]]:
    """Format and options with which a local name must be opened."""
    if is_still(path) and path.suffix.lower() not in HEIF_CONTAINERS:
        return "image2", {"framerate": str(SEQUENCE_RATE), "pattern_type": "none"}
    return None, {}
