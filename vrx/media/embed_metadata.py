"""Metadata writer for pictures: adds color profile, EXIF, XMP and resolution to an encoded file."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, TiffImagePlugin, TiffTags

from vrx.errors import OutputError
from vrx.media.animations import PNG_SIGNATURE
from vrx.media.dpx import embed_dpx_metadata, read_dpx_metadata
from vrx.media.picture_metadata import (
    DESCRIPTIVE_TAGS,
    EXIF_DIRECTORY,
    EXIF_HEADER,
    GPS_DIRECTORY,
    IPTC_RECORD,
    METERS_PER_INCH,
    PictureMetadata,
    fit_metadata,
    iter_png_chunks,
    read_metadata,
)

COLOR_CHUNKS = {b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP"}  # replaced by the profile
ICC_PIECE = 65533 - 14  # bytes of a profile in one JPEG segment, after its name and number
XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
WEBP_FLAGS = {b"ICCP": 0x20, b"ALPH": 0x10, b"EXIF": 0x08, b"XMP ": 0x04}
ICC_TAG, XMP_TAG, RESOLUTION_TAGS, UNIT_TAG, INCHES = 34675, 700, (282, 283), 296, 2


def embed_metadata(path: Path, metadata: PictureMetadata, size: tuple[int, int]) -> None:
    """Add the metadata that the file type supports; `size` (width, height) of the picture.  Raises OSError."""
    if not metadata.names():
        return
    suffix = path.suffix.lower()
    if suffix in (".tif", ".tiff"):
        path.write_bytes(add_to_tiff(path, metadata))
        return
    data = path.read_bytes()
    if suffix == ".png":
        path.write_bytes(add_to_png(data, metadata))
    elif suffix in (".jpg", ".jpeg"):
        path.write_bytes(add_to_jpeg(data, metadata))
    elif suffix == ".webp":
        path.write_bytes(add_to_webp(data, metadata, size))


def embed_source_metadata(files: Sequence[Path], sources: Sequence[Path], size: tuple[int, int], gray: bool) -> None:
    """Add the metadata of each source to its file, adapted to `size` (width, height).  Raises OutputError."""
    for file, source in zip(files, sources, strict=False):
        suffix = file.suffix.lower()
        metadata, _ = fit_metadata(read_metadata(source), suffix, size, gray)
        header = read_dpx_metadata(source) if suffix == ".dpx" else None
        try:
            embed_metadata(file, metadata, size)
            if header is not None:
                embed_dpx_metadata(file, header)
        except OSError as error:
            raise OutputError(f"cannot write {file.name}: {error.strerror}") from error


def add_to_png(data: bytes, metadata: PictureMetadata) -> bytes:
    """A PNG file with the metadata after its header."""
    added: list[tuple[bytes, bytes]] = []
    replaced: set[bytes] = set()
    if metadata.icc:
        added.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
        replaced |= COLOR_CHUNKS
    if metadata.resolution:
        across, down = (round(value / METERS_PER_INCH) for value in metadata.resolution)
        added.append((b"pHYs", struct.pack(">2IB", across, down, 1)))
        replaced.add(b"pHYs")
    if metadata.exif:
        added.append((b"eXIf", metadata.exif))
    if metadata.xmp:
        added.append((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp))
    added += metadata.texts
    parts = [PNG_SIGNATURE]
    for name, content in iter_png_chunks(data):
        if name not in replaced:
            parts.append(pack_png_chunk(name, content))
        if name == b"IHDR":
            parts += [pack_png_chunk(*chunk) for chunk in added]
    return b"".join(parts)


def pack_png_chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def add_to_jpeg(data: bytes, metadata: PictureMetadata) -> bytes:
    """A JPEG file with the metadata before its tables."""
    head, rest = data[:2], data[2:]
    if rest[:2] == b"\xff\xe0":  # JFIF
        size = 2 + int.from_bytes(rest[2:4], "big")
        first, rest = bytearray(rest[:size]), rest[size:]
        if metadata.resolution and first[4:9] == b"JFIF\0":
            struct.pack_into(">B2H", first, 11, 1, *(min(65535, round(value)) for value in metadata.resolution))
        head += bytes(first)
    if metadata.exif:
        head += pack_jpeg_segment(0xE1, EXIF_HEADER + metadata.exif)
    if metadata.xmp:
        head += pack_jpeg_segment(0xE1, XMP_HEADER + metadata.xmp)
    if metadata.iptc:
        record = struct.pack(">4sHHI", b"8BIM", IPTC_RECORD, 0, len(metadata.iptc)) + metadata.iptc
        head += pack_jpeg_segment(0xED, b"Photoshop 3.0\0" + record + b"\0" * (len(record) % 2))
    pieces = [metadata.icc[place : place + ICC_PIECE] for place in range(0, len(metadata.icc), ICC_PIECE)]
    for number, piece in enumerate(pieces, start=1):
        head += pack_jpeg_segment(0xE2, b"ICC_PROFILE\0" + bytes([number, len(pieces)]) + piece)
    return head + rest


def pack_jpeg_segment(marker: int, content: bytes) -> bytes:
    """A segment of a JPEG file."""
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def add_to_webp(data: bytes, metadata: PictureMetadata, size: tuple[int, int]) -> bytes:
    """A WebP file in its extended form with the metadata."""
    old = [(name, content) for name, content in iter_webp_chunks(data) if name not in (b"ICCP", b"EXIF", b"XMP ")]
    flags = next((content[0] for name, content in old if name == b"VP8X"), 0)
    chunks = [(b"ICCP", metadata.icc)] if metadata.icc else []
    chunks += [(name, content) for name, content in old if name != b"VP8X"]
    chunks += [(b"EXIF", metadata.exif)] if metadata.exif else []
    chunks += [(b"XMP ", metadata.xmp)] if metadata.xmp else []
    for name, content in chunks:
        flags |= WEBP_FLAGS.get(name, 0)
        if name == b"VP8L" and content[4] & 0x10:  # the lossless format has an alpha flag of its own
            flags |= WEBP_FLAGS[b"ALPH"]
    canvas = bytes([flags, 0, 0, 0]) + b"".join(struct.pack("<I", side - 1)[:3] for side in size)
    body = b"WEBP" + b"".join(pack_webp_chunk(*chunk) for chunk in [(b"VP8X", canvas), *chunks])
    return b"RIFF" + struct.pack("<I", len(body)) + body


def iter_webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of a WebP file's chunks."""
    offset = 12
    while offset + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, offset)
        yield name, data[offset + 8 : offset + 8 + size]
        offset += 8 + size + size % 2


