from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from tests.clips import scenery
from vrx.media.frame import Color, Frame, Kind, Layout
from vrx.scenes.color_noise import CHROMA_NOISE, ColorTrust
from vrx.scenes.detect import LEAST_SCENE, Turn, mark, thumbnail

SIZE = (96, 64)
CUTS = [20, 45]


def footage(
    sigma: float, gray: bool = False, seed: int = 0, lengths: tuple[int, ...] = (20, 25, 24)
) -> Iterator[Frame]:
    """Three shots with noise of `sigma` levels in luma and chroma, 4:4:4 and full range."""
    rng = np.random.default_rng(seed)
    number = 0
    for shot, length in enumerate(lengths):
        for _ in range(length):
            red, green, blue = scenery(number, SIZE, shot).astype(np.float32).transpose(2, 0, 1)
            luma = 0.299 * red + 0.587 * green + 0.114 * blue
            chroma = (np.full_like(luma, 128),) * 2 if gray else (128 + (blue - luma) / 2, 128 + (red - luma) / 2)
            planes = [p + sigma * rng.standard_normal(p.shape) for p in (luma, *chroma)]
            whole = tuple(np.clip(np.rint(p), 0, 255).astype(np.uint8) for p in planes)
            yield Frame(whole, Layout(Kind.YUV, 8), Color(full_range=True), number * 40, Fraction(1, 1000))
            number += 1


def hard(frames: Iterator[Frame]) -> list[int]:
    return [number for number, item in enumerate(mark(frames)) if item.turn is Turn.HARD]


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("sigma", [0, 3, 10, 20])
def test_noise_neither_adds_nor_hides_a_cut(sigma: float, gray: bool) -> None:
    assert hard(footage(sigma, gray)) == CUTS


@pytest.mark.parametrize("sigma", [2, 8, 18])
def test_a_noisy_gray_shot_stays_one_scene_with_one_reference(sigma: float) -> None:
    turns = {item.turn for item in mark(footage(sigma, gray=True, lengths=(2 * LEAST_SCENE + 10,)))}
    assert turns == {Turn.NONE}


def test_colors_count_in_clean_footage_and_not_in_noisy_or_gray() -> None:
    def trust(sigma: float, gray: bool = False) -> bool:
        following = ColorTrust(LEAST_SCENE)
        for number, item in enumerate(footage(sigma, gray, lengths=(LEAST_SCENE,))):
            following.add(number, thumbnail(item))
        return following.trusted(LEAST_SCENE - 1)

    assert trust(0)
    assert trust(CHROMA_NOISE - 1)
    assert not trust(CHROMA_NOISE + 1)
    assert not trust(0, gray=True)


def test_motion_is_not_taken_for_noise() -> None:
    """Large colored areas that move in half of the frames: noise would be in all of them."""
    following = ColorTrust(LEAST_SCENE)
    for number in range(2 * LEAST_SCENE):
        picture = np.full((32, 48, 3), 60, np.uint8)
        place = 12 * (number // 2 % 4)
        picture[:, place : place + 30, 2] = 220
        following.add(number, picture)
    assert following.noise() == 0
    assert following.trusted(LEAST_SCENE)
