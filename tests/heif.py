"""HEIC and AVIF pictures made for tests, box by box (ISO 23008-12): tiles, turns, mirrors, crops, profiles, EXIF."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

CODECS = {"hevc": ("libx265", b"hvc1", b"hvcC"), "av1": ("libsvtav1", b"av01", b"av1C")}


def box(name: bytes, *parts: bytes) -> bytes:
    """A box of ISO 14496-12."""
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), name) + body


def full(name: bytes, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    """A box with version and flags."""
    return box(name, struct.pack(">I", version << 24 | flags), *parts)


@dataclass(frozen=True)
class Coded:
    """One encoded picture: its samples, the configuration box of its codec, and its size (width, height)."""

    data: bytes
    configuration: bytes
    kind: bytes
    size: tuple[int, int]
    bits: int


def encode(picture: np.ndarray, codec: str, pix_fmt: str) -> Coded:
    """[H, W, 3] uint8 as one key frame."""
    encoder, kind, configuration = CODECS[codec]
    height, width = picture.shape[:2]
    context = av.CodecContext.create(encoder, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = width, height, pix_fmt
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    context.flags |= 1 << 22  # headers apart from the picture
    quiet = {"x265-params": "log-level=none:lossless=1"} if codec == "hevc" else {"crf": "5", "svtav1-params": "avif=1"}
    context.options = quiet
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    frame = frame.reformat(format=pix_fmt, dst_colorspace=5, dst_color_range=2)  # BT.601, full range
    frame.pts = 0
    packets = [*context.encode(frame), *context.encode(None)]
    data = b"".join(bytes(packet) for packet in packets)
    extra = bytes(context.extradata or b"")
    bits = 10 if "10" in pix_fmt else 8
    if codec == "hevc":
        data, extra = length_prefixed(data), hevc_configuration(extra, bits)
    else:
        first = {8: 0x0C, 10: 0x4C}[bits]
        extra = bytes([0x81, 0x00, first, 0x00]) if len(extra) < 4 else extra
    return Coded(data, box(configuration, extra), kind, (width, height), bits)


def units(stream: bytes) -> list[bytes]:
    """NAL units between start codes."""
    parts = stream.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")
    return [part for part in parts if part]


def length_prefixed(stream: bytes) -> bytes:
    """Start codes replaced by lengths."""
    return b"".join(struct.pack(">I", len(unit)) + unit for unit in units(stream))


def hevc_configuration(extra: bytes, bits: int) -> bytes:
    """HEVCDecoderConfigurationRecord (ISO 14496-15) around VPS, SPS and PPS."""
    sets = [unit for unit in units(extra) if unit[0] >> 1 & 63 in (32, 33, 34)]
    head = bytes([1, 2 if bits > 8 else 1]) + bytes.fromhex("60000000900000000000") + bytes([30])
    head += bytes([0xF0, 0x00, 0xFC, 0xFD, 0xF8 | bits - 8, 0xF8 | bits - 8, 0, 0, 0x0F, len(sets)])
    arrays = [bytes([0x80 | unit[0] >> 1 & 63, 0, 1]) + struct.pack(">H", len(unit)) + unit for unit in sets]
    return head + b"".join(arrays)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What is written: tiles in reading order, `columns` of them side by side; one tile is no grid.

    `size` of the whole; `turns` quarters to the left (irot), `mirror` the axis of imir, `crop` to a size
    from the middle (clap); `others` are pictures of their own beside it.
    """

    tiles: Sequence[Coded]
    columns: int = 1
    size: tuple[int, int] = (0, 0)
    turns: int = 0
    mirror: int | None = None
    crop: tuple[int, int] | None = None
    thumbnail: Coded | None = None
    others: Sequence[Coded] = ()
    icc: bytes = b""
    exif: bytes = b""
    brand: bytes = b"heic"


