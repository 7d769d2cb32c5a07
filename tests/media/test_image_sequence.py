from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.clips import save_picture, scenery
from tests.media.test_read import EXIF, photograph
from vrx.errors import InputError
from vrx.events import Note
from vrx.media.frame import Kind, Layout
from vrx.media.image_sequence import common_layout, decode_picture, read_header
from vrx.media.pixel_formats import layout_from_pix_fmt
from vrx.media.read import Reader, Span
from vrx.pipeline.output import expected_frames
from vrx.settings import SelectionSettings

COLORS = np.stack([np.full((12, 16), value, np.uint8) for value in (200, 100, 16)], -1)


def numbered(folder: Path, numbers: Sequence[int], name: str = "f_%03d.png") -> Path:
    """Pictures whose first pixel is their number."""
    for number in numbers:
        save_picture(folder / (name % number), np.full((12, 16), number % 256, np.uint8))
    return folder / name


def values(pattern: Path, span: Span | None = None) -> list[tuple[int, Fraction]]:
    """What numbers the frames hold, and when they are shown."""
    with Reader(pattern, span or Span(), lambda _: None) as reader:
        found = [(int(frame.planes[0][0, 0]), frame.time) for frame in reader.frames()]
        assert reader.info.estimated_frames == len(found)
    return found


@pytest.mark.parametrize("first", [0, 1, 98, 1001])
def test_every_number_is_a_frame_in_order(tmp_path: Path, first: int) -> None:
    numbers = range(first, first + 12)
    found = values(numbered(tmp_path, numbers))
    assert found == [(n % 256, Fraction(n - first, 24)) for n in numbers]


def test_names_are_no_patterns_in_themselves(tmp_path: Path) -> None:
    folder = tmp_path / "50%done [%03d]"
    folder.mkdir()
    assert len(values(numbered(folder, range(1, 4)))) == 3
    for number in (5, 6):
        save_picture(folder / f"g_{number}.png", np.full((12, 16), number, np.uint8))
    assert [value for value, _ in values(folder / "g_%05d.png")] == [5, 6]


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        ([5], r"f_005\.png is missing"),
        ([5, 7, 8], r"3 pictures are missing: f_005\.png, f_007\.png, f_008\.png"),
        (range(3, 20), r"17 pictures are missing: .*f_007\.png, \.\.\."),
    ],
)
def test_a_hole_is_refused_by_name(tmp_path: Path, lacking: Sequence[int], words: str) -> None:
    pattern = numbered(tmp_path, [n for n in range(1, 24) if n not in lacking])
    with pytest.raises(InputError, match=words):
        Reader(pattern, Span(), lambda _: None)


def test_a_part_without_a_hole_is_read(tmp_path: Path) -> None:
    pattern = numbered(tmp_path, [1, 2, 3, 4, 6, 7, 8, 9, 20261126])
    assert [v for v, _ in values(pattern, Span(frames=4))] == [1, 2, 3, 4]
    assert values(pattern, Span(Fraction(5, 24), frames=3)) == [(n, Fraction(n - 1, 24)) for n in (6, 7, 8)]
    assert [v for v, _ in values(pattern, Span(Fraction(1, 24), end=Fraction(31, 240)))] == [2, 3, 4]
    for span in (Span(frames=5), Span(Fraction(4, 24), frames=2), Span(Fraction(6, 24))):
        with pytest.raises(InputError, match="missing"):
            Reader(pattern, span, lambda _: None)
    save_picture(tmp_path / f"f_{10**40}.png", np.zeros((12, 16), np.uint8))
    with pytest.raises(InputError, match=r"missing: f_005\.png"):
        Reader(pattern, Span(), lambda _: None)
    (tmp_path / "few").mkdir()
    pattern = numbered(tmp_path / "few", range(9))
    with pytest.raises(InputError, match=r"begins at 0:00:10\.000, and the source ends at 0:00:00\.375"):
        Reader(pattern, Span(Fraction(10), end=Fraction(11)), lambda _: None)


def test_frames_are_counted_for_the_chosen_part(tmp_path: Path) -> None:
    pattern = numbered(tmp_path, range(10))
    with Reader(pattern, Span(Fraction(1, 24), frames=4), lambda _: None) as reader:
        assert expected_frames(reader.info, SelectionSettings(start=Fraction(1, 24), frames=4)) == 4


def test_of_two_with_one_number_the_one_the_pattern_spells_is_read(tmp_path: Path) -> None:
    pattern = numbered(tmp_path, range(1, 4))
    save_picture(tmp_path / "f_2.png", np.full((12, 16), 99, np.uint8))
    assert [v for v, _ in values(pattern)] == [1, 2, 3]


def test_a_member_of_another_size_is_refused_by_name(tmp_path: Path) -> None:
    pattern = numbered(tmp_path, range(1, 4))
    save_picture(tmp_path / "f_002.png", np.zeros((12, 20), np.uint8))
    with pytest.raises(InputError, match=r"f_001\.png is 16x12, f_002\.png is 20x12"):
        Reader(pattern, Span(), lambda _: None)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"])
def test_a_member_that_is_no_picture_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    pattern = numbered(tmp_path, range(1, 5))
    (tmp_path / "f_003.png").write_bytes(content)
    with pytest.raises(InputError, match=r"f_003\.png"):
        Reader(pattern, Span(), lambda _: None)


def test_a_member_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    pattern = numbered(tmp_path, range(1, 5))
    whole = save_picture(tmp_path / "f_003.png", scenery(0, (16, 12))[..., 0])
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    with Reader(pattern, Span(), lambda _: None) as reader, pytest.raises(InputError, match=r"f_003\.png"):
        list(reader.frames())
    assert len(values(pattern, Span(frames=2))) == 2


