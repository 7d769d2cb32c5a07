from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.clips import turned_clip
from vrx.events import Note
from vrx.media import ffmpeg
from vrx.media.frame import Color, Kind, Layout
from vrx.media.orientation import UPRIGHT, Orientation, parse_display_matrix, read_orientation
from vrx.media.read import Reader, Span

EIGHT = [Orientation(turns, mirrored) for turns, mirrored in product(range(4), (False, True))]
ONE = 65536


def shown_by(matrix: tuple[int, int, int, int], plane: np.ndarray) -> np.ndarray:
    """A plane as the matrix says, sample by sample: what is stored at (x, y) is shown at (ax + cy, bx + dy)."""
    a, b, c, d = matrix
    places = {(a * x + c * y, b * x + d * y): plane[y, x] for y, x in np.ndindex(plane.shape)}
    left, top = (min(place[axis] for place in places) for axis in (0, 1))
    height, width = plane.shape if a else plane.shape[::-1]
    found = np.zeros((height, width), plane.dtype)
    for (x, y), value in places.items():
        found[y - top, x - left] = value
    return found


MATRICES = [(a, 0, 0, d) for a, d in product((1, -1), repeat=2)] + [(0, b, c, 0) for b, c in product((1, -1), repeat=2)]


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("scale", [ONE, ONE // 2 + 7])
def test_planes_are_turned_as_the_matrix_says(matrix: tuple[int, int, int, int], scale: int) -> None:
    a, b, c, d = (scale * part for part in matrix)
    found = parse_display_matrix((a, b, 0, c, d, 0, 300 * ONE, 0, 1 << 30))
    assert found is not None
    plane = np.arange(15).reshape(3, 5)
    assert np.array_equal(found.turn(plane), shown_by(matrix, plane))
    assert np.array_equal(found.inverse.turn(found.turn(plane)), plane)
    assert found.size((5, 3)) == found.turn(plane).shape[::-1]


def test_eight_matrices_are_eight_orientations() -> None:
    assert {parse_display_matrix((a, b, 0, c, d, 0, 0, 0, 1)) for a, b, c, d in MATRICES} == set(EIGHT)
    assert len({str(orientation) for orientation in EIGHT}) == 8


@pytest.mark.parametrize("degrees", [30, 45, 88.5, -135])
def test_other_angles_are_none(degrees: float) -> None:
    cosine, sine = (int(ONE * f(np.radians(degrees))) for f in (np.cos, np.sin))
    assert parse_display_matrix((cosine, -sine, 0, sine, cosine, 0, 0, 0, 1 << 30)) is None
    assert parse_display_matrix((0, 0, 0, 0, 0, 0, 0, 0, 0)) is None
    assert parse_display_matrix((ONE, 0, 0, ONE, 0, 0, 0, 0, 1 << 30)) is None  # all on one line


@given(st.sampled_from(EIGHT), st.sampled_from([(0, 0), (1, 0), (1, 1), (0, 1), (2, 0)]))
def test_shapes_turn_with_the_planes(orientation: Orientation, shifts: tuple[int, int]) -> None:
    layout = Layout(Kind.YUV, 8, *shifts)
    turned = orientation.layout(layout)
    chroma = np.zeros(layout.chroma_size(7, 5)[::-1])
    assert orientation.turn(chroma).shape[::-1] == turned.chroma_size(*orientation.size((7, 5)))
    assert orientation.inverse.layout(turned) == layout
    assert orientation.aspect(Fraction(4, 3)) == (Fraction(3, 4) if orientation.swaps_axes else Fraction(4, 3))
    assert orientation.aspect(Fraction(0)) == 0
    place = orientation.color(Color(chroma_location="left"), layout).chroma_location
    assert place == ("top" if orientation.swaps_axes and any(shifts) else "left")


@pytest.mark.parametrize("orientation", EIGHT, ids=str)
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le"])
def test_frames_are_upright_when_asked_for(tmp_path: Path, orientation: Orientation, pix_fmt: str) -> None:
    path = turned_clip(tmp_path / "a.mkv", orientation.turns, orientation.mirrored, pix_fmt, (47, 33))
    with Reader(path, Span(), lambda _: None) as reader:
        assert reader.orientation == orientation
        info = reader.info.video
        assert (info.rotation % 360, info.mirrored) == (90 * orientation.turns, orientation.mirrored)
        stored = list(reader.frames())
    with Reader(path, Span(), lambda _: None) as reader:
        reader.make_upright()
        assert (reader.orientation, reader.applied_orientation) == (UPRIGHT, orientation)
        shown = list(reader.frames())
        assert (shown[0].width, shown[0].height) == reader.size == orientation.size((47, 33))
    for before, after in zip(stored, shown, strict=True):
        assert after.layout == reader.layout
        for old, new in zip(before.planes, after.planes, strict=True):
            assert np.array_equal(orientation.turn(old), new)


def test_an_odd_angle_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as box:
        video = box.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.set_display_rotation(30)
        box.mux([*video.encode(av.VideoFrame(64, 48, "yuv420p")), *video.encode(None)])
    notes: list[Note] = []
    with Reader(path, Span(), notes.append) as reader:
        assert reader.orientation == UPRIGHT
    assert "at an angle" in notes[0].text


def test_colors_of_untagged_video_outlive_the_turn(tmp_path: Path) -> None:
    """1024x400 is taken for standard definition; 400x1024, as it is shown, would not be."""
    with Reader(turned_clip(tmp_path / "a.mkv", 1, False, size=(1024, 400)), Span(), lambda _: None) as reader:
        reader.make_upright()
        assert (reader.color.matrix, reader.color.chroma_location) == ("smpte170m", "top")


def test_a_picture_without_a_matrix_is_upright() -> None:
    assert read_orientation(av.VideoFrame(16, 16, "yuv420p")) == UPRIGHT


def test_an_orientation_that_only_key_frames_say_holds_for_all(tmp_path: Path) -> None:
    """As phones' streams have it in H.264 itself; and one that changes is said."""
    for name, turn in (("a.ts", "90:flip=horizontal"), ("b.ts", "180")):
        words = ["-y", "-f", "lavfi", "-i", "testsrc2=size=48x32:rate=10:duration=1", "-c:v", "libx264", "-g", "4"]
        words += ["-bsf:v", f"h264_metadata=rotate={turn}:display_orientation=insert", str(tmp_path / name)]
        ffmpeg.FFmpegProcess(words).finish()
    notes: list[Note] = []
    with Reader(tmp_path / "a.ts", Span(Fraction(1, 2)), notes.append) as reader:
        assert reader.orientation == Orientation(3, mirrored=True)
        list(reader.frames())
    assert not any("orientation changes" in note.text for note in notes)
    (tmp_path / "c.ts").write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    with Reader(tmp_path / "c.ts", Span(), notes.append) as reader:
        list(reader.frames())
    assert any("the orientation changes" in note.text for note in notes)
