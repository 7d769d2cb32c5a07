"""Animated pictures: PNG, WebP and AVIF files with several frames, recognized by their headers."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from vrx.media.heif import read_heif

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_SUFFIXES = {".png", ".apng"}
HEIF_SUFFIXES = {".avif", ".heic", ".heif", ".hif"}
WEBP_ANIMATION_FLAG = 2  # bit of the VP8X chunk's first byte


def is_animation(path: Path) -> bool:
    """Whether a picture file is an animation; False for pipes, which are not read."""
    if not path.is_file():
        return False
    if path.suffix.lower() in HEIF_SUFFIXES:
        heif = read_heif(path)
        return heif is not None and heif.is_animation
    return count_animation_frames(path) > 1


def count_animation_frames(path: Path) -> int:
    """Frames of an animated PNG or WebP file, 0 for any other file."""
    suffix = path.suffix.lower()
    try:
        return (
            count_apng_frames(path) if suffix in PNG_SUFFIXES else count_webp_frames(path) if suffix == ".webp" else 0
        )
    except (OSError, struct.error):
        return 0


def count_apng_frames(path: Path) -> int:
    """Frame count of the `acTL` chunk, which precedes the image data; 0 without one."""
    with path.open("rb") as file:
        if file.read(8) != PNG_SIGNATURE:
            return 0
        while len(head := file.read(8)) == 8:
            size, name = struct.unpack(">I4s", head)
            if name == b"acTL":
                return int(struct.unpack(">I", file.read(4))[0])
            if name == b"IDAT":
                return 0
            file.seek(size + 4, 1)
    return 0


def count_webp_frames(path: Path) -> int:
    """Number of `ANMF` chunks of a file flagged as an animation; 0 for others."""
    chunks = iter_riff_chunks(path)
    first = next(chunks, None)
    if first is None or first[0] != b"VP8X" or not first[1][:1] or not first[1][0] & WEBP_ANIMATION_FLAG:
        return 0
    return sum(name == b"ANMF" for name, _ in chunks)


def iter_riff_chunks(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Names of a WebP file's chunks with their first 16 bytes."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WEBP":
            return
        while len(chunk := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", chunk)
            begin = file.read(min(16, size))
            yield name, begin
            file.seek(size + size % 2 - len(begin), 1)
