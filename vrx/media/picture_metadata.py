"""Picture metadata: color profile, EXIF, XMP, IPTC and resolution of picture files.

Read from the source and adapted to the result: upright pixels, another size, no thumbnail.
"""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from vrx.media.animations import HEIF_SUFFIXES, PNG_SIGNATURE
from vrx.media.heif import read_heif

EXIF_HEADER = b"Exif\0\0"
FORMATS = ("JPEG", "WEBP", "TIFF", "BMP")  # that Pillow reads here; PNG may keep its EXIF data behind the samples
DAMAGED = (ValueError, struct.error, zlib.error, SyntaxError, KeyError, EOFError)  # what Pillow and ours raise for it
UNREADABLE = (OSError, Image.DecompressionBombError, *DAMAGED)
MULTI_PICTURE_SUFFIXES = {".tif", ".tiff", ".jpg", ".jpeg"}  # a JPEG may hold a gain map or depth map, too
TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
IPTC_RECORD = 0x0404  # its number among Photoshop's resources
MAX_PART_BYTES = 16 << 20  # of one item
MAX_SEGMENT_BYTES = 65533 - 64  # bytes that a segment holds besides the word that names them
EXIF_DIRECTORY, GPS_DIRECTORY = 0x8769, 0x8825  # EXIF's own directory, and that of the place
DESCRIPTIVE_TAGS = (
    0x010E,
    0x010F,
    0x0110,
    0x0131,
    0x0132,
    0x013B,
    0x013C,
    0x8298,
    EXIF_DIRECTORY,
    GPS_DIRECTORY,
)  # of a TIFF's tags
ORIENTATION, UPRIGHT = 0x0112, 1
WIDTHS, HEIGHTS = (0x0100, 0xA002), (0x0101, 0xA003)
METERS_PER_INCH = 0.0254  # meters


@dataclass(frozen=True)
class PictureMetadata:
    """Parts are empty where a file has none.

    `exif` is a TIFF structure without the word Exif before it; `resolution` in pixels an inch, across and down;
    `iptc` is a newspaper's record in a JPEG file; `texts` are a PNG file's chunks of words, by name.
    """

    icc: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    resolution: tuple[float, float] | None = None
    iptc: bytes = b""
    texts: tuple[tuple[bytes, bytes], ...] = ()

    def names(self) -> list[str]:
        """Names of the items that are present."""
        found = [(self.icc, "color profile"), (self.exif, "EXIF data"), (self.xmp, "XMP data")]
        more = [(self.resolution, "resolution"), (self.iptc, "IPTC data"), (self.texts, "text")]
        return [word for part, word in (*found, *more) if part]