def write(path: Path, picture: Picture) -> Path:
    """A file of one picture."""
    grid = len(picture.tiles) > 1
    rows = -(-len(picture.tiles) // picture.columns)
    size = picture.size if grid else picture.tiles[0].size
    items: list[tuple[int, bytes, bytes]] = []
    if grid:
        items.append((1, b"grid", struct.pack(">4B2H", 0, 0, rows - 1, picture.columns - 1, *size)))
    first = 2 if grid else 1
    items += [(first + n, tile.kind, tile.data) for n, tile in enumerate(picture.tiles)]
    references = []
    if grid:
        numbers = [number for number, _, _ in items[1:]]
        references.append(box(b"dimg", struct.pack(f">2H{len(numbers)}H", 1, len(numbers), *numbers)))
    items += [(60 + n, other.kind, other.data) for n, other in enumerate(picture.others)]
    if picture.thumbnail is not None:
        items.append((80, picture.thumbnail.kind, picture.thumbnail.data))
        references.append(box(b"thmb", struct.pack(">3H", 80, 1, 1)))
    if picture.exif:
        items.append((90, b"Exif", struct.pack(">I", 0) + picture.exif))
        references.append(box(b"cdsc", struct.pack(">3H", 90, 1, 1)))
    shared, associations = properties(picture, size, grid, first)
    body = b"".join(data for _, _, data in items)
    meta = meta_box(items, references, shared, associations, 0)
    brands = picture.brand + bytes(4) + b"mif1" + picture.brand + b"miaf"
    start = len(box(b"ftyp", brands)) + len(meta) + 8
    meta = meta_box(items, references, shared, associations, start)
    path.write_bytes(box(b"ftyp", brands) + meta + box(b"mdat", body))
    return path


def properties(
    picture: Picture, size: tuple[int, int], grid: bool, first: int
) -> tuple[list[bytes], dict[int, list[int]]]:
    """Property boxes, and which of them (counted from 1) belong to which item."""
    tile = picture.tiles[0]
    found = [full(b"ispe", struct.pack(">2I", *size)), full(b"ispe", struct.pack(">2I", *tile.size))]
    found += [tile.configuration, full(b"pixi", bytes([3, tile.bits, tile.bits, tile.bits]))]
    found.append(box(b"colr", b"nclx", struct.pack(">3HB", 1, 13, 6, 0x80)))
    whole = [1, 4, 5]
    if picture.icc:
        found.append(box(b"colr", b"prof", picture.icc))
        whole.append(len(found))
    if picture.crop:
        found.append(box(b"clap", struct.pack(">8I", picture.crop[0], 1, picture.crop[1], 1, 0, 1, 0, 1)))
        whole.append(0x80 | len(found))
    if picture.turns:
        found.append(box(b"irot", bytes([picture.turns])))
        whole.append(0x80 | len(found))
    if picture.mirror is not None:
        found.append(box(b"imir", bytes([picture.mirror])))
        whole.append(0x80 | len(found))
    owned = {1: whole if grid else [0x80 | 3, *whole]}
    if grid:
        owned |= {first + n: [2, 0x80 | 3, 4, 5] for n in range(len(picture.tiles))}
    owned |= {60 + n: [0x80 | 3, *whole] for n in range(len(picture.others))}
    if picture.thumbnail is not None:
        found += [full(b"ispe", struct.pack(">2I", *picture.thumbnail.size)), picture.thumbnail.configuration]
        owned[80] = [len(found) - 1, 0x80 | len(found), 4, 5]
    return found, owned


def meta_box(
    items: list[tuple[int, bytes, bytes]],
    references: list[bytes],
    shared: list[bytes],
    associations: dict[int, list[int]],
    start: int,
) -> bytes:
    """`meta`, with the items' data beginning at `start` of the file."""
    places = b""
    for number, _, data in items:
        places += struct.pack(">3H2I", number, 0, 1, start, len(data))
        start += len(data)
    infos = [full(b"infe", struct.pack(">2H4s", number, 0, kind), b"\0", version=2) for number, kind, _ in items]
    ipma = struct.pack(">I", len(associations))
    for number, indices in associations.items():
        ipma += struct.pack(">HB", number, len(indices)) + bytes(indices)
    return full(
        b"meta",
        full(b"hdlr", bytes(4) + b"pict" + bytes(13)),
        full(b"pitm", struct.pack(">H", 1)),
        full(b"iloc", b"\x44\x00", struct.pack(">H", len(items)), places),
        full(b"iinf", struct.pack(">H", len(items)), *infos),
        *([full(b"iref", *references)] if references else []),
        box(b"iprp", box(b"ipco", *shared), full(b"ipma", ipma)),
    )
