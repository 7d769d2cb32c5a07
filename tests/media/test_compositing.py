"""Tiled and transparent HEIC and AVIF pictures, and animations, are read whole."""

import os
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests import heif
from vrx import api
from vrx.errors import InputError
from vrx.events import Note
from vrx.media.animations import is_animation
from vrx.media.frame import Frame
from vrx.media.read import Reader, Span
from vrx.pipeline.colorspace import to_rgb

COLORS = [(220, 30, 30), (30, 200, 40), (30, 40, 220), (230, 220, 40)]
SIZE = (120, 100)  # of four tiles of 64x64: the last ones are cut
DELAYS = [100, 200, 100, 300, 100]  # milliseconds


@cache
def tiles(pix_fmt: str) -> tuple[heif.Coded, ...]:
    """One plain tile of each color."""
    return tuple(heif.encode(np.full((64, 64, 3), color, np.uint8), "hevc", pix_fmt) for color in COLORS)


def whole() -> np.ndarray:
    """The picture that the tiles make, [H, W, 3]."""
    rows = [np.concatenate([np.full((64, 64, 3), c, np.uint8) for c in COLORS[n : n + 2]], 1) for n in (0, 2)]
    return np.concatenate(rows, 0)[: SIZE[1], : SIZE[0]]


def rgb(frame: Frame) -> np.ndarray:
    """[H, W, 3] or [H, W, 4] in 0..255."""
    color, alpha = to_rgb(frame, torch.device("cpu"))
    channels = color if alpha is None else torch.cat([color, alpha])
    return (channels * 255).permute(1, 2, 0).numpy()


def pictures(path: Path) -> list[np.ndarray]:
    with Reader(path, Span(), lambda _: None) as reader:
        return [rgb(frame) for frame in reader.frames()]


Turn = Callable[[np.ndarray], np.ndarray]


@pytest.mark.parametrize(
    ("pix_fmt", "turns", "mirror", "shown"),
    [
        ("yuv420p", 0, None, lambda a: a),
        ("yuv420p10le", 0, None, lambda a: a),
        ("yuv420p", 1, None, lambda a: np.rot90(a, 1)),
        ("yuv420p", 3, None, lambda a: np.rot90(a, 3)),
        ("yuv420p", 0, 0, lambda a: a[::-1]),
        ("yuv420p10le", 1, 1, lambda a: np.rot90(a, 1)[:, ::-1]),
    ],
)
def test_tiles_are_put_together_and_turned(
    tmp_path: Path, pix_fmt: str, turns: int, mirror: int | None, shown: Turn
) -> None:
    coded = tiles(pix_fmt)
    path = heif.write(
        tmp_path / "a.heic",
        heif.Picture(tiles=coded, columns=2, size=SIZE, turns=turns, mirror=mirror, thumbnail=coded[3]),
    )
    info = api.probe(path)
    expected = shown(whole())
    assert (info.video.size, info.still, info.video.codec) == (expected.shape[1::-1], True, "hevc")
    (found,) = pictures(path)
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 3
    with Reader(path, Span(), lambda _: None) as reader:
        assert reader.layout.depth == (10 if "10" in pix_fmt else 8)


def test_a_crop_of_one_picture_is_heeded_and_of_tiles_refused(tmp_path: Path) -> None:
    path = heif.write(tmp_path / "a.heic", heif.Picture(tiles=tiles("yuv420p")[:1], crop=(32, 48)))
    assert pictures(path)[0].shape == (48, 32, 3)
    path = heif.write(tmp_path / "b.heic", heif.Picture(tiles=tiles("yuv420p"), columns=2, size=SIZE, crop=(64, 64)))
    with pytest.raises(InputError, match="tiles"):
        pictures(path)


def test_a_missing_tile_is_refused(tmp_path: Path) -> None:
    path = heif.write(tmp_path / "a.heic", heif.Picture(tiles=tiles("yuv420p"), columns=2, size=SIZE))
    data = path.read_bytes()
    path.write_bytes(data[: -len(tiles("yuv420p")[3].data)])
    with pytest.raises(InputError):
        pictures(path)


