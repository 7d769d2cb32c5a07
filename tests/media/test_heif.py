import struct
from pathlib import Path

from tests.heif import box, full
from vrx.media.heif import HeifItem, iter_boxes, iter_top_boxes, parse_heif, parse_item_locations, read_heif


def entry(number: int, kind: bytes) -> bytes:
    return full(b"infe", struct.pack(">2H", number, 0), kind, b"\0", version=2)


def meta(*more: bytes) -> bytes:
    """A primary grid (1) of two tiles (2, 3), its alpha (4), its thumbnail (5) and another picture (6)."""
    kinds = {1: b"grid", 2: b"hvc1", 3: b"hvc1", 4: b"hvc1", 5: b"hvc1", 6: b"hvc1"}
    shared = [full(b"ispe", struct.pack(">2I", 64, 48)), box(b"irot", b"\1"), full(b"auxC", b"urn:mpeg:alpha\0")]
    owned = [(1, (1, 2)), (4, (3,))]
    listed = b"".join(struct.pack(">HB", number, len(places)) + bytes(places) for number, places in owned)
    references = box(b"dimg", struct.pack(">4H", 1, 2, 2, 3)) + box(b"auxl", struct.pack(">3H", 4, 1, 1))
    references += box(b"thmb", struct.pack(">3H", 5, 1, 1))
    return bytes(4) + b"".join(
        [
            full(b"hdlr", bytes(4), b"pict", bytes(13)),
            full(b"pitm", struct.pack(">H", 1)),
            full(b"iinf", struct.pack(">H", len(kinds)), *(entry(*item) for item in kinds.items())),
            full(b"iref", references),
            box(b"iprp", box(b"ipco", *shared), full(b"ipma", struct.pack(">I", len(owned)), listed)),
            *more,
        ]
    )


def test_items_with_their_properties_and_relations() -> None:
    heif = parse_heif({"meta": meta()})
    assert heif is not None
    assert heif.picture == HeifItem(1, "grid", (("ispe", struct.pack(">3I", 0, 64, 48)), ("irot", b"\1")))
    assert heif.size == (48, 64)  # rotated
    assert heif.count == 2  # the grid and item 6
    assert heif.alpha() == 4
    assert not heif.is_animation
    assert heif.color_codes() is None
    assert heif.profile() == b""


def test_alpha_tracks_of_an_animation() -> None:
    moov = box(b"trak") + box(b"trak", box(b"tref", box(b"auxl", struct.pack(">I", 1))))
    heif = parse_heif({"meta": meta(), "moov": moov})
    assert heif is not None
    assert (heif.is_animation, heif.alpha_tracks) == (True, (1,))


def test_locations_of_items_in_one_piece() -> None:
    one = struct.pack(">3H2I", 7, 0, 1, 100, 50)
    two = struct.pack(">3H4I", 8, 0, 2, 1, 2, 3, 4)
    assert parse_item_locations(bytes(4) + b"\x44\0" + struct.pack(">H", 2) + one + two) == {7: (100, 50)}
    assert parse_item_locations(b"") == {}


def test_boxes_end_at_damage(tmp_path: Path) -> None:
    data = box(b"good", b"ab") + struct.pack(">I4s", 4, b"bad ")
    assert list(iter_boxes(data)) == [("good", b"ab")]
    path = tmp_path / "a.heic"
    path.write_bytes(data)
    assert list(iter_top_boxes(path, ("good",))) == [("good", b"ab")]
    assert read_heif(path) is None
    path.write_bytes(box(b"ftyp", b"heic") + box(b"meta", meta()[:40]))
    assert read_heif(path) is None
