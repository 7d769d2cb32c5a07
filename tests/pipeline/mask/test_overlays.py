"""Overlays stay while the picture behind them changes; what stays in a picture that does not change is none."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from tests.pipeline.mask.footage import SIZE, Luma, lettering, overlaid, pan, time
from vrx.pipeline.mask import overlay as values
from vrx.pipeline.mask import overlays, samples
from vrx.pipeline.mask.overlay import Overlay
from vrx.pipeline.mask.overlays import OverlayFinder
from vrx.pipeline.mask.samples import ChangeDetector


def find(pictures: Iterator[Luma]) -> list[Overlay]:
    finder, change = OverlayFinder(SIZE), ChangeDetector()
    for number, luma in enumerate(pictures):
        if change.is_new(luma):
            finder.add(luma, time(number))
    return finder.finish()


def area(found: list[Overlay]) -> np.ndarray:
    mask = np.zeros(SIZE[::-1], bool)
    for overlay in found:
        left, top, width, height = overlay.box
        mask[top : top + height, left : left + width] |= overlay.area
    return mask


@pytest.mark.parametrize("opacity", [1.0, 0.4])
def test_a_logo_is_found_opaque_or_not(opacity: float) -> None:
    letters = lettering("Vrx")
    found = find(overlaid(luma, opacity * letters) for luma in pan(30))
    assert len(found) == 1
    assert area(found)[letters > 0.3].mean() > 0.97
    near = cv2.dilate((letters > 0).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert area(found)[~near].sum() < 0.2 * near.sum()  # between letters
    assert found[0].first == 0
    assert found[0].last == time(29)


def test_a_moving_picture_has_none() -> None:
    assert find(pan(30)) == []


def test_a_tripod_shot_has_none_whatever_moves_in_it() -> None:
    """The background stays, a box passes before it."""

    def shot() -> Iterator[Luma]:
        (still,) = pan(1)
        for number in range(30):
            luma = still.copy()
            luma[60:120, 9 * number : 9 * number + 50] = 230
            yield luma

    assert find(shot()) == []


def test_bars_have_none() -> None:
    def shot() -> Iterator[Luma]:
        for luma in pan(30):
            luma[:20] = luma[-20:] = 16
            luma[:, :30] = luma[:, -30:] = 16
            yield luma

    assert find(shot()) == []


def test_each_of_two_subtitles_has_its_time() -> None:
    first, second = lettering("One line"), lettering("Next")

    def shot() -> Iterator[Luma]:
        for number, luma in enumerate(pan(60, 6, 3)):
            yield overlaid(luma, first if 3 <= number < 28 else second if 32 <= number < 57 else 0 * first)

    found = sorted(find(shot()), key=lambda overlay: overlay.first)
    assert len(found) == 2
    assert (found[0].first, found[1].first) == (time(3), time(32))
    assert found[0].last < time(28)
    (clean,) = pan(1)
    for overlay, own, other in zip(found, (first, second), (second, first), strict=True):
        assert overlay.is_shown(overlaid(clean, own))
        assert not overlay.is_shown(overlaid(clean, other))
        assert not overlay.is_shown(clean)


def test_characters_that_change_are_in_the_rectangle_of_their_line() -> None:
    found = find(overlaid(luma, lettering(f"10:4{n // 8}:{n % 25:02}")) for n, luma in enumerate(pan(60, 6, 3)))
    assert len(found) == 1
    assert found[0].changes
    assert found[0].area.all()
    assert area(found)[lettering("10:47:88") > 0.5].mean() > 0.95


def test_a_static_logo_has_no_changing_characters() -> None:
    (found,) = find(overlaid(luma, lettering("10:47:12")) for luma in pan(40, 6, 3))
    assert not found.changes


def test_an_upright_line_that_stays_is_a_scratch() -> None:
    def shot() -> Iterator[Luma]:
        for luma in pan(30):
            luma[:, 150:152] = 235
            yield luma

    (found,) = find(shot())
    assert found.upright
    assert found.box[3] > 0.5 * SIZE[1]
    assert abs(found.left + found.box[2] / 2 - 151) < 3


@pytest.mark.parametrize(("frames", "found"), [(9, 0), (24, 1)])
def test_what_is_shown_for_less_than_a_good_half_second_is_none(frames: int, found: int) -> None:
    letters = lettering("Vrx")
    pictures = pan(40, 6, 3)
    assert len(find(overlaid(x, letters * (8 <= n < 8 + frames)) for n, x in enumerate(pictures))) == found


def test_samples_are_those_that_changed_as_a_whole() -> None:
    change = ChangeDetector()
    pictures = list(pan(3))
    assert [change.is_new(x) for x in (pictures[0], pictures[0], pictures[1], pictures[1], pictures[2])] == [
        True, False, True, False, True,
    ]  # fmt: skip
    lighter = (pictures[2].astype(int) + 20).astype(np.uint8)
    assert not change.is_new(lighter)


def test_settings_are_those_that_were_tried() -> None:
    assert (overlays.LEAST_HITS, overlays.WEAK_HITS, overlays.MOST_MISSES, overlays.LEAST_TIME) == (6, 4, 3, 0.7)
    assert (overlays.LEAST_SHARE, overlays.STRONG_SHARE, overlays.LEAST_EDGES, overlays.STRONG) == (0.65, 0.25, 24, 7.0)
    assert (overlays.BRIDGE, overlays.SOLID, overlays.LEAST_SPREAD, overlays.STEADY) == (7, 5, 0.08, 0.35)
    assert (overlays.CHANGING, overlays.CHANGED_SHARE, overlays.ALWAYS, overlays.MOST_AREA) == (0.2, 0.12, 0.8, 0.25)
    assert (values.SHOWN, values.SAME_PATTERN, values.TOGETHER, values.PART) == (0.4, 0.4, 0.5, 0.5)
    assert (samples.CHANGED, samples.CHANGED_BLOCK, samples.EDGE, samples.SAME_DIRECTION) == (0.65, 0.35, 5.0, 0.8)
