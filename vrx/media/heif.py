"""HEIF parser: items, references and properties of HEIC and AVIF files (ISO 23008-12).

Libraries that decode them one stream after the other do not show how streams belong together.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAX_BOX_BYTES = 64 << 20  # of metadata boxes; picture data are not read
CODED_ITEMS = {"hvc1", "hev1", "av01", "avc1", "jpeg", "vvc1"}  # items that a decoder takes as they are


@dataclass(frozen=True)
class HeifItem:
    """A picture or its data: four letters of its `kind`, and its properties (kind, content) in order."""

    number: int
    kind: str
    properties: tuple[tuple[str, bytes], ...] = ()

    def content(self, kind: str) -> bytes:
        """The first property of a kind, empty where there is none."""
        return next((data for name, data in self.properties if name == kind), b"")


@dataclass(frozen=True)
class HeifFile:
    """A file's items, which of them is the picture, and how they refer to each other.

    `references` are (kind, from, to) numbers; `places` offset and length in the file of data in one piece;
    `moving` whether it holds tracks too, `alpha_tracks` those (from 0) that are another's transparency.
    """

    primary: int
    items: dict[int, HeifItem]
    references: tuple[tuple[str, int, int], ...]
    locations: dict[int, tuple[int, int]]
    is_animation: bool
    alpha_tracks: tuple[int, ...]

    @property
    def picture(self) -> HeifItem | None:
        """The item that is shown."""
        return self.items.get(self.primary)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as displayed, cropped and rotated; (0, 0) where they are not stored."""
        item = self.picture
        if item is None or len(item.content("ispe")) < 12:
            return 0, 0
        width, height = struct.unpack_from(">2I", item.content("ispe"), 4)
        if len(item.content("clap")) >= 16:
            wide, wide_by, high, high_by = struct.unpack_from(">4I", item.content("clap"))
            width, height = wide // max(1, wide_by), high // max(1, high_by)
        return (height, width) if item.content("irot")[:1] in (b"\1", b"\3") else (width, height)

    @property
    def count(self) -> int:
        """The pictures of their own: no tiles, thumbnails, transparency, depth or gain maps."""
        parts = {target for kind, _, target in self.references if kind == "dimg"}
        parts |= {source for kind, source, _ in self.references if kind in ("auxl", "thmb", "cdsc")}
        shown = {number for number, item in self.items.items() if item.kind in CODED_ITEMS | {"grid", "iovl", "iden"}}
        return len((shown - parts) | {self.primary})

    def alpha(self) -> int | None:
        """The item that holds the picture's transparency."""
        for kind, source, target in self.references:
            item = self.items.get(source)
            if kind == "auxl" and target == self.primary and item and b"alpha" in auxiliary_type(item):
                return source
        return None

    def profile(self) -> bytes:
        """The picture's ICC profile, empty where it has none."""
        item = self.picture
        colors = [data for name, data in item.properties if name == "colr"] if item else []
        return next((data[4:] for data in colors if data[:4] in (b"prof", b"rICC")), b"")

    def color_codes(self) -> tuple[int, int, int, bool] | None:
        """Primaries, transfer and matrix as ITU-T H.273 numbers them, and full range, of the picture or its tiles."""
        tiles = [self.items.get(target) for kind, source, target in self.references if kind == "dimg"]
        for item in (self.picture, *tiles):
            for name, data in item.properties if item else ():
                if name == "colr" and data[:4] == b"nclx" and len(data) >= 11:
                    primaries, transfer, matrix, flags = struct.unpack_from(">3HB", data, 4)
                    return primaries, transfer, matrix, bool(flags & 0x80)
        return None

    def exif_location(self) -> tuple[int, int] | None:
        """Offset and length of the picture's EXIF item in the file."""
        for kind, source, target in self.references:
            item = self.items.get(source)
            if kind == "cdsc" and target == self.primary and item and item.kind == "Exif":
                return self.locations.get(source)
        return None


def auxiliary_type(item: HeifItem) -> bytes:
    """The type of an auxiliary picture; HEVC's older type for alpha is a number."""
    return item.content("auxC").replace(b"hevc:2015:auxid:1\0", b"alpha")


def read_heif(path: Path) -> HeifFile | None:
    """The items of a HEIC or AVIF file; None for other and for damaged files."""
    try:
        with path.open("rb") as file:
            if file.read(12)[4:8] != b"ftyp":
                return None
            boxes = dict(iter_top_boxes(path, ("meta", "moov")))
        return parse_heif(boxes)
    except (OSError, struct.error, IndexError, ValueError):
        return None


