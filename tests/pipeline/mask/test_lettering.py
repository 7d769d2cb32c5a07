"""Lettering is told by letters of one light and height in rows; its mask reaches around its outline, and its plate."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from tests.pipeline.mask.footage import SIZE, Luma, lettering, overlaid, pan, texture, time
from vrx.pipeline.mask import lettering as module
from vrx.pipeline.mask.lettering import find_letters
from vrx.pipeline.mask.overlays import OverlayFinder
from vrx.pipeline.mask.samples import Area, Sampler, gradients


def edges_of(luma: Luma) -> Area:
    return np.asarray(np.hypot(*gradients(luma)) >= 12)


def still(contrast: int = 1) -> Luma:
    (soft,) = pan(1)
    return np.clip((soft.astype(float) - 110) * contrast + 110, 20, 235).astype(np.uint8)


def mask_of(pictures: Iterator[Luma], number: int) -> Area:
    """What is masked of all that is shown in a frame."""
    finder, sampler, kept = OverlayFinder(SIZE), Sampler(), np.zeros(SIZE[::-1], np.uint8)
    for n, luma in enumerate(pictures):
        kept = luma if n == number else kept
        if sampler.is_next(time(n)):
            finder.add(luma, time(n))
    mask = np.zeros(SIZE[::-1], bool)
    for overlay in finder.finish():
        if overlay.is_certain(time(number)) or overlay.is_shown(kept):
            left, top, width, height = overlay.box
            mask[top : top + height, left : left + width] |= overlay.area
    return mask


def test_letters_are_found_with_their_edges_and_without_those_of_the_scene() -> None:
    letters = lettering("Well then")
    luma = overlaid(still(3), letters)
    found = find_letters(luma, edges_of(luma), 0, 0, 1.0)
    assert found is None  # most of what is as bright is of the scene
    near = cv2.dilate((letters > 0).astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
    found = find_letters(luma, edges_of(luma) & near, 0, 0, 1.0)
    assert found is not None
    assert found.area[letters > 0.9].mean() > 0.95
    assert not (found.area & ~near).any()
    assert (found.edges & (letters > 0)).any()
    assert not (found.edges & ~near).any()


@pytest.mark.parametrize("kind", ["texture", "lights", "heights", "two", "slanted"])
def test_what_is_not_of_one_light_and_height_in_rows_is_no_lettering(kind: str) -> None:
    luma = np.full(SIZE[::-1], 60, np.uint8)
    places = [(20 + 20 * n, 60, 12, 200) for n in range(8)]  # left, top, height, light
    if kind == "texture":
        luma = np.clip((texture()[: SIZE[1], : SIZE[0]].astype(float) - 110) * 4 + 110, 0, 255).astype(np.uint8)
        places = []
    elif kind == "lights":
        places = [(x, y, high, 160 + 9 * n) for n, (x, y, high, _) in enumerate(places)]
    elif kind == "heights":
        places = [(x, y, 6 if n % 2 else 20, light) for n, (x, y, _, light) in enumerate(places)]
    elif kind == "two":
        places = places[:2]
    else:
        places = [(x, 20 + 14 * n, high, light) for n, (x, _, high, light) in enumerate(places)]
    for left, top, high, light in places:
        luma[top : top + high, left : left + 4] = light
    assert find_letters(luma, edges_of(luma), 0, 0, 1.0) is None


def test_dots_and_dashes_beside_letters_are_of_the_lettering_and_other_strokes_are_not() -> None:
    luma = np.full(SIZE[::-1], 60, np.uint8)
    for left in range(40, 140, 12):
        luma[60:76, left : left + 4] = 220
    luma[74:76, 142:144] = 220  # a full stop
    luma[66:68, 28:34] = 220  # a dash
    luma[66:70, 150:160] = 190  # darker
    luma[100:104, 60:70] = 220  # below
    edges = edges_of(luma)
    edges[:, :36] = edges[:, 142:] = False
    edges[90:] = False
    rows, columns = np.flatnonzero(edges.any(1)), np.flatnonzero(edges.any(0))
    top, left = int(rows[0]), int(columns[0])
    found = find_letters(luma, edges[top : rows[-1] + 1, left : columns[-1] + 1], left, top, 1.0)
    assert found is not None
    assert found.area[74:76, 142:144].all()
    assert found.area[66:68, 28:34].all()
    assert not found.area[66:70, 150:160].any()
    assert not found.area[90:].any()


def test_the_outline_of_a_subtitle_is_masked_where_the_scene_is_as_dark() -> None:
    letters = lettering("Well then")
    outline = cv2.dilate(letters, np.ones((5, 5), np.uint8))

    def shot() -> Iterator[Luma]:
        for n, luma in enumerate(pan(50, 6, 3)):
            dark = (luma // 2).astype(np.uint8)
            yield overlaid((dark * (1 - outline)).astype(np.uint8), letters) if 10 <= n < 40 else dark

    mask = mask_of(shot(), 25)
    assert mask[outline > 0.5].mean() > 0.97
    assert mask.sum() < 2.5 * (outline > 0.5).sum()


def test_the_plate_behind_a_subtitle_is_masked_with_it() -> None:
    letters = lettering("Well then")
    rows, columns = np.nonzero(letters)
    plate = np.zeros(SIZE[::-1], bool)
    plate[rows.min() - 6 : rows.max() + 7, columns.min() - 6 : columns.max() + 7] = True

    def shot() -> Iterator[Luma]:
        for n, luma in enumerate(pan(60, 6, 3)):
            veiled = np.where(plate, luma // 2, luma).astype(np.uint8)
            yield overlaid(veiled, letters) if 10 <= n < 50 else luma

    mask = mask_of(shot(), 30)
    assert mask[plate].all()
    assert mask.sum() < 1.2 * plate.sum()


def test_a_subtitle_that_fills_what_is_around_it_is_told_by_the_scene_that_goes_on() -> None:
    """Everything near changes as it comes, with its plate, and much of the picture moves: only edges around it stay."""
    letters = lettering("Well then")
    rows, columns = np.nonzero(letters)
    plate = (slice(rows.min() - 6, rows.max() + 7), slice(columns.min() - 6, columns.max() + 7))
    rng = np.random.default_rng(4)

    def shot(cut: bool) -> Iterator[Luma]:
        first, second = still(4), 255 - still(4)[::-1, ::-1]
        for n in range(70):
            luma = (second if cut and n >= 30 else first).copy()
            if n >= 30:
                luma[plate] //= 3
                luma = overlaid(luma, letters)
            yield np.clip(luma + rng.normal(0, 1, luma.shape), 0, 255).astype(np.uint8)

    assert mask_of(shot(False), 50)[letters > 0.9].mean() > 0.95
    assert not mask_of(shot(True), 50).any()  # with a cut, it may be a part of the new scene


def test_what_reaches_the_border_does_not_hide_the_letters_beside_it() -> None:
    letters = lettering("Well then")

    def shot() -> Iterator[Luma]:
        for n, luma in enumerate(pan(60, 6, 3)):
            if 10 <= n < 50:
                luma[18:60, :200] = 15  # a plate as wide as the picture's left part
                luma = overlaid(luma, letters)
            yield luma

    assert mask_of(shot(), 30)[letters > 0.5].mean() > 0.95


def test_settings_are_those_that_were_tried() -> None:
    m = module
    assert (m.NEAR, m.TOUCHING, m.BRIGHT, m.DIMMER, m.SAME_LIGHT) == (12, 3, 0.85, 50, 12)
    assert (m.LEAST_AREA, m.SHORTEST, m.TALLEST, m.WIDEST, m.FEWEST, m.PEAK) == (4, 5, 0.12, 3.5, 3, 0.9)
    assert (m.ONE_LIGHT, m.ALIKE, m.MOST_ALIKE, m.ROW, m.IN_ROWS) == (2.0, 0.75, 1.9, 0.4, 0.75)
    assert (m.OUTLINE, m.BESIDE, m.MOST_OF_ALL) == (4, 1.2, 0.85)
