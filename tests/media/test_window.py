"""The part of a picture that is read, in any orientation and layout."""

from pathlib import Path

import numpy as np
import pytest

from tests.clips import ClipMaker, scenery, turned_clip
from tests.media.test_borders import film
from vrx.errors import UsageError
from vrx.geometry import Crop, parse_crop
from vrx.media.deinterlace import Deinterlace
from vrx.media.frame import Kind, Layout
from vrx.media.orientation import Orientation
from vrx.media.read import Reader, Span
from vrx.media.window import Window

YUV420, YUV411, YUV444 = (Layout(Kind.YUV, 8, *shifts) for shifts in ((1, 1), (2, 0), (0, 0)))


@pytest.mark.parametrize(
    ("text", "layout", "expected"),
    [
        ("32:24:8:4", YUV420, (8, 4, 32, 24)),
        ("33:25:9:5", YUV420, (8, 4, 32, 24)),  # as ffmpeg's crop rounds
        ("33:25:9:5", YUV444, (9, 5, 33, 25)),
        ("33:25:9:5", YUV411, (8, 5, 32, 25)),
        ("32:24", YUV420, (16, 12, 32, 24)),
        ("crop=64:48:0:0", YUV420, (0, 0, 64, 48)),
    ],
)
def test_a_crop_is_rounded_as_ffmpeg_does(text: str, layout: Layout, expected: tuple[int, ...]) -> None:
    crop = parse_crop(text)
    assert isinstance(crop, Crop)
    window = Window.of(crop, (64, 48), layout)
    assert (window.left, window.top, window.width, window.height) == expected
    assert window.is_all == (text == "crop=64:48:0:0")


@pytest.mark.parametrize("text", ["66:48", "32:24:40:0", "32:24:0:26"])
def test_a_crop_outside_of_the_picture_is_refused(text: str) -> None:
    crop = parse_crop(text)
    assert isinstance(crop, Crop)
    with pytest.raises(UsageError, match=r"is not a part of the picture.*64x48"):
        Window.of(crop, (64, 48), YUV420)


@pytest.mark.parametrize("text", ["1:1", "0:0:0:0", "32:1:0:0"])
def test_a_crop_of_less_than_a_sample_of_color_is_refused(text: str) -> None:
    crop = parse_crop(text)
    assert isinstance(crop, Crop)
    with pytest.raises(UsageError, match=r"is too small for yuv420p\. Use at least 2:2"):
        Window.of(crop, (64, 48), YUV420)


def test_words_for_crops() -> None:
    assert (parse_crop("off"), parse_crop(None), parse_crop("auto")) == (None, None, "auto")
    for text in ("32x24", "32:24:8", "-1:2:3:4", "a:b", "", "50%:50%"):
        with pytest.raises(UsageError, match="--crop is"):
            parse_crop(text)
    for value in (5, ("auto",), b"2:2", Crop(2, 2)):
        with pytest.raises(UsageError, match="--crop is"):
            parse_crop(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_window_turns_as_planes_do(turns: int, mirrored: bool) -> None:
    turn = Orientation(turns, mirrored)
    plane = np.arange(64 * 48, dtype=np.uint16).reshape(48, 64)
    gray = Layout(Kind.GRAY, 16)
    window = Window(6, 10, 30, 20, (64, 48))
    (expected,) = window.cut([plane], gray)
    (found,) = window.turned(turn).cut([turn.turn(plane)], gray)
    np.testing.assert_array_equal(found, turn.turn(expected))
    assert window.turned(turn).turned(turn.inverse) == window


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "gray", "gbrp10le", "yuva420p"])
@pytest.mark.parametrize("upright", [False, True])
def test_frames_are_the_part_that_is_shown_there(tmp_path: Path, pix_fmt: str, upright: bool) -> None:
    """A clip that is stored turned: the crop is of what is shown."""
    path = turned_clip(tmp_path / "a.mkv", 1, False, pix_fmt, (48, 32), scenery(3, (48, 32)))
    planes = []
    for crop in (None, Crop(20, 16, 8, 4)):
        with Reader(path, Span(crop=crop), lambda _: None) as reader:
            assert reader.orientation.size(reader.size) == ((32, 48) if crop is None else (20, 16))
            if upright:
                reader.make_upright()
            (first, *_), turn = list(reader.frames()), reader.orientation
        planes.append([turn.turn(plane) for plane in first.planes])
    for whole, part in zip(*planes, strict=True):
        unit = 2 if whole.shape[0] == 24 else 1, 2 if whole.shape[1] == 16 else 1  # of shown rows and columns
        expected = whole[4 // unit[0] : 20 // unit[0], 8 // unit[1] : 28 // unit[1]]
        np.testing.assert_array_equal(part, expected)


@pytest.mark.parametrize(("pix_fmt", "whole", "kept"), [("yuv422p", 7, 6), ("yuv420p", 6, 4)])
def test_fields_stay_what_they_are_where_they_are_kept(tmp_path: Path, pix_fmt: str, whole: int, kept: int) -> None:
    """From an odd row on, of luma or of color, the first field would become the second one."""
    words = ("-c:v", "ffv1", "-pix_fmt", pix_fmt, "-field_order", "tt", "-frames:v", "2")
    path = film(tmp_path / "a.mkv", "scale=48:32,setfield=tff", *words)
    for which, top in ((Deinterlace.OFF, kept), (Deinterlace.AUTO, whole)):
        with Reader(path, Span(crop=Crop(32, 20, 0, 7)), lambda _: None, None, which) as reader:
            assert reader.interlaced
            assert (reader.window.top, reader.window.shape) == (top, (32, 20))


def test_untagged_color_stays_that_of_the_complete_picture(clip: ClipMaker) -> None:
    """Players take 720 rows for BT.709, and 480 for BT.601."""
    path = clip("a.mkv", frames=1, size=(1280, 720))
    with Reader(path, Span(crop=Crop(640, 480, 0, 0)), lambda _: None) as reader:
        assert reader.color.matrix == "bt709"
