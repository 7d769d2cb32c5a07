import struct

import pytest

from vrx.media.hdr10 import Hdr10Metadata, can_store, ffmpeg_options, parse_hdr10, x265_parameters

RATIONALS = [(34000, 50000), (16000, 50000), (13250, 50000), (34500, 50000), (7500, 50000), (3000, 50000)]
RATIONALS += [(15635, 50000), (16450, 50000), (50, 10000), (10_000_000, 10000)]
NUMBERS = [n for pair in RATIONALS for n in pair]
DISPLAY = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
FULL = Hdr10Metadata(DISPLAY, "1000,400")


def side_data(primaries: int = 1, luminance: int = 1) -> dict[str, bytes]:
    display = struct.pack("=20i2i", *NUMBERS, primaries, luminance)
    return {"MASTERING_DISPLAY_METADATA": display, "CONTENT_LIGHT_LEVEL": struct.pack("=2I", 1000, 400)}


def test_side_data_becomes_words() -> None:
    assert parse_hdr10(side_data()) == FULL
    assert x265_parameters(FULL) == ("hdr10=1", "repeat-headers=1", f"master-display={DISPLAY}", "max-cll=1000,400")
    assert ffmpeg_options(FULL) == ("-mastering_display:v:0", DISPLAY, "-content_light:v:0", "1000,400")


def test_nothing_and_nonsense_give_nothing() -> None:
    for raw in ({}, {"MASTERING_DISPLAY_METADATA": b"short", "CONTENT_LIGHT_LEVEL": b""}):
        nothing = parse_hdr10(raw)
        assert not nothing
        assert x265_parameters(nothing) == ffmpeg_options(nothing) == ()


def test_half_a_mastering_display_is_not_used() -> None:
    assert parse_hdr10(side_data(luminance=0)) == Hdr10Metadata("", "1000,400")


@pytest.mark.parametrize(
    ("encoder", "container", "expected"),
    [("libx265", "mp4", True), ("libx264", "mpegts", True), ("prores_ks", "mov", True), ("ffv1", "nut", False)],
)
def test_bitstream_or_container_stores_the_metadata(encoder: str, container: str, expected: bool) -> None:
    assert can_store(encoder, container) is expected
