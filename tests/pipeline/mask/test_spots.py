"""Dust and scratches are in one frame only; dead pixels in all, whatever the picture shows."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from tests.pipeline.mask.footage import SIZE, Luma, pan
from vrx.pipeline.mask import outliers, pixels
from vrx.pipeline.mask import tally as counts
from vrx.pipeline.mask.outliers import OutlierFinder
from vrx.pipeline.mask.pixels import DeadPixelFinder
from vrx.pipeline.mask.tally import SpotTally

NOTHING = np.zeros(SIZE[::-1], bool)
MOVING = 0.3  # steadiness of a scene


def three(x: int = 2, y: int = 1) -> list[Luma]:
    return list(pan(3, x, y))


@pytest.mark.parametrize("level", [0, 255])
def test_a_spot_of_one_frame_is_dust(level: int) -> None:
    before, now, after = three()
    top, left = np.argwhere(np.abs(cv2.blur(now, (15, 15)).astype(int) - 128)[30:150, 30:280] < 3)[0] + 30
    now[top : top + 4, left : left + 5] = level
    found = OutlierFinder(SIZE).find(before, now, after)
    assert len(found.centers) == 1
    assert found.dust[top : top + 4, left : left + 5].mean() > 0.8
    assert found.dust.sum() < 40
    assert found.lines == 0
    assert np.abs(found.centers[0] - (left + 2, top + 1.5)).max() < 1


def test_a_thin_upright_line_of_one_frame_is_a_scratch() -> None:
    before, now, after = three()
    now[30:130, 200:202] = 240
    found = OutlierFinder(SIZE).find(before, now, after)
    assert (found.lines, len(found.centers)) == (1, 0)
    assert found.scratches[30:130, 200:202].mean() > 0.9


def test_clean_frames_cuts_and_flashes_have_none() -> None:
    before, now, after = three()
    finder = OutlierFinder(SIZE)
    assert not finder.find(before, now, after).dust.any()
    other = np.ascontiguousarray(now[::-1, ::-1])
    assert not finder.find(before, other, other).dust.any()
    flash = np.clip(now.astype(int) + 40, 0, 255).astype(np.uint8)
    assert not finder.find(before, flash, after).dust.any()


def test_what_moves_on_is_no_dust() -> None:
    finder, pictures = OutlierFinder(SIZE), three(0, 0)
    for number, picture in enumerate(pictures):
        picture[80:92, 90 + 6 * number : 102 + 6 * number] = 240
    assert not finder.find(*pictures).dust.any()


def test_spots_count_as_dust_where_they_are_everywhere() -> None:
    rng, spread, crowded, rare = np.random.default_rng(0), SpotTally(SIZE), SpotTally(SIZE), SpotTally(SIZE)
    for number in range(40):
        spread.add(rng.random((1, 2)) * SIZE, 0)
        crowded.add(rng.random((1, 2)) * 30 + 100, 0)
        rare.add(rng.random((1, 2))[: number % 8 == 0] * SIZE, int(number < 3))
    assert spread.has_dust
    assert not crowded.has_dust
    assert not rare.has_dust
    assert rare.has_scratches
    assert not spread.has_scratches


def test_spots_half_of_which_are_at_one_place_are_something_that_moves_there() -> None:
    tally, places = SpotTally(SIZE), np.random.default_rng(1).random((60, 2)) * SIZE
    tally.add(places, 0)
    assert tally.has_dust
    tally.add(np.full((60, 2), 10.0), 0)
    assert not tally.has_dust


def dirty(frames: int) -> Iterator[Luma]:
    for luma in pan(frames):
        luma[20, 30], luma[100, 200], luma[101, 200] = 255, 0, 0
        yield luma


def test_dead_pixels_stand_out_in_every_sample() -> None:
    finder = DeadPixelFinder(SIZE)
    for luma in dirty(12):
        finder.add(luma)
    found, count = finder.finish(NOTHING, MOVING)
    assert count == 2
    assert np.argwhere(found).tolist() == [[20, 30], [100, 200], [101, 200]]
    other = NOTHING.copy()
    other[20, 30] = True
    assert finder.finish(other, MOVING)[1] == 1


@pytest.mark.parametrize(
    ("contrast", "shown", "usual", "found"),
    [
        (20, 20, MOVING, 1),
        (20, 14, MOVING, 0),  # faint, and at times only
        (60, 14, MOVING, 1),
        (60, 10, MOVING, 0),
        (20, 20, 3.0, 0),  # as faint as dots of a scene that moves little
        (60, 14, 3.0, 1),
    ],
)
def test_a_dead_pixel_is_always_there_or_clear(contrast: int, shown: int, usual: float, found: int) -> None:
    finder = DeadPixelFinder(SIZE)
    for number in range(20):
        luma = np.full(SIZE[::-1], 100, np.uint8)
        luma[90, 150] += contrast * (number < shown)
        finder.add(luma)
    assert finder.finish(NOTHING, usual)[1] == found


def test_dead_pixels_of_a_film_are_counted_to_its_end() -> None:
    finder, luma = DeadPixelFinder((64, 48)), np.full((48, 64), 100, np.uint8)
    luma[20, 30] = 130
    finder.add(luma)
    for plane in (finder._above, finder._sum):
        plane *= 1 << 16  # samples of more than two hours
    finder._samples = 1 << 16
    for _ in range(9):
        finder.add(luma)
    assert finder.finish(np.zeros((48, 64), bool), MOVING)[1] == 1


def test_too_few_samples_and_texture_have_no_dead_pixels() -> None:
    few, crowd = DeadPixelFinder(SIZE), DeadPixelFinder(SIZE)
    for number, luma in enumerate(dirty(12)):
        if number < 7:
            few.add(luma)
        luma[60:80:8, 60:100:8] = 255
        luma[20, 30] = luma[100:102, 200] = 120
        crowd.add(luma)
    dead, count = few.finish(NOTHING, MOVING)
    assert np.array_equal(dead, NOTHING)
    assert count == 0
    assert crowd.finish(NOTHING, MOVING)[1] == 0


def test_a_scene_that_stays_has_dots_of_its_own() -> None:
    finder = DeadPixelFinder(SIZE)
    for luma in dirty(12):
        finder.add(luma)
    assert finder.finish(NOTHING, pixels.MOST_USUAL)[1] == 2
    assert finder.finish(NOTHING, pixels.MOST_USUAL + 0.1)[1] == 0
    assert finder.finish(NOTHING, None)[1] == 0


def test_settings_are_those_that_were_tried() -> None:
    assert (outliers.LEAST_LEVELS, outliers.QUIET, outliers.AGREED, outliers.AROUND, outliers.RING) == (
        18.0, 0.4, 0.25, 0.3, 4,
    )  # fmt: skip
    assert (outliers.NOISES, outliers.REST, outliers.MOST_MOTION, outliers.MOST_DRIFT) == (5.0, 0.4, 60.0, 6.0)
    assert (outliers.FLOW_SIDE, outliers.LEAST_AREA, outliers.MOST_AREA, outliers.MOST_TOTAL) == (480, 3, 0.004, 0.06)
    assert outliers.LEAST_FLOW_SIDE == 32
    assert (outliers.MOST_CHANGE, outliers.SLENDER, outliers.TALL) == (60.0, 6.0, 0.1)
    assert (pixels.LEVELS, pixels.SHARE, pixels.LEAST_SAMPLES, pixels.CROWD) == (12, 0.85, 8, 41)
    assert (pixels.CLEAR, pixels.MOSTLY, pixels.LITTLE, pixels.FAINT) == (28.0, 0.6, 2.0, 6.0)
    assert (pixels.OFTEN, pixels.SIDE, pixels.MOST_AREA, pixels.MOST_NEAR) == (0.3, 5, 9, 3)
    assert (counts.CELLS, counts.LEAST_SPOTS, counts.LEAST_RATE, counts.MOST_IN_CELL, counts.LEAST_SCRATCHES) == (
        4, 8, 0.1, 0.35, 3,
    )  # fmt: skip
