"""Where a scene stays, a logo is told by its look; in an opaque one, missing parts by their light."""

import cv2
import numpy as np
import pytest

from tests.pipeline.mask.footage import SIZE, Luma, lettering, overlaid, pan, time
from vrx.pipeline.mask import completion
from vrx.pipeline.mask import look as drawn
from vrx.pipeline.mask.completion import complete
from vrx.pipeline.mask.look import find_drawn
from vrx.pipeline.mask.overlays import OverlayFinder

LETTERS = (lettering("KNTV") > 0.5).astype(np.float32)


def still() -> Luma:
    (luma,) = pan(1)
    return luma


def look(luma: Luma) -> list[tuple[tuple[int, int, int, int], bool]]:
    return [(x.box, x.plate) for x in find_drawn(luma.astype(np.float32))]


def test_letters_near_a_corner_are_found_in_a_scene_that_stays() -> None:
    finder = OverlayFinder(SIZE)
    sharp = np.clip((still().astype(float) - 110) * 5 + 80, 20, 150).astype(np.uint8)
    for number in range(30):
        finder.add(overlaid(sharp, lettering("KNTV")), time(3 * number))
    (found,) = finder.finish()
    assert finder.by_look == [found]
    mask = np.zeros(SIZE[::-1], bool)
    mask[found.top : found.top + found.box[3], found.left : found.left + found.box[2]] = found.area
    assert mask[lettering("KNTV") > 0.05].all()
    assert mask.sum() < 3 * (lettering("KNTV") > 0.05).sum()


def test_what_is_shown_a_part_of_the_time_is_not_told_by_its_look() -> None:
    finder = OverlayFinder(SIZE)
    for number in range(30):
        finder.add(overlaid(still(), lettering("KNTV") * (number >= 6)), time(3 * number))
    finder.finish()
    assert finder.by_look == []


def test_a_scene_alone_has_nothing_that_looks_drawn() -> None:
    assert look(still()) == []


def test_letters_are_of_one_light_sharp_three_and_near_a_corner() -> None:
    def has(luma: Luma) -> bool:
        return bool(look(luma))

    base = still() // 2
    assert has(overlaid(base, LETTERS))
    assert not has(overlaid(base, cv2.GaussianBlur(LETTERS, (0, 0), 3).astype(np.float32)))
    assert not has(overlaid(base, (lettering("K") > 0.5).astype(np.float32)))
    assert not has(overlaid(base, np.roll(LETTERS, (60, 90), (0, 1))))  # in the middle
    assert not has(overlaid(base, np.roll(LETTERS, (-22, 0), (0, 1))))  # at the border
    assert not has(overlaid(base, 0.3 * LETTERS))  # dim
    uneven = overlaid(base, LETTERS).astype(np.float32)
    uneven[LETTERS > 0] += np.random.default_rng(1).normal(0, 8, int((LETTERS > 0).sum()))
    assert not has(np.clip(uneven, 0, 255).astype(np.uint8))
    light = np.where(LETTERS > 0, 235, 220).astype(np.uint8)  # hardly brighter than what is around
    assert not has(light)


def test_a_plate_is_a_full_rectangle_with_letters_in_it() -> None:
    base = still() // 2
    plate = base.copy()
    plate[16:50, 12:100] = 220
    assert look(plate) == []  # without letters
    plate[lettering("KNTV") > 0.5] = 20
    ((box, is_plate),) = look(plate)
    assert is_plate
    assert box == (12, 16, 100, 50)
    plate[16:30, 12:40] = base[16:30, 12:40]
    assert not any(x[1] for x in look(plate))


@pytest.mark.parametrize(
    ("level", "deviation", "found"), [(200, 0, True), (190, 0, False), (200, 6, False), (204, 2, True)]
)
def test_a_part_beside_an_opaque_overlay_has_its_light_and_does_not_change(
    level: float, deviation: float, found: bool
) -> None:
    mean, changing = np.full(SIZE[::-1], 90, np.float32), np.full(SIZE[::-1], 10, np.float32)
    mean[40:60, 40:60], changing[40:60, 40:60] = 200, 0
    mean[40:60, 66:76], changing[40:60, 66:76] = level, deviation
    area, left, top = complete(np.ones((24, 24), bool), 38, 38, (mean, changing), 1)
    whole = np.zeros(SIZE[::-1], bool)
    whole[top : top + area.shape[0], left : left + area.shape[1]] = area
    assert whole[40:60, 40:60].all()
    assert whole[40:60, 66:76].all() == found
    assert whole[38:62, 64:78].all() == found  # with its outline
    assert not whole[:30].any()


def test_half_transparent_overlays_and_areas_without_an_outline_are_not_completed() -> None:
    mean, changing = np.full(SIZE[::-1], 90, np.float32), np.full(SIZE[::-1], 10, np.float32)
    mean[40:60, 40:60], changing[40:60, 40:60] = 200, 5
    mean[40:60, 66:76], changing[40:60, 66:76] = 200, 0
    given = np.ones((20, 20), bool)
    assert complete(given, 40, 40, (mean, changing), 1)[0] is given
    changing[:] = 1
    mean[:] = np.where(mean == 200, 200, 193)  # what is beside is as light, and stays
    area, _, _ = complete(given, 40, 40, (mean, changing), 1)
    assert area.sum() == given.sum()
    mean[40:60, 62:82] = np.where(np.arange(20) % 2, 150, 200)  # a part of it stands out
    area, _, _ = complete(given, 40, 40, (mean, changing), 1)
    assert area.sum() == given.sum()
    mean[40:60, 20:100] = 200  # reaches the border of what is looked at
    area, _, _ = complete(given, 40, 40, (mean, changing), 1)
    assert area.sum() == given.sum()


def test_settings_are_those_that_were_tried() -> None:
    x = drawn
    assert (x.ZONE, x.BORDER, x.DIMMEST, x.BRIGHTEST, x.STEP) == ((0.42, 0.3), 0.015, 160, 240, 5)
    assert (x.TOLERANCE, x.EVEN, x.MOST_OFF, x.CONTRAST, x.AROUND) == (6.0, 3.3, 3.0, 25.0, 0.85)
    assert (x.SHORTEST, x.TALLEST, x.LEAST_AREA, x.FEWEST, x.WIDE, x.FILLED) == (8, 60, 8, 3, 1.6, (0.2, 0.8))
    assert (x.APART, x.SAME_ROW, x.ALIKE) == (0.7, 0.6, 1.9)
    assert (x.PLATE_HEIGHT, x.PLATE_WIDE, x.PLATE_FULL, x.PLATE_HOLES) == (14, 1.2, 0.93, (0.05, 0.6))
    c = completion
    assert (c.STEADY, c.SAME_LIGHT, c.OPAQUE, c.LEAST_AREA, c.REACH) == (3.0, 6.0, 0.5, 6, 1.0)
    assert (c.DIFFERENT, c.CHANGING, c.OUTLINED, c.EDGE) == (12.0, 6.0, 0.85, 2)