def pack_webp_chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a WebP file."""
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def add_to_tiff(path: Path, metadata: PictureMetadata) -> bytes:
    """A TIFF file with a new first directory that includes the metadata."""
    data = path.read_bytes()
    with Image.open(path, formats=("TIFF",)) as image:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        old = image.tag_v2
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
        for tag, value in old.items():
            tags.tagtype[tag] = old.tagtype[tag]
            tags[tag] = value
    if metadata.icc:
        tags.tagtype[ICC_TAG], tags[ICC_TAG] = TiffTags.UNDEFINED, metadata.icc
    if metadata.xmp:
        tags.tagtype[XMP_TAG], tags[XMP_TAG] = TiffTags.BYTE, metadata.xmp
    if metadata.resolution:
        for tag, value in zip(RESOLUTION_TAGS, metadata.resolution, strict=True):
            tags[tag] = value
        tags[UNIT_TAG] = INCHES
    if metadata.exif:
        exif = Image.Exif()
        exif.load(EXIF_HEADER + metadata.exif)
        for tag in DESCRIPTIVE_TAGS:
            if tag in exif:
                tags[tag] = exif.get_ifd(tag) if tag in (EXIF_DIRECTORY, GPS_DIRECTORY) else exif[tag]
    order = "<I" if data[:2] == b"II" else ">I"
    # Pillow offsets the strips by the size of what it writes: the old file follows unchanged
    return data[:4] + struct.pack(order, 8) + tags.tobytes(8) + data