def test_a_jpeg_that_ends_early_is_said(tmp_path: Path) -> None:
    for number in (1, 2):
        photograph(tmp_path / f"f_{number}.jpg", None)
    whole = (tmp_path / "f_2.jpg").read_bytes()
    (tmp_path / "f_2.jpg").write_bytes(whole[:-20])
    for path, name in ((tmp_path / "f_%d.jpg", "f_2.jpg"), (tmp_path / "f_2.jpg", "f_2.jpg")):
        notes: list[Note] = []
        with Reader(path, Span(), notes.append) as reader:
            assert len(list(reader.frames())) == reader.info.estimated_frames
        assert len(notes) == 1
        assert name in notes[0].text
        assert "is truncated" in notes[0].text


MIXES = {
    "gray, then color": (["gray", "rgb24"], Layout(Kind.RGB, 8)),
    "alpha later": (["rgb24", "rgba"], Layout(Kind.RGB, 8, alpha=True)),
    "gray, then alpha": (["gray", "rgba"], Layout(Kind.RGB, 8, alpha=True)),
    "16 bits later": (["rgb24", "rgb48be"], Layout(Kind.RGB, 16)),
    "gray of 16 bits": (["gray", "gray16be"], Layout(Kind.GRAY, 16)),
    "bits, then color of 16": (["monob", "gray", "rgba64be"], Layout(Kind.RGB, 16, alpha=True)),
}


@pytest.mark.parametrize("formats", MIXES)
@pytest.mark.parametrize("backward", [False, True])
def test_mixed_pictures_are_read_in_what_holds_all(tmp_path: Path, formats: str, backward: bool) -> None:
    mix, layout = MIXES[formats]
    mix = mix[::-1] if backward else mix
    for number, pix_fmt in enumerate(mix):
        gray = pix_fmt.startswith(("gray", "mono"))
        pixels = np.full((12, 16), 255, np.uint8) if gray else COLORS
        deep = pixels.astype(np.uint16) * 257 if "16" in pix_fmt or "48" in pix_fmt or "64" in pix_fmt else pixels
        save_picture(tmp_path / f"f_{number}.png", deep, pix_fmt)
    with Reader(tmp_path / "f_%d.png", Span(), lambda _: None) as reader:
        assert reader.layout == layout
        frames = list(reader.frames())
    step = 257 if layout.depth == 16 else 1
    for frame, pix_fmt in zip(frames, mix, strict=True):
        assert frame.layout == layout
        color = (255, 255, 255) if pix_fmt.startswith(("gray", "mono")) else (200, 100, 16)
        expected = [step * value for value in ((*color, 255) if layout.alpha else color)][: len(frame.planes)]
        assert [np.unique(plane).tolist() for plane in frame.planes] == [[value] for value in expected]


def test_gray_and_color_jpegs_are_one_video(tmp_path: Path) -> None:
    picture = scenery(0, (32, 16))
    cv2.imwrite(str(tmp_path / "f_1.jpg"), picture[..., 0])
    save_picture(tmp_path / "f_2.jpg", picture, "yuvj420p", "mjpeg")
    with Reader(tmp_path / "f_%d.jpg", Span(), lambda _: None) as reader:
        gray, color = reader.frames()
    assert gray.layout == color.layout == Layout(Kind.YUV, 8, 1, 1)
    assert np.abs(gray.planes[0].astype(int) - picture[..., 0]).mean() < 4
    assert all((plane == 128).all() for plane in gray.planes[1:])
    assert color.planes[1].std() > 2


def test_every_photograph_of_a_sequence_is_turned_by_its_own_word(tmp_path: Path) -> None:
    for number, orientation in enumerate((1, 3, 2, 4)):
        photograph(tmp_path / f"f_{number}.jpg", orientation)
    with Reader(tmp_path / "f_%d.jpg", Span(), lambda _: None) as reader:
        upright, *others = (frame.planes[0] for frame in reader.frames())
    for orientation, found in zip((3, 2, 4), others, strict=True):
        assert np.array_equal(found, EXIF[orientation](upright))
    photograph(tmp_path / "f_4.jpg", 6)
    with pytest.raises(InputError, match=r"f_0\.jpg is 64x48, f_4\.jpg is 48x64"):
        Reader(tmp_path / "f_%d.jpg", Span(), lambda _: None)


@pytest.mark.parametrize(
    "pix_fmt", ["gray", "gray16be", "rgb24", "rgb48be", "rgba", "rgba64be", "ya8", "ya16be", "monob"]
)
def test_png_headers_are_read_as_ffmpeg_reads_them(tmp_path: Path, pix_fmt: str) -> None:
    header = read_header(save_picture(tmp_path / "a.png", COLORS, pix_fmt))
    assert (header.size, header.pix_fmt, header.codec) == ((16, 12), pix_fmt, "png")
    assert decode_picture(tmp_path / "a.png", "png").format.name == pix_fmt


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        (["yuvj420p", "yuvj422p"], "yuv422p"),
        (["yuvj422p", "yuvj440p"], "yuv444p"),
        (["yuv420p", "yuva420p"], "yuva420p"),
        (["yuv440p", "yuva420p"], "yuva444p"),
        (["yuv420p", "argb"], "gbrap"),
        (["gray", "yuvj411p"], "yuv411p"),
        (["pal8", "rgb48be"], "gbrap16le"),
        (["gray10le", "rgba"], "gbrap10le"),
    ],
)
def test_a_common_layout_holds_all(formats: list[str], expected: str) -> None:
    layouts = [layout_from_pix_fmt(name) for name in formats]
    assert common_layout(layouts) == common_layout(layouts[::-1])
    assert common_layout(layouts).pix_fmt == expected
