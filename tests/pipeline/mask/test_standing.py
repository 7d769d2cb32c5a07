"""Scratches that stay for many frames, over pictures that move, and what only looks like them."""

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.pipeline.mask.footage import RATE, Luma, texture, write
from vrx.media.masks import MaskTrack
from vrx.pipeline.mask import standing
from vrx.pipeline.mask.run import MaskSettings, make_mask
from vrx.pipeline.mask.standing import Standing, StandingFinder, StandingMask

WIDTH, HEIGHT = 320, 240
WHERE = 200.0  # column of the scratch
WOBBLE = np.random.default_rng(3).normal(0, 0.2, 200)


def scene(x: float, whole: Luma) -> Luma:
    """Where the camera is."""
    left = 300 + round(x)
    return whole[60 : 60 + HEIGHT, left : left + WIDTH].copy()


def scratched(luma: Luma, number: int, contrast: float = 40.0, rows: slice = slice(None)) -> Luma:
    """With a line two pixels wide that leans and wanders a little, in some rows."""
    middle = WHERE + WOBBLE[number] + np.linspace(-0.5, 0.5, len(luma))[:, None]
    line = contrast * np.exp(-0.5 * ((np.arange(luma.shape[1]) - middle) / 1.0) ** 2)
    found = luma.astype(float)
    found[rows] += line[rows]
    return np.clip(found, 0, 255).round().astype(np.uint8)


def find(pictures: Iterable[Luma]) -> list[Standing]:
    """What is found."""
    finder = None
    for luma in pictures:
        finder = finder or StandingFinder(luma.shape[::-1])
        finder.add(luma)
    return finder.finish() if finder else []


def pan(number: int) -> float:
    return 1.5 * number


def shake(number: int) -> float:
    return 3.0 * np.sin(number * 0.9)


@pytest.mark.parametrize("contrast", [40.0, -40.0])
@pytest.mark.parametrize("move", [pan, shake])
def test_a_line_that_stays_while_the_picture_moves_is_a_scratch(move: Callable[[int], float], contrast: float) -> None:
    whole = texture()
    clean = [scene(move(n), whole) for n in range(30)]
    damaged = [scratched(luma, n, contrast) if 5 <= n < 25 else luma for n, luma in enumerate(clean)]
    assert find(clean) == []
    (found,) = find(damaged)
    assert (found.first, found.last, found.lighter) == (5, 24, contrast > 0)
    assert abs(found.left - WHERE) < 2
    assert abs(found.right - WHERE) < 2
    drawn = StandingMask((WIDTH, HEIGHT), [found])
    assert drawn.draw(damaged[4], 4) == drawn.draw(damaged[25], 25) == {}
    (area,) = drawn.draw(damaged[15], 15).values()
    line = np.abs(damaged[15].astype(int) - clean[15]) >= 20
    assert area[line].mean() > 0.97
    assert area.sum() < 4 * line.sum()


@pytest.mark.parametrize("move", [pan, shake, lambda _: 0.0])
def test_a_pole_of_the_scene_is_none(move: Callable[[int], float]) -> None:
    whole = texture()
    whole[:, 495:498] = 235
    assert find(scene(move(n), whole) for n in range(40)) == []


def test_a_line_that_passes_some_of_the_height_or_of_the_time_is_none() -> None:
    whole = texture()
    pictures = [scene(pan(n), whole) for n in range(30)]
    part = slice(0, round(0.6 * HEIGHT))
    assert find(scratched(luma, n, rows=part) for n, luma in enumerate(pictures)) == []
    for frames in (standing.SHORTEST - 1, standing.SHORTEST):
        found = find(scratched(luma, n) if n < frames else luma for n, luma in enumerate(pictures))
        assert bool(found) == (frames == standing.SHORTEST)


def test_frames_that_do_not_show_it_do_not_end_it() -> None:
    whole = texture()
    shown = [n for n in range(30) if n not in (10, 11, 12)]
    pictures = [scratched(scene(pan(n), whole), n) if n in shown else scene(pan(n), whole) for n in range(30)]
    (found,) = find(pictures)
    assert (found.first, found.last) == (0, 29)
    assert StandingMask((WIDTH, HEIGHT), [found]).draw(pictures[11], 11) == {}


def test_the_border_of_bars_is_none() -> None:
    whole = texture()
    pictures = [scene(pan(n), whole) for n in range(30)]
    for n, luma in enumerate(pictures):
        luma[:, :60] = 16
        luma[:, 60 : 62 + n % 2] = 200
    assert find(pictures) == []


def test_small_pictures_have_none() -> None:
    whole = texture()
    pictures = [scratched(scene(pan(n), whole), n) for n in range(30)]
    assert find(luma[: standing.LEAST_HEIGHT] for luma in pictures)
    assert find(luma[: standing.LEAST_HEIGHT - 1] for luma in pictures) == []


def test_it_is_masked_and_told(tmp_path: Path) -> None:
    whole = texture()
    clip = write(tmp_path / "film.mkv", (scratched(scene(pan(n), whole), n) for n in range(24)))
    result = make_mask(clip, None, MaskSettings())
    (found,) = result.finds  # its pixels are not dead ones
    assert (found.kind, found.frames, found.count) == ("scratch", 24, 1)
    assert result.mask is not None
    with MaskTrack(result.mask, (WIDTH, HEIGHT), lambda _: None) as track:
        mask = track.at(Fraction(12, RATE))
    assert mask[:, round(WHERE)].mean() > 0.97
    assert not mask[:, : round(WHERE) - 20].any()
    other = make_mask(clip, tmp_path / "other.mkv", MaskSettings(kinds=frozenset({"dust", "overlays"})))
    assert other.finds == ()


def test_settings_are_those_that_were_tried() -> None:
    assert (standing.LEAST_HEIGHT, standing.ROWS, standing.WIDEST, standing.LEAST_LEVELS) == (200, 0.05, 6, 2.5)
    assert (standing.PROMINENCE, standing.AROUND, standing.LEAST_SHARE, standing.LONG) == (2.5, 24, 0.45, 0.8)
    assert (standing.DRIFT, standing.RANGE, standing.SHORTEST, standing.MISSED, standing.SEEN) == (2, 10, 12, 3, 0.6)
    assert (standing.APART, standing.FOLLOWS, standing.MOST_MOTION, standing.BESIDE) == (0.25, 0.5, 2.0, 40)
    assert (standing.BLOCKS, standing.PLAIN, standing.FAINT, standing.SOFT) == (16, 0.03, 0.1, 2.0)
    assert (standing.GAP, standing.FOOT) == (0.1, 0.4)