@pytest.fixture
def moving() -> list[Image.Image]:
    """Five pictures with a see-through square that wanders."""
    found = []
    for number in range(len(DELAYS)):
        a = np.zeros((48, 64, 4), np.uint8)
        a[..., 0], a[..., 1], a[..., 3] = 40 * number, np.arange(64) * 4, 255
        a[16:32, 8 * number : 8 * number + 16, 3] = 96
        found.append(Image.fromarray(a))
    return found


@pytest.mark.parametrize("alpha", [True, False])
@pytest.mark.parametrize(("name", "close"), [("a.png", 0.01), ("a.webp", 0.01), ("a.avif", 2.0)])
def test_animations_are_read_whole(
    tmp_path: Path, moving: list[Image.Image], name: str, close: float, alpha: bool
) -> None:
    path = tmp_path / name
    images = moving if alpha else [image.convert("RGB") for image in moving]
    options = {"quality": 95} if name.endswith("avif") else {"lossless": True} if name.endswith("webp") else {}
    images[0].save(path, save_all=True, append_images=images[1:], duration=DELAYS, **options)
    assert is_animation(path)
    info = api.probe(path)
    assert (info.animated, info.still, info.video.size) == (True, False, (64, 48))
    with Reader(path, Span(), lambda _: None) as reader:
        frames = list(reader.frames())
    starts = [Fraction(sum(DELAYS[:n]), 1000) for n in range(5)]
    assert [frame.time - frames[0].time for frame in frames] == pytest.approx(starts, abs=0.002)
    for frame, image in zip(frames, images, strict=True):
        found = rgb(frame)[..., : 4 if alpha else 3]
        assert np.abs(found - np.asarray(image).astype(float)).mean() < close


@pytest.mark.parametrize("name", ["a.png", "a.webp"])
def test_the_last_picture_of_an_animation_is_shown_as_long_as_it_says(
    tmp_path: Path, moving: list[Image.Image], name: str
) -> None:
    delays = [100, 200, 130, 300, 2570]
    moving[0].save(tmp_path / name, save_all=True, append_images=moving[1:], duration=delays)
    with Reader(tmp_path / name, Span(), lambda _: None) as reader:
        times = [frame.time - reader.origin for frame in reader.frames()]
        assert [round(float(time), 2) for time in times] == [0, 0.1, 0.3, 0.43, 0.73]
        assert round(float(reader.end or 0), 2) == 3.3


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.avif"])
def test_a_still_with_transparency_is_no_animation(tmp_path: Path, moving: list[Image.Image], name: str) -> None:
    moving[0].save(tmp_path / name, quality=95)
    assert not is_animation(tmp_path / name)
    assert api.probe(tmp_path / name).still
    (found,) = pictures(tmp_path / name)
    assert np.abs(found[..., 3] - np.asarray(moving[0])[..., 3].astype(float)).mean() < 2


def test_files_that_are_no_pictures_are_no_animations(tmp_path: Path) -> None:
    for name in ("a.png", "a.webp", "a.avif", "a.heic"):
        for content in (b"", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", bytes(4) + b"ftypavif" + bytes(40)):
            (tmp_path / name).write_bytes(content)
            assert not is_animation(tmp_path / name)
    assert not is_animation(tmp_path / "none.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert not is_animation(tmp_path / "pipe.png")  # and it does not wait for a writer


@pytest.mark.parametrize("name", ["a.tif", "a.heic", "a.jpg"])
def test_further_pictures_in_a_file_are_said(tmp_path: Path, moving: list[Image.Image], name: str) -> None:
    path, images = tmp_path / name, [image.convert("RGB") for image in moving[:3]]
    if name == "a.heic":
        heif.write(path, heif.Picture(tiles=tiles("yuv420p")[:1], others=tiles("yuv420p")[1:3]))
    else:
        kind = "MPO" if name == "a.jpg" else None
        images[0].save(path, kind, save_all=True, append_images=images[1:])
    notes: list[Note] = []
    with Reader(path, Span(), notes.append) as reader:
        assert len(list(reader.frames())) == 1
    assert [note for note in notes if "holds 3 pictures" in note.text]
