from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.clips import scenery
from tests.pipeline.frames import frame
from vrx.errors import InputError, UsageError
from vrx.media.frame import Color, Frame, Kind, Layout
from vrx.scenes.detect import LEAST_SCENE, Marked, Turn, mark, mark_at, read_cuts, scenes, thumbnail

SIZE = (96, 64)


def shots(lengths: list[int]) -> Iterator[Frame]:
    number = 0
    for shot, length in enumerate(lengths):
        for _ in range(length):
            yield frame(number, SIZE, shot)
            number += 1


def hard(marked: list[Marked]) -> list[int]:
    return [i for i, m in enumerate(marked) if m.turn is Turn.HARD]


@pytest.mark.parametrize("lengths", [[20, 30, 25], [16, 16, 16, 16], [40, 17], [5, 30], [30, 3]])
def test_cuts_are_found_at_their_frame_and_no_frame_is_lost(lengths: list[int]) -> None:
    marked = list(mark(shots(lengths)))
    assert [m.frame.pts for m in marked] == [40 * i for i in range(sum(lengths))]
    borders = np.cumsum(lengths)[:-1].tolist()
    found = hard(marked)
    assert set(found) <= set(borders)
    late = [b for b in borders if sum(lengths) - b > LEAST_SCENE]
    assert set(late) <= set(found)


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 60])
def test_one_shot_has_no_cut(count: int) -> None:
    marked = list(mark(shots([count])))
    assert len(marked) == count
    assert hard(marked) == []


def test_only_a_few_frames_wait() -> None:
    asked = 0

    def counted() -> Iterator[Frame]:
        nonlocal asked
        for item in shots([200]):
            asked += 1
            yield item

    for done, _ in enumerate(mark(counted()), start=1):
        assert asked - done <= LEAST_SCENE + 1


def test_a_slow_fade_refreshes_the_reference_without_a_cut() -> None:
    def fade() -> Iterator[Frame]:
        for number in range(80):
            share = np.clip((number - 20) / 40, 0, 1)
            picture = (scenery(0, SIZE, 0) * (1 - share) + scenery(0, SIZE, 1) * share).astype(np.uint8)
            planes = tuple(np.ascontiguousarray(picture[..., c]) for c in range(3))
            yield Frame(planes, Layout(Kind.RGB, 8), Color(), number * 40, Fraction(1, 1000))

    turns = [m.turn for m in mark(fade())]
    assert Turn.HARD not in turns
    assert Turn.SOFT in turns


@pytest.mark.parametrize(("changes", "refreshed"), [(10, 16), (21, 20)])
def test_a_reference_lasts_15_frames_and_is_looked_at_every_fourth(changes: int, refreshed: int) -> None:
    """InfVSR, A.3.  The change takes six frames, so that it is not a cut."""

    def fade() -> Iterator[Frame]:
        for number in range(40):
            share = np.clip((number - changes + 6) / 6, 0, 1)
            picture = (scenery(0, SIZE, 0) * (1 - share) + scenery(0, SIZE, 1) * share).astype(np.uint8)
            planes = tuple(np.ascontiguousarray(picture[..., c]) for c in range(3))
            yield Frame(planes, Layout(Kind.RGB, 8), Color(), number * 40, Fraction(1, 1000))

    turns = [m.turn for m in mark(fade())]
    assert Turn.HARD not in turns
    assert turns.index(Turn.SOFT) == refreshed


@pytest.mark.parametrize(
    ("layout", "level", "full"),
    [
        (Layout(Kind.YUV, 8, 1, 1), 126, False),
        (Layout(Kind.YUV, 10, 1, 1), 504, False),
        (Layout(Kind.GRAY, 8), 128, True),
    ],
)
def test_thumbnails_are_gray_where_the_picture_is(layout: Layout, level: int, full: bool) -> None:
    kind = np.uint8 if layout.depth == 8 else np.uint16
    neutral = 128 << (layout.depth - 8)
    planes = [np.full((64, 96), level, kind)]
    if layout.kind is Kind.YUV:
        planes += [np.full((32, 48), neutral, kind)] * 2
    picture = thumbnail(Frame(tuple(planes), layout, Color(full_range=full), 0, Fraction(1, 25)))
    assert picture.shape == (64, 96, 3)
    assert np.abs(picture.astype(int) - 128).max() <= 1


def test_large_pictures_become_small() -> None:
    assert thumbnail(frame(0, (1030, 515))).shape[1] <= 300


def test_given_cuts_are_the_only_ones() -> None:
    assert hard(list(mark_at(shots([5, 5, 5]), frozenset({0, 7})))) == [7]


@pytest.mark.parametrize(
    "text",
    [
        "# ours\n37\n89\n",
        "scene,start_frame,end_frame,start_seconds,end_seconds\n1,0,37,0,1\n2,37,89,1,2\n3,89,120,2,3\n",
        "Timecode List:\nScene Number,Start Frame,Start Timecode\n1,1,00:00:00\n2,38,00:00:01\n3,90,00:00:03\n",
    ],
)
def test_cut_lists_are_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cuts"
    path.write_text(text)
    assert read_cuts(path) == frozenset({37, 89})


def test_bad_cut_lists_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"[Nn]o such"):
        read_cuts(tmp_path / "none")
    (tmp_path / "bad").write_text("one\ntwo\n")
    with pytest.raises(UsageError, match="no cut list"):
        read_cuts(tmp_path / "bad")


def test_scenes_cover_every_frame() -> None:
    found = list(scenes(mark_at(shots([9]), frozenset({3, 5}))))
    assert [(s.number, s.start, s.end) for s in found] == [(1, 0, 3), (2, 3, 5), (3, 5, 9)]
    assert found[0].end_time == found[1].start_time == Fraction(120, 1000)
    assert found[-1].end_time == Fraction(360, 1000)
    assert list(scenes(iter([]))) == []
    assert len(list(scenes(mark_at(shots([1]), frozenset())))) == 1