def read_metadata(path: Path) -> PictureMetadata:
    """Metadata of a picture file; empty where it cannot be read."""
    suffix = path.suffix.lower()
    try:
        if suffix in HEIF_SUFFIXES:
            return read_heif_metadata(path)
        with path.open("rb") as file:
            png = file.read(8) == PNG_SIGNATURE
        if png:
            return read_png_metadata(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about sizes and damage, which the decoder judges
            with Image.open(path, formats=FORMATS) as image:
                return read_pillow_metadata(image)
    except UNREADABLE:
        return PictureMetadata()


def count_pictures(path: Path) -> int:
    """Number of pictures in a file, such as TIFF pages."""
    suffix = path.suffix.lower()
    if suffix in HEIF_SUFFIXES:
        heif = read_heif(path)
        return 1 if heif is None else heif.count
    if suffix not in MULTI_PICTURE_SUFFIXES:
        return 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                return int(getattr(image, "n_frames", 1))
    except UNREADABLE:
        return 1


def read_heif_metadata(path: Path) -> PictureMetadata:
    """Metadata of a HEIC or AVIF file."""
    heif = read_heif(path)
    if heif is None:
        return PictureMetadata()
    exif = b""
    if place := heif.exif_location():
        with path.open("rb") as file:
            file.seek(place[0])
            data = file.read(min(place[1], MAX_PART_BYTES))
        exif = data[4 + int.from_bytes(data[:4], "big") :].removeprefix(EXIF_HEADER)
    return PictureMetadata(heif.profile(), exif)


def iter_png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of a PNG file's chunks."""
    offset = len(PNG_SIGNATURE)
    while offset + 12 <= len(data):
        size, name = struct.unpack_from(">I4s", data, offset)
        yield name, data[offset + 8 : offset + 8 + size]
        offset += 12 + size


def read_png_metadata(path: Path) -> PictureMetadata:
    """Metadata of a PNG file."""
    found = PictureMetadata()
    for name, content in iter_png_chunks(path.read_bytes()):
        if name == b"iCCP":
            packed = content[content.index(b"\0") + 2 :]
            found = replace(found, icc=zlib.decompressobj().decompress(packed, MAX_PART_BYTES))
        elif name == b"eXIf":
            found = replace(found, exif=content.removeprefix(EXIF_HEADER))
        elif name == b"pHYs" and content[8:] == b"\1":
            across, down = struct.unpack_from(">2I", content)
            found = replace(found, resolution=(across * METERS_PER_INCH, down * METERS_PER_INCH))
        elif name == b"iTXt" and content.startswith(b"XML:com.adobe.xmp\0\0"):
            found = replace(found, xmp=content.split(b"\0", 5)[5])
        elif name in TEXT_CHUNKS and not content.startswith(
            b"Raw profile type"
        ):  # EXIF data and profiles of old programs
            found = replace(found, texts=(*found.texts, (name, content)))
    return found


def read_pillow_metadata(image: Image.Image) -> PictureMetadata:
    """Metadata of a file opened with Pillow."""
    info = image.info
    exif = info.get("exif", b"").removeprefix(EXIF_HEADER)
    if image.format == "TIFF":
        exif = tiff_tags_as_exif(image)
    resolution = info.get("dpi") if info.get("jfif_unit", 1) else None
    return PictureMetadata(
        icc=info.get("icc_profile") or b"",
        exif=exif,
        xmp=info.get("xmp") or b"",
        iptc=info["photoshop"].get(IPTC_RECORD, b"") if isinstance(info.get("photoshop"), dict) else b"",
        resolution=(float(resolution[0]), float(resolution[1])) if resolution and min(resolution) > 1 else None,
    )


def tiff_tags_as_exif(image: Image.Image) -> bytes:
    """Descriptive tags of a TIFF file (not those about storage) as EXIF data."""
    tags, exif = image.getexif(), Image.Exif()
    for tag in DESCRIPTIVE_TAGS:
        if tag in tags:
            exif[tag] = tags.get_ifd(tag) if tag in (EXIF_DIRECTORY, GPS_DIRECTORY) else tags[tag]
    return exif.tobytes().removeprefix(EXIF_HEADER) if len(exif) else b""


def fit_metadata(
    metadata: PictureMetadata, suffix: str, size: tuple[int, int], gray: bool
) -> tuple[PictureMetadata, list[str]]:
    """The metadata that a result of this suffix and size (width, height) can hold, and the names of the rest."""
    if suffix not in (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"):
        return PictureMetadata(), metadata.names()
    lost = []
    if metadata.icc and metadata.icc[16:20] != (b"GRAY" if gray else b"RGB "):
        space = metadata.icc[16:20].decode("latin-1").strip()
        lost.append(f"color profile (it describes {space}, the result is {'gray' if gray else 'RGB'})")
        metadata = replace(metadata, icc=b"")
    if suffix not in (".jpg", ".jpeg") or len(metadata.iptc) > MAX_SEGMENT_BYTES:
        lost += ["IPTC data"] if metadata.iptc else []
        metadata = replace(metadata, iptc=b"")
    if suffix != ".png":
        lost += ["text"] if metadata.texts else []
        metadata = replace(metadata, texts=())
    metadata = replace(metadata, exif=update_exif(metadata.exif, size), xmp=update_xmp(metadata.xmp))
    if suffix in (".jpg", ".jpeg"):
        if len(metadata.exif) > MAX_SEGMENT_BYTES:
            lost.append("EXIF data of more than 64 KiB")
            metadata = replace(metadata, exif=b"")
        if len(metadata.xmp) > MAX_SEGMENT_BYTES:
            lost.append("XMP data of more than 64 KiB")
            metadata = replace(metadata, xmp=b"")
    if suffix == ".webp" and metadata.resolution:
        lost += [] if metadata.exif else ["resolution"]
        metadata = replace(metadata, resolution=None)
    return metadata, lost


def update_exif(exif: bytes, size: tuple[int, int]) -> bytes:
    """EXIF data for upright pixels of that size (width, height), without a thumbnail.

    Values are changed in place, as maker notes contain offsets that must not move.  Returns nothing for
    damaged data.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return b""
    data = bytearray(exif)
    try:
        (first,) = struct.unpack_from(order + "I", data, 4)
        patch_directory(data, order, first, size)
        (count,) = struct.unpack_from(order + "H", data, first)
        struct.pack_into(order + "I", data, first + 2 + 12 * count, 0)  # the next directory is the thumbnail's
    except struct.error:
        return b""
    return bytes(data)


def patch_directory(data: bytearray, order: str, place: int, size: tuple[int, int]) -> None:
    """Set orientation and size in a directory and in EXIF's own below it.  Raises struct.error."""
    (count,) = struct.unpack_from(order + "H", data, place)
    for entry in range(place + 2, place + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(order + "HHI", data, entry)
        value = {ORIENTATION: UPRIGHT, **dict.fromkeys(WIDTHS, size[0]), **dict.fromkeys(HEIGHTS, size[1])}.get(tag)
        if value is not None and number == 1 and kind in (3, 4):  # SHORT, LONG
            short = kind == 3 and value < 1 << 16
            struct.pack_into(order + "HI4s", data, entry + 2, 3 if short else 4, 1, bytes(4))
            struct.pack_into(order + ("H" if short else "I"), data, entry + 8, value)
        elif tag == EXIF_DIRECTORY:
            (below,) = struct.unpack_from(order + "I", data, entry + 8)
            if below > place:  # never in circles
                patch_directory(data, order, below, size)


def update_xmp(xmp: bytes) -> bytes:
    """XMP whose orientation is that of upright pixels."""
    xmp = re.sub(rb'(tiff:Orientation\s*=\s*["\'])\d', rb"\g<1>1", xmp)
    return re.sub(rb"(<tiff:Orientation>)\s*\d", rb"\g<1>1", xmp)
