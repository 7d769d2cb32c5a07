import io
from pathlib import Path

import pytest
from PIL import Image

from tests.pictures import profile
from vrx.media.embed_metadata import embed_metadata, pack_webp_chunk
from vrx.media.picture_metadata import PictureMetadata, read_metadata

EXIF = b"II*\0\x08\0\0\0" + b"\0\0" + bytes(4)  # one empty directory
FULL = PictureMetadata(icc=profile(size=70_000), exif=EXIF, xmp=b"<x:xmpmeta/>", resolution=(300.0, 300.0))


@pytest.mark.parametrize(
    ("suffix", "parts"),
    [
        (".png", ("icc", "exif", "xmp")),
        (".jpg", ("icc", "exif", "xmp")),
        (".webp", ("icc", "exif", "xmp")),
        (".tif", ("icc", "xmp")),
    ],
)
def test_metadata_is_read_back_and_pixels_are_unchanged(tmp_path: Path, suffix: str, parts: tuple[str, ...]) -> None:
    path = tmp_path / f"a{suffix}"
    Image.effect_noise((20, 14), 90).convert("RGB").save(path)
    before = Image.open(io.BytesIO(path.read_bytes())).tobytes()
    embed_metadata(path, FULL, (20, 14))
    assert Image.open(io.BytesIO(path.read_bytes())).tobytes() == before
    found = read_metadata(path)
    assert {part: getattr(found, part) for part in parts} == {part: getattr(FULL, part) for part in parts}
    if suffix != ".webp":
        assert found.resolution == pytest.approx((300, 300), rel=1e-3)


def test_without_metadata_and_for_other_types_the_file_is_not_touched(tmp_path: Path) -> None:
    for name, metadata in (("a.png", PictureMetadata()), ("a.bmp", FULL)):
        path = tmp_path / name
        Image.new("RGB", (4, 4)).save(path)
        before = path.read_bytes()
        embed_metadata(path, metadata, (4, 4))
        assert path.read_bytes() == before


def test_webp_chunks_have_even_sizes() -> None:
    assert pack_webp_chunk(b"ICCP", b"abc") == b"ICCP\x03\0\0\0abc\0"
