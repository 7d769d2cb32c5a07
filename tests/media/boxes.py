"""Data that no encoder here writes, put into small MP4 files by hand."""

import struct
from pathlib import Path

from tests.clips import ClipMaker

CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")  # on the way to the first track's format


def box(name: bytes, *parts: bytes) -> bytes:
    """An MP4 box."""
    payload = b"".join(parts)
    return struct.pack(">I", 8 + len(payload)) + name + payload


def extended(path: Path, extra: bytes) -> Path:
    """An MP4 file, its index at the end, with boxes added to the description of its first track's format."""
    data = bytearray(path.read_bytes())
    places = []
    at = 0
    for name in CONTAINERS:
        at = data.index(name, at) - 4
        places.append(at)
    entry = at + 16  # after version, flags and the number of entries
    places.append(entry)
    end = entry + struct.unpack_from(">I", data, entry)[0]
    for place in places:
        struct.pack_into(">I", data, place, struct.unpack_from(">I", data, place)[0] + len(extra))
    data[end:end] = extra
    path.write_bytes(data)
    return path


def video(clip: ClipMaker, name: str, extra: bytes = b"") -> Path:
    """A short H.264 clip in MP4, with boxes."""
    return extended(clip(name, frames=3, codec="libx264", times=[0, 40, 80], options={"bf": "0"}), extra)


def spherical() -> bytes:
    """A whole equirectangular sphere (Google's Spherical Video V2)."""
    full = bytes(4)
    projection = box(b"proj", box(b"prhd", full, bytes(12)), box(b"equi", full, bytes(16)))
    return box(b"sv3d", box(b"svhd", full, b"test\0"), projection)


def stereo() -> bytes:
    """Left and right view side by side."""
    return box(b"st3d", bytes(4), b"\x02")


def dolby_vision(profile: int) -> bytes:
    """A configuration record: level 1, with RPUs, compatible with HDR10 where the profile is 8."""
    bits = profile << 9 | 1 << 3 | 1 << 2 | 1
    compatible = 1 << 4 if profile == 8 else 0
    return box(b"dvvC" if profile > 7 else b"dvcC", struct.pack(">BBHB", 1, 0, bits, compatible), bytes(19))


def captioned(path: Path, first: int = 0) -> Path:
    """The H.264 file in Annex B at `path` with a caption (CEA-608, `Hi`) before each picture from `first` on."""
    triples = bytes([0xFC, 0xC8, 0xE9])  # field one, H and i with odd parity
    captions = b"\xb5\x00\x31GA94\x03" + bytes([0x40 | 1, 0xFF]) + triples + b"\xff"
    message = b"\x00\x00\x00\x01\x06\x04" + bytes([len(captions)]) + captions + b"\x80"
    pieces = path.read_bytes().split(b"\x00\x00\x01")
    out, pictures = pieces[0], 0
    for piece in pieces[1:]:
        if piece[0] & 0x1F in (1, 5):  # slices, one a picture
            out += message if pictures >= first else b""
            pictures += 1
        out += b"\x00\x00\x01" + piece
    path.write_bytes(out)
    return path
