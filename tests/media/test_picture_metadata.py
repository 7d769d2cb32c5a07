"""Color profiles, EXIF data and resolution of pictures go along, made true for the result."""

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from tests import heif
from tests.clips import scenery
from tests.pictures import profile
from vrx import api, events
from vrx.errors import InputError
from vrx.media.embed_metadata import embed_metadata
from vrx.media.picture_metadata import PictureMetadata, fit_metadata, read_metadata, update_exif
from vrx.media.read import Reader, Span
from vrx.settings import Job, ModelSettings, OutputSettings, RestoreSettings, SelectionSettings, Task, too_large

SIZE = (64, 48)
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6" dc:title="a"/></x:xmpmeta>'


def exif_of(camera: str = "Model", orientation: int = 1) -> bytes:
    """EXIF data as cameras write them: the place, the time, the source's size, and a thumbnail's directory."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112] = "Maker", camera, orientation
    exif[0x8769] = {0x9003: "2024:01:02 03:04:05", 0xA002: 64, 0xA003: 48, 0x927C: b"notes of the maker"}
    exif[0x8825] = {1: "N", 2: (1.0, 2.0, 3.0)}
    return exif.tobytes()


def photograph(path: Path, camera: str = "Model", icc: bytes = profile()) -> Path:
    """A picture with all that can be said beside its samples."""
    if path.suffix == ".tif":
        Image.fromarray(scenery(0, SIZE)).save(path)
        embed_metadata(path, PictureMetadata(icc, exif_of(camera)[6:], XMP, (300.0, 300.0)), SIZE)
    else:
        options: dict[str, Any] = {"exif": exif_of(camera), "icc_profile": icc, "dpi": (300, 300), "xmp": XMP}
        Image.fromarray(scenery(0, SIZE)).save(path, **options)
    return path


def job(source: Path, output: Path, **selection: object) -> Job:
    return Job(
        source=str(source),
        model=ModelSettings(device="cpu"),
        restore=RestoreSettings(task=Task.DEBLUR, sigma=1.0),
        selection=SelectionSettings(**selection),  # type: ignore[arg-type]
        output=OutputSettings(path=str(output)),
    )


def assert_whole(path: Path, camera: str = "Model", icc: bytes = profile()) -> None:
    """All of `photograph` is there, as other programs read it."""
    with Image.open(path) as image:
        image.load()
        exif = image.getexif()
        assert image.info["icc_profile"] == icc
        assert (exif[0x010F], exif[0x0110], exif.get(0x0112, 1)) == ("Maker", camera, 1)
        assert exif.get_ifd(0x8769)[0x9003] == "2024:01:02 03:04:05"
        assert exif.get_ifd(0x8769)[0x927C] == b"notes of the maker"
        assert exif.get_ifd(0x8825)[2] == (1.0, 2.0, 3.0)
        if path.suffix != ".webp":
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)


@pytest.mark.parametrize("result", ["b.png", "b.jpg", "b.webp", "b.tif"])
@pytest.mark.parametrize("source", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_every_kind_of_picture_gives_to_every_other(tmp_path: Path, source: str, result: str) -> None:
    found = read_metadata(photograph(tmp_path / source))
    path = tmp_path / result
    Image.fromarray(scenery(0, (128, 96))).save(path)
    before = pixels(path)
    metadata, lost = fit_metadata(found, path.suffix, (128, 96), gray=False)
    if found.resolution is None:  # WebP knows none
        metadata = PictureMetadata(metadata.icc, metadata.exif, metadata.xmp, (300.0, 300.0))
    embed_metadata(path, metadata, (128, 96))
    assert lost == []
    assert_whole(path)
    assert np.array_equal(pixels(path), before)
    with Image.open(path) as image:
        image.load()
        exif = image.getexif().get_ifd(0x8769)
        assert (exif[0xA002], exif[0xA003]) == (128, 96)
        assert source == "a.png" or b'Orientation="1"' in image.info["xmp"]


def pixels(path: Path) -> np.ndarray:
    with Reader(path, Span(), lambda _: None) as reader:
        return next(reader.frames()).planes[0]


@pytest.mark.parametrize("name", ["b.png", "b.jpg"])
def test_a_restored_picture_says_what_its_source_said(tmp_path: Path, name: str) -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    api.restore(job(photograph(tmp_path / "a.jpg", icc=icc), tmp_path / name))
    assert_whole(tmp_path / name, icc=icc)


def test_every_picture_of_a_sequence_keeps_its_own(tmp_path: Path) -> None:
    for number in range(1, 5):
        photograph(tmp_path / f"f_{number:02d}.jpg", f"camera {number}")
    api.restore(job(tmp_path / "f_%02d.jpg", tmp_path / "g_%02d.png", start=Fraction(1, 24), frames=2))
    results = sorted(tmp_path.glob("g_*.png"))
    assert len(results) == 2
    for path, number in zip(results, (2, 3), strict=True):
        assert_whole(path, f"camera {number}")


def test_what_a_result_cannot_hold_is_said_before_work(tmp_path: Path) -> None:
    source = photograph(tmp_path / "a.jpg")
    for name in ("b.bmp", "b.mkv"):
        noted: list[events.Event] = []
        api.plan(job(source, tmp_path / name), noted.append)
        texts = [event.text for event in noted if isinstance(event, events.Noted)]
        assert [text for text in texts if "cannot hold its color profile, EXIF data, XMP data, resolution" in text]


def test_text_of_png_and_iptc_data_of_jpeg_files_stay_there_and_are_said_elsewhere(tmp_path: Path) -> None:
    image, words = Image.fromarray(scenery(0, SIZE)), PngInfo()
    words.add_text("parameters", "a cat, 20 steps")
    words.add_itxt("Title", "Ünï", zip=True)
    image.save(tmp_path / "a.png", pnginfo=words)
    image.save(tmp_path / "a.jpg")
    embed_metadata(tmp_path / "a.jpg", PictureMetadata(iptc=b"\x1c\x02\x50\0\x03who"), SIZE)
    for name, other, word in (("a.png", ".jpg", "text"), ("a.jpg", ".png", "IPTC data")):
        found = read_metadata(tmp_path / name)
        assert fit_metadata(found, other, SIZE, gray=False) == (PictureMetadata(), [word])
        metadata, lost = fit_metadata(found, Path(name).suffix, SIZE, gray=False)
        assert lost == []
        image.save(tmp_path / f"b{Path(name).suffix}")
        embed_metadata(tmp_path / f"b{Path(name).suffix}", metadata, SIZE)
    with Image.open(tmp_path / "b.png") as png, Image.open(tmp_path / "b.jpg") as jpeg:
        png.load()
        assert (png.info["parameters"], png.info["Title"]) == ("a cat, 20 steps", "Ünï")
        assert jpeg.info["photoshop"] == {0x0404: b"\x1c\x02\x50\0\x03who"}


def test_profiles_of_other_color_spaces_are_not_attached() -> None:
    cmyk = PictureMetadata(icc=profile(b"CMYK"))
    metadata, lost = fit_metadata(cmyk, ".jpg", SIZE, gray=False)
    assert metadata.icc == b""
    assert "CMYK" in lost[0]
    assert fit_metadata(PictureMetadata(icc=profile(b"GRAY")), ".png", SIZE, gray=True)[1] == []
    assert fit_metadata(PictureMetadata(icc=profile(b"GRAY")), ".png", SIZE, gray=False)[1] != []


def test_orientation_is_that_of_the_pixels_and_the_thumbnail_is_left_out() -> None:
    for order in ("<", ">"):
        mark = b"II*\0" if order == "<" else b"MM\0*"
        entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, 6, 0)
        data = mark + struct.pack(order + "IH", 8, 1) + entry + struct.pack(order + "I", 26) + bytes(20)
        found = update_exif(data, SIZE)
        assert struct.unpack_from(order + "H", found, 18) == (1,)
        assert struct.unpack_from(order + "I", found, 22) == (0,)
        assert len(found) == len(data)


@pytest.mark.parametrize("data", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"nonsense" * 8, b"MM\0*\0\0\0\x08\xff\xff"])
def test_damaged_exif_data_are_left_out(data: bytes) -> None:
    assert update_exif(data, SIZE) == b""


def test_damaged_files_say_nothing(tmp_path: Path) -> None:
    whole = photograph(tmp_path / "a.png").read_bytes()
    for name in ("b.png", "b.jpg", "b.tif", "b.webp", "b.heic"):
        for content in (b"", whole[:40], whole[:60] + b"\xff" * 50, b"\xff\xd8\xff\xe1\0\0", b"II*\0\x08\0\0\0"):
            (tmp_path / name).write_bytes(content)
            read_metadata(tmp_path / name)
    assert read_metadata(tmp_path / "none.png") == PictureMetadata()


def test_heic_pictures_keep_profile_and_exif_data(tmp_path: Path) -> None:
    tile = heif.encode(scenery(0, SIZE), "hevc", "yuv420p")
    picture = heif.Picture(tiles=[tile], icc=profile(), exif=exif_of(orientation=6))
    api.restore(job(heif.write(tmp_path / "a.heic", picture), tmp_path / "b.png"))
    with Image.open(tmp_path / "b.png") as image:
        assert image.info["icc_profile"] == profile()
        assert (image.getexif()[0x0110], image.getexif()[0x0112]) == ("Model", 1)


@pytest.mark.parametrize(("size", "large"), [((16255, 16255), False), ((16256, 16256), True), ((65000, 3900), False)])
def test_the_limit_is_ffmpegs(tmp_path: Path, size: tuple[int, int], large: bool) -> None:
    assert too_large(*size) == large
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s2I5B", 13, b"IHDR", *size, 8, 0, 0, 0, 0) + bytes(4)
    (tmp_path / "a.png").write_bytes(header + bytes(60))
    with pytest.raises(InputError, match="limit" if large else "cannot read"):
        Reader(tmp_path / "a.png", Span(), lambda _: None)


@pytest.mark.parametrize(("source", "name"), [("a.png", "b.jpg"), ("a.jpg", "b.png"), ("a.webp", "b.png")])
def test_a_wrong_suffix_is_named(tmp_path: Path, source: str, name: str) -> None:
    photograph(tmp_path / source).rename(tmp_path / name)
    with pytest.raises(InputError, match=f"it is a {Path(source).suffix} file"):
        Reader(tmp_path / name, Span(), lambda _: None)
