"""Pictures made for tests: profiles, EXIF data, transparency and animations."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np


def png_chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_bytes(pixels: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """[H, W, C] or [H, W] uint8 or uint16 as a PNG file, with further chunks before the samples."""
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    depth = 8 * pixels.dtype.itemsize
    header = struct.pack(">2I5B", pixels.shape[1], pixels.shape[0], depth, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(pixels.shape[0], -1)
    samples = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", samples), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(name, data) for name, data in parts)


def profile(space: bytes = b"RGB ", size: int = 600) -> bytes:
    """The frame of an ICC profile for a color space; its contents mean nothing."""
    head = struct.pack(">I4s4s4s4s4s", size, b"test", b"\x04\x30\0\0", b"mntr", space, b"XYZ ")
    head = head.ljust(36, b"\0") + b"acsp"
    return head.ljust(128, b"\0") + struct.pack(">I", 0) + bytes((7 * i) % 251 for i in range(size - 132))


def png_with_profile(path: Path, pixels: np.ndarray, icc: bytes = profile()) -> Path:
    """A PNG with a color profile."""
    path.write_bytes(png_bytes(pixels, (b"iCCP", b"test\0\0" + zlib.compress(icc))))
    return path
