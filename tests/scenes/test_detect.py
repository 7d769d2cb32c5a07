from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from tests.clips import scenery
from tests.pipeline.frames import frame
from vrx.media.frame import Color, Frame, Kind, Layout
from vrx.scenes.detect import MIN_SCENE_FRAMES, Boundary, SceneFrame, apply_cuts, detect_cuts, group_scenes

SIZE = (96, 64)


def shots(lengths: list[int]) -> Iterator[Frame]:
    number = 0
    for shot, length in enumerate(lengths):
        for _ in range(length):
            yield frame(number, SIZE, shot)
            number += 1


def hard_cuts(frames: list[SceneFrame]) -> list[int]:
    return [i for i, m in enumerate(frames) if m.boundary is Boundary.HARD]


@pytest.mark.parametrize("lengths", [[20, 30, 25], [16, 16, 16, 16], [40, 17], [5, 30], [30, 3]])
def test_cuts_are_found_at_their_frame_and_no_frame_is_lost(lengths: list[int]) -> None:
    found = list(detect_cuts(shots(lengths)))
    assert [m.frame.pts for m in found] == [40 * i for i in range(sum(lengths))]
    borders = np.cumsum(lengths)[:-1].tolist()
    cuts = hard_cuts(found)
    assert set(cuts) <= set(borders)
    late = [b for b in borders if sum(lengths) - b > MIN_SCENE_FRAMES]
    assert set(late) <= set(cuts)


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 60])
def test_one_shot_has_no_cut(count: int) -> None:
    found = list(detect_cuts(shots([count])))
    assert len(found) == count
    assert hard_cuts(found) == []


def test_only_a_few_frames_wait() -> None:
    asked = 0

    def counted() -> Iterator[Frame]:
        nonlocal asked
        for item in shots([200]):
            asked += 1
            yield item

    for done, _ in enumerate(detect_cuts(counted()), start=1):
        assert asked - done <= MIN_SCENE_FRAMES + 1


def test_a_slow_fade_refreshes_the_reference_without_a_cut() -> None:
    def fade() -> Iterator[Frame]:
        for number in range(80):
            share = np.clip((number - 20) / 40, 0, 1)
            picture = (scenery(0, SIZE, 0) * (1 - share) + scenery(0, SIZE, 1) * share).astype(np.uint8)
            planes = tuple(np.ascontiguousarray(picture[..., c]) for c in range(3))
            yield Frame(planes, Layout(Kind.RGB, 8), Color(), number * 40, Fraction(1, 1000))

    boundaries = [m.boundary for m in detect_cuts(fade())]
    assert Boundary.HARD not in boundaries
    assert Boundary.SOFT in boundaries


@pytest.mark.parametrize(("changes", "refreshed"), [(10, 16), (21, 20)])
def test_a_reference_lasts_15_frames_and_is_looked_at_every_fourth(changes: int, refreshed: int) -> None:
    """InfVSR, A.3.  The change takes six frames, so that it is not a cut."""

    def fade() -> Iterator[Frame]:
        for number in range(40):
            share = np.clip((number - changes + 6) / 6, 0, 1)
            picture = (scenery(0, SIZE, 0) * (1 - share) + scenery(0, SIZE, 1) * share).astype(np.uint8)
            planes = tuple(np.ascontiguousarray(picture[..., c]) for c in range(3))
            yield Frame(planes, Layout(Kind.RGB, 8), Color(), number * 40, Fraction(1, 1000))

    boundaries = [m.boundary for m in detect_cuts(fade())]
    assert Boundary.HARD not in boundaries
    assert boundaries.index(Boundary.SOFT) == refreshed


def test_given_cuts_are_the_only_ones() -> None:
    assert hard_cuts(list(apply_cuts(shots([5, 5, 5]), frozenset({0, 7})))) == [7]


def test_scenes_cover_every_frame() -> None:
    found = list(group_scenes(apply_cuts(shots([9]), frozenset({3, 5}))))
    assert [(s.number, s.start, s.end) for s in found] == [(1, 0, 3), (2, 3, 5), (3, 5, 9)]
    assert found[0].end_time == found[1].start_time == Fraction(120, 1000)
    assert found[-1].end_time == Fraction(360, 1000)
    assert list(group_scenes(iter([]))) == []
    assert len(list(group_scenes(apply_cuts(shots([1]), frozenset())))) == 1