def iter_top_boxes(path: Path, wanted: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """The contents of some of a file's outermost boxes."""
    with path.open("rb") as file:
        offset, end = 0, path.stat().st_size
        while offset + 8 <= end:
            file.seek(offset)
            size, name = struct.unpack(">I4s", file.read(8))
            head = 8
            if size == 1:
                (size,) = struct.unpack(">Q", file.read(8))
                head = 16
            size = size or end - offset
            if size < head:
                return
            if name.decode("latin-1") in wanted:
                yield name.decode("latin-1"), file.read(min(size - head, MAX_BOX_BYTES))
            offset += size


def iter_boxes(data: bytes, start: int = 0) -> Iterator[tuple[str, bytes]]:
    """Boxes inside a box, by name and content."""
    while start + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, start)
        if size < 8:
            return
        yield name.decode("latin-1"), data[start + 8 : start + size]
        start += size


def parse_heif(boxes: dict[str, bytes]) -> HeifFile | None:
    """A description from the contents of `meta` and `moov`."""
    if "meta" not in boxes:
        return None
    meta = dict(iter_boxes(boxes["meta"], 4))
    if meta.get("hdlr", b"")[8:12] != b"pict" or "pitm" not in meta:
        return None
    primary = struct.unpack_from(">I" if meta["pitm"][0] else ">H", meta["pitm"], 4)[0]
    owned = parse_item_properties(meta.get("iprp", b""))
    items = {
        number: HeifItem(number, kind, tuple(owned.get(number, ())))
        for number, kind in parse_item_kinds(meta.get("iinf", b""))
    }
    tracks = [data for name, data in iter_boxes(boxes.get("moov", b"")) if name == "trak"]
    apart = (n for n, data in enumerate(tracks) if "auxl" in dict(iter_boxes(dict(iter_boxes(data)).get("tref", b""))))
    return HeifFile(
        primary=primary,
        items=items,
        references=tuple(parse_item_references(meta.get("iref", b""))),
        locations=parse_item_locations(meta.get("iloc", b"")),
        is_animation=bool(tracks),
        alpha_tracks=tuple(apart),
    )


def parse_item_kinds(data: bytes) -> Iterator[tuple[int, str]]:
    """Number and kind of every item, from `iinf`."""
    for name, entry in iter_boxes(data, 6 if data[:1] == b"\0" else 8):
        if name == "infe" and entry[0] >= 2:
            number, _, kind = struct.unpack_from(">HH4s" if entry[0] == 2 else ">IH4s", entry, 4)
            yield number, kind.decode("latin-1")


def parse_item_references(data: bytes) -> Iterator[tuple[str, int, int]]:
    """(kind, from, to) of every reference, from `iref`."""
    number = "H" if data[:1] == b"\0" else "I"
    for name, entry in iter_boxes(data, 4):
        source, count = struct.unpack_from(f">{number}H", entry)
        for target in struct.unpack_from(f">{count}{number}", entry, struct.calcsize(f">{number}H")):
            yield name, source, target


def parse_item_properties(data: bytes) -> dict[int, list[tuple[str, bytes]]]:
    """The properties of every item, from `iprp`."""
    shared = [entry for name, content in iter_boxes(data) if name == "ipco" for entry in iter_boxes(content)]
    owned: dict[int, list[tuple[str, bytes]]] = {}
    for name, content in iter_boxes(data):
        if name != "ipma":
            continue
        number, wide = (">H" if content[0] == 0 else ">I"), bool(content[3] & 1)
        (count,) = struct.unpack_from(">I", content, 4)
        offset = 8
        for _ in range(count):
            (item,) = struct.unpack_from(number, content, offset)
            offset += struct.calcsize(number)
            many = content[offset]
            places = struct.unpack_from(f">{many}{'H' if wide else 'B'}", content, offset + 1)
            offset += 1 + many * (2 if wide else 1)
            chosen = [place & (0x7FFF if wide else 0x7F) for place in places]
            owned.setdefault(item, []).extend(shared[place - 1] for place in chosen if 0 < place <= len(shared))
    return owned


def parse_item_locations(data: bytes) -> dict[int, tuple[int, int]]:
    """Offset and length in the file of items whose data are in one piece there, from `iloc`."""
    if not data:
        return {}
    version = data[0]
    sizes = [data[4] >> 4, data[4] & 15, data[5] >> 4, data[5] & 15 if version else 0]
    number = 4 if version == 2 else 2
    cursor = 6

    def integer(size: int) -> int:
        nonlocal cursor
        cursor += size
        return int.from_bytes(data[cursor - size : cursor], "big")

    found = {}
    for _ in range(integer(number)):
        item = integer(number)
        method = integer(2) & 15 if version else 0
        integer(2)
        base = integer(sizes[2])
        pieces = []
        for _ in range(integer(2)):
            integer(sizes[3])
            pieces.append((integer(sizes[0]), integer(sizes[1])))
        if method == 0 and len(pieces) == 1:
            found[item] = (base + pieces[0][0], pieces[0][1])
        if cursor > len(data):
            break
    return found
