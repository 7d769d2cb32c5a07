from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from tests.clips import scenery
from vrx.media.frame import Color, Frame, Kind, Layout
from vrx.scenes.chroma_noise import MAX_CHROMA_NOISE, ChromaNoise
from vrx.scenes.detect import MIN_SCENE_FRAMES, Boundary, detect_cuts
from vrx.scenes.thumbnail import make_thumbnail

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
    return [number for number, item in enumerate(detect_cuts(frames)) if item.boundary is Boundary.HARD]


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("sigma", [0, 3, 10, 20])
def test_noise_neither_adds_nor_hides_a_cut(sigma: float, gray: bool) -> None:
    assert hard(footage(sigma, gray)) == CUTS


@pytest.mark.parametrize("sigma", [2, 8, 18])
def test_a_noisy_gray_shot_stays_one_scene_with_one_reference(sigma: float) -> None:
    boundaries = {
        item.boundary for item in detect_cuts(footage(sigma, gray=True, lengths=(2 * MIN_SCENE_FRAMES + 10,)))
    }
    assert boundaries == {Boundary.NONE}


def test_colors_count_in_clean_footage_and_not_in_noisy_or_gray() -> None:
    def reliable(sigma: float, gray: bool = False) -> bool:
        noise = ChromaNoise(MIN_SCENE_FRAMES)
        for number, item in enumerate(footage(sigma, gray, lengths=(MIN_SCENE_FRAMES,))):
            noise.add(number, make_thumbnail(item))
        return noise.is_color_reliable(MIN_SCENE_FRAMES - 1)

    assert reliable(0)
    assert reliable(MAX_CHROMA_NOISE - 1)
    assert not reliable(MAX_CHROMA_NOISE + 1)
    assert not reliable(0, gray=True)


def test_motion_is_not_taken_for_noise() -> None:
    """Large colored areas that move in half of the frames: noise would be in all of them."""
    noise = ChromaNoise(MIN_SCENE_FRAMES)
    for number in range(2 * MIN_SCENE_FRAMES):
        picture = np.full((32, 48, 3), 60, np.uint8)
        place = 12 * (number // 2 % 4)
        picture[:, place : place + 30, 2] = 220
        noise.add(number, picture)
    assert noise.sigma() == 0
    assert noise.is_color_reliable(MIN_SCENE_FRAMES)
