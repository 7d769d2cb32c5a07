import struct

from vrx.media.mastering import x265_parameters


def test_side_data_becomes_words() -> None:
    rationals = [(34000, 50000), (16000, 50000), (13250, 50000), (34500, 50000), (7500, 50000), (3000, 50000)]
    rationals += [(15635, 50000), (16450, 50000), (50, 10000), (10_000_000, 10000)]
    data = struct.pack("=20i2i", *[n for pair in rationals for n in pair], 1, 1)
    words = x265_parameters({"MASTERING_DISPLAY_METADATA": data, "CONTENT_LIGHT_LEVEL": struct.pack("=2I", 1000, 400)})
    assert "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)" in words
    assert "max-cll=1000,400" in words


def test_nothing_and_nonsense_give_nothing() -> None:
    assert x265_parameters({}) == ()
    assert x265_parameters({"MASTERING_DISPLAY_METADATA": b"short", "CONTENT_LIGHT_LEVEL": b""}) == ()
