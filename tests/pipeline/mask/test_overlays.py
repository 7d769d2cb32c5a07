"""Overlays stay while the picture behind them changes; what stays in a picture that does not change is none."""

from collections.abc import Iterator
from fractions import Fraction

import cv2
import numpy as np
import pytest

from tests.pipeline.mask.footage import SIZE, Luma, lettering, overlaid, pan, texture, time
from vrx.pipeline.mask import lasting, overlays, passing, persistence, regions, run, samples, tints
from vrx.pipeline.mask import overlay as values
from vrx.pipeline.mask.overlay import Overlay
from vrx.pipeline.mask.overlays import OverlayFinder
from vrx.pipeline.mask.persistence import Persistence
from vrx.pipeline.mask.samples import Sampler, gradients


def find(pictures: Iterator[Luma]) -> list[Overlay]:
    finder, sampler = OverlayFinder(SIZE), Sampler()
    for number, luma in enumerate(pictures):
        if sampler.is_next(time(number)):
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
    assert found[0].last == time(27)


def test_a_moving_picture_has_none() -> None:
    assert find(pan(30)) == []


@pytest.mark.parametrize("opacity", [0.0, 0.7])
def test_a_still_subject_does_not_hide_a_logo_over_what_moves_behind_it(opacity: float) -> None:
    rng, letters, seen = np.random.default_rng(4), lettering("Vrx"), Persistence(SIZE)
    (soft,) = pan(1)
    still = np.clip((soft.astype(float) - 110) * 1.5 + 110, 20, 235).astype(np.uint8)
    for moving in pan(30, x=3, y=1):
        luma = still.copy()
        luma[:90, :160] = cv2.GaussianBlur(moving, (0, 0), 1.2)[:90, :160]
        noisy = overlaid(luma, opacity * letters) + rng.normal(0, 4, luma.shape)
        seen.add(gradients(np.clip(noisy, 0, 255).astype(np.uint8)))
    found = lasting.find_lasting(seen)
    assert len(found) == (opacity > 0)
    for one in found:
        whole = np.zeros(SIZE[::-1], bool)
        whole[one.top : one.top + one.area.shape[0], one.left : one.left + one.area.shape[1]] = one.area
        assert whole[letters > 0.5].mean() > 0.9


def test_what_is_usual_at_a_place_is_between_the_scene_and_what_is_around_it() -> None:
    assert lasting.usual_at(3.0, None) == 3.0
    assert lasting.usual_at(3.0, 1.0) == 2.0
    assert lasting.usual_at(3.0, 5.0) == 5.0


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
    assert time(3) <= found[0].first <= time(6)
    assert time(30) <= found[1].first <= time(36)
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


def test_samples_are_an_eighth_of_a_second_apart_and_all_frames_of_a_slow_video() -> None:
    sampler = Sampler()
    assert [n for n in range(13) if sampler.is_next(time(n))] == [0, 3, 6, 9, 12]
    slow = Sampler()
    assert all(slow.is_next(Fraction(n, 8)) for n in range(9))


def drift(frames: int, step: float) -> Iterator[Luma]:
    """A camera that moves by parts of a pixel."""
    whole = texture()
    for number in range(frames):
        shift = np.array([[1, 0, -60 - step * number], [0, 1, -60 - step * number / 2]], np.float32)
        yield cv2.warpAffine(whole, shift, SIZE, flags=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


def test_a_logo_is_found_where_the_camera_hardly_moves() -> None:
    letters = lettering("Vrx")
    found = find(overlaid(luma, letters) for luma in drift(40, 0.1))
    assert len(found) == 1
    near = cv2.dilate((letters > 0).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    assert area(found)[letters > 0.3].mean() > 0.97
    assert not (area(found) & ~near).sum() > 0.1 * near.sum()


def test_a_subtitle_is_found_in_a_scene_that_stays() -> None:
    (still,) = pan(1)
    letters = lettering("Well then")
    pictures = (overlaid(still, letters * (12 <= n < 45)) for n in range(60))
    (found,) = find(pictures)
    assert time(12) <= found.first <= time(15)
    assert time(42) <= found.last <= time(45)
    assert area([found])[letters > 0.5].mean() > 0.95


def test_what_is_uncovered_bit_by_bit_in_a_scene_that_stays_is_no_subtitle() -> None:
    (soft,) = pan(1)
    still, rng = np.clip((soft.astype(float) - 110) * 4 + 110, 20, 235), np.random.default_rng(2)

    def shot() -> Iterator[Luma]:
        for number in range(60):
            luma = still.copy()
            luma[:, max(0, 4 * number - 20) : 4 * number + 90] = 60
            yield np.clip(luma + rng.normal(0, 2, luma.shape), 0, 255).astype(np.uint8)

    assert find(shot()) == []


def test_a_ring_is_open_and_a_disc_is_filled() -> None:
    def draw(thickness: int) -> np.ndarray:
        canvas = np.zeros(SIZE[::-1], np.uint8)
        cv2.circle(canvas, (60, 60), 24, 255, thickness, cv2.LINE_AA)
        return canvas.astype(np.float32) / 255

    for thickness, inside in ((5, False), (-1, True)):
        found = find(overlaid(luma, draw(thickness)) for luma in pan(30))
        assert area(found)[50:70, 50:70].mean() == inside
        assert area(found)[draw(thickness) > 0.5].mean() > 0.97


def test_edges_along_four_sides_are_those_of_a_box() -> None:
    edges = np.zeros((30, 60), bool)
    edges[4, 5:30] = edges[25, 20:54] = True
    edges[4:20, 5] = edges[10:26, 54] = True
    whole = regions.complete_box(edges, edges)
    assert whole[4:26, 5:55].all()
    edges[25] = False
    assert np.array_equal(regions.complete_box(edges, edges), edges)


def test_the_scene_is_what_most_parts_of_the_picture_show() -> None:
    seen, steadiness = np.zeros((80, 80), bool), np.full((80, 80), 2.0, np.float32)
    seen[:, ::2] = True
    steadiness[:20, :20] = 50  # four parts of 64
    assert persistence.usual_of(steadiness, seen) == 2
    assert persistence.usual_of(steadiness, seen & False) is None
    seen[10:] = seen[:, 50:] = False  # five parts
    assert persistence.usual_of(steadiness, seen) is None


def test_few_samples_tell_nothing() -> None:
    finder = OverlayFinder(SIZE)
    for number, luma in enumerate(pan(5)):
        assert finder.is_still
        finder.add(overlaid(luma, lettering("Vrx")), Fraction(number, 8))
    assert not finder.is_still


def test_settings_are_those_that_were_tried() -> None:
    assert (8, Fraction(1, 100)) == (samples.RATE, samples.SLACK)
    assert (samples.EDGE, samples.SAME_DIRECTION, samples.SAME_STRENGTH) == (5.0, 0.8, 2.5)
    p = persistence
    assert (p.NOISE, p.SEEN, p.PARTS, p.LEAST_SEEN, p.LEAST_PARTS, p.USUAL, p.MOST_USUAL) == (
        1.0, 5.0, 8, 20, 6, 0.75, 9.0,
    )  # fmt: skip
    assert (p.FAINT, p.MANY_PARTS) == (2.0, 24)
    x = lasting
    assert (x.LEAST_SAMPLES, x.LEAST_STEADY, x.TIMES_USUAL, x.WEAK, x.STRONG_SLOPE, x.WEAK_SLOPE) == (
        5, 0.8, 2.2, 0.5, 4.0, 2.5,
    )  # fmt: skip
    assert (x.BRIDGE, x.LEAST_EDGES, x.STRONG_SHARE, x.TYPICAL, x.GAP, x.REACH) == (11, 24, 0.57, 2.8, 7, 19)
    assert (x.LOOSE, x.BEST, x.FAINT_SHARE, x.CLEAR, x.ALL_WAYS) == (0.7, 0.75, 0.38, 1.5, 0.25)
    q = passing
    assert (q.LEAST_HITS, q.MOST_MISSES, q.LEAST_SHARE, q.LEAST_TIME, q.LEAST_EDGES) == (5, 2, 0.75, 0.6, 40)
    assert (q.STRONG, q.BRIDGE, q.WINDOW, q.LEAST_STEADY, q.TYPICAL, q.TOGETHER) == (9.0, 11, 6, 2.0, 3.0, 0.92)
    assert (q.SUDDEN, q.ALONE, q.GAP, q.REACH, q.LEAST_AROUND) == (0.45, 0.12, 5, 22, 20)
    assert (q.STEP_STRONG, q.STEP_EDGES, q.STEP_STEADY, q.FIRM_STRONG, q.FIRM_STEADY) == (18.0, 100, 4.5, 9.0, 3.0)
    assert (q.STIR_LEVELS, q.STIR_SIDE, q.STIR_SAMPLES, q.MOST_STIR) == (12, 45, 3, 0.5)
    assert (q.DENSE, q.OUTER) == (0.3, (0.02, 0.98))
    assert (q.OUTLINE, q.RECENT, q.PLATE_EDGE, q.PLATE_SIDE) == (2.5, 0.2, 4.0, 0.6)
    r = regions
    assert (r.SOLID, r.HOLE, r.SIDE, r.SIDES, r.UNBROKEN, r.PEAK, r.FOOT) == (5, 2, 0.25, 0.45, 0.3, 0.2, 5)
    assert (r.LEAST_SPREAD, r.BORDER, r.MOST_AREA, r.LONG, r.STROKES, r.STROKE_LEVELS) == (0.08, 2, 0.25, 0.5, 9, 30)
    assert (r.SCRATCH_WIDTH, r.SCRATCH_HEIGHT, r.SCRATCH_SLOPE) == (6, 0.5, 3)
    assert (r.SCRATCH_UPRIGHT, r.SCRATCH_SIDE) == (0.9, 0.25)
    o = overlays
    assert (o.FEW, o.SHORT, o.COVERED, o.LITTLE, o.STAYS, o.LOOK_STEADY, o.AROUND) == (48, 0.7, 0.6, 3.5, 3.5, 3.0, 4)
    assert (o.WHOLE, values.ALIKE, tints.MOST_USUAL, tints.HALF) == (0.7, 0.35, 3.0, 2)
    assert (values.SHOWN, values.SAME_PATTERN, values.TOGETHER, values.PART) == (0.4, 0.4, 0.5, 0.5)
    assert (run.BESIDE, run.NEAR_OVERLAY, run.MOST_GROWTH, run.LEAST_SIDE) == (2, 15, 64, 16)


@pytest.mark.parametrize("rim", [0, 30])
def test_what_comes_at_once_is_a_subtitle_where_the_picture_around_it_stays(rim: int) -> None:
    """Else it is a part of the background that something has uncovered."""
    (soft,) = pan(1)
    still, rng = np.clip((soft.astype(float) - 110) * 4 + 110, 20, 235).astype(np.uint8), np.random.default_rng(2)
    letters = lettering("Well then")
    rows, columns = np.nonzero(letters)
    cover = (slice(max(0, rows.min() - rim), rows.max() + rim), slice(0, columns.max() + rim))

    def shot() -> Iterator[Luma]:
        for number in range(60):
            luma = overlaid(still, letters * (number >= 30))
            if rim and number < 30:
                luma[cover] = 20
            yield np.clip(luma + rng.normal(0, 2, luma.shape), 0, 255).astype(np.uint8)

    assert len(find(shot())) == (0 if rim else 1)


def test_a_scene_that_moves_little_is_said_where_no_logo_was_told_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    finder, logo = OverlayFinder(SIZE), OverlayFinder(SIZE)
    for number, luma in enumerate(drift(40, 0.15)):
        finder.add(luma, time(3 * number))
        logo.add(overlaid(luma, lettering("Vrx")), time(3 * number))
    usual = finder.persistence.usual
    assert usual is not None
    assert not finder.is_still
    monkeypatch.setattr(overlays, "LITTLE", usual - 0.1)
    assert finder.finish() == []
    assert finder.is_still
    assert len(logo.finish()) == 1
    assert not logo.is_still


@pytest.mark.parametrize(("level", "found"), [(118, 1), (60, 0)])
def test_what_comes_with_a_change_of_the_plain_picture_around_it_was_uncovered(level: int, found: int) -> None:
    """No edge around it begins as it does: only the light of what is around tells."""
    (soft,) = pan(1)
    still, rng = np.clip((soft.astype(float) - 110) * 4 + 110, 20, 235).astype(np.uint8), np.random.default_rng(2)
    letters = lettering("Well then")
    rows, columns = np.nonzero(letters)
    plain = (slice(0, rows.max() + 40), slice(0, columns.max() + 40))
    still[plain] = 120

    def shot() -> Iterator[Luma]:
        for number in range(60):
            luma = overlaid(still, letters * (number >= 30))
            if number < 30:
                luma[plain] = level
            yield np.clip(luma + rng.normal(0, 1, luma.shape), 0, 255).astype(np.uint8)

    assert len(find(shot())) == found


def test_the_change_around_a_place_is_that_since_two_samples_before_within_45_pixels() -> None:
    finder, picture = passing.PassingFinder(SIZE), np.full(SIZE[::-1], 100, np.uint8)
    changed = picture.copy()
    changed[80:100, 150:170] += 12
    faint = picture.copy()
    faint[80:100, 150:170] += 11
    share = 20 * 20 / 45**2
    shares = [float(finder._changed_around(luma)[90, 160]) for luma in (picture, changed, changed, changed, faint)]
    assert shares == pytest.approx([0, share, share, 0, 0], abs=1e-3)


def test_a_logo_is_masked_where_the_picture_is_nearly_as_light_as_it() -> None:
    letters = 0.4 * lettering("Vrx")
    (found,) = find(overlaid(luma, letters) for luma in pan(40, 6, 3))
    light, (clean,) = np.full(SIZE[::-1], 205, np.uint8), pan(1)
    assert found.lasts
    assert found.is_shown(overlaid(light, letters))
    assert not found.is_shown(light)
    assert not found.is_shown(clean)
    found.lasts = False
    assert not found.is_shown(overlaid(light, letters))


def test_a_logo_that_light_pictures_hide_for_a_while_lasts() -> None:
    letters = 0.4 * lettering("Vrx")
    light = (np.maximum(x, 222).astype(np.uint8) if n < 60 else x for n, x in enumerate(pan(200, 4, 2)))
    (found,) = find(overlaid(luma, letters) for luma in light)
    assert found.first == 0
    assert found.lasts


@pytest.mark.parametrize(("tinted", "count"), [(True, 1), (False, 0)])
def test_a_logo_as_light_as_the_picture_is_told_by_its_color(tinted: bool, count: int) -> None:
    letters = lettering("Vrx")
    finder, gray = OverlayFinder(SIZE), np.full((SIZE[1] // 2, SIZE[0] // 2), 128, np.uint8)
    small = cv2.resize(letters, (SIZE[0] // 2, SIZE[1] // 2), interpolation=cv2.INTER_AREA)
    for number, luma in enumerate(pan(40, 6, 3)):
        tint = (gray + 50 * small * tinted).astype(np.uint8)
        finder.add(luma, Fraction(number, 8), (gray, tint))
    found = finder.finish()
    assert len(found) == count
    if tinted:
        assert area(found)[letters > 0.5].mean() > 0.97
        assert area(found).sum() < 3 * (letters > 0.1).sum()


def test_a_color_that_stays_in_a_scene_that_stays_is_none() -> None:
    (luma,) = pan(1)
    finder, small = OverlayFinder(SIZE), cv2.resize(lettering("Vrx"), (SIZE[0] // 2, SIZE[1] // 2))
    for number in range(30):
        finder.add(luma, Fraction(number, 8), ((128 + 50 * small).astype(np.uint8),))
    assert finder.finish() == []


@pytest.mark.parametrize(
    ("until", "goes_with_all", "found"), [(32, False, 1), (32, True, 0), (54, True, 1), (100, False, 1)]
)
def test_what_is_no_lettering_and_shown_briefly_comes_and_goes_while_the_picture_around_it_stays(
    until: int, goes_with_all: bool, found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A foot that stands for a moment comes so, and goes with what is around it."""
    monkeypatch.setattr(passing, "find_letters", lambda *_: None)
    (soft,) = pan(1)
    still, rng = np.clip((soft.astype(float) - 110) * 4 + 110, 20, 235).astype(np.uint8), np.random.default_rng(2)
    letters = lettering("Well then")
    rows, columns = np.nonzero(letters)
    around = (slice(max(0, rows.min() - 30), rows.max() + 30), slice(0, columns.max() + 30))

    def shot() -> Iterator[Luma]:
        for number in range(72):
            luma = overlaid(still, letters * (10 <= number < until))
            if goes_with_all and number >= until:
                luma[around] = 20
            yield np.clip(luma + rng.normal(0, 2, luma.shape), 0, 255).astype(np.uint8)

    assert len(find(shot())) == found
    assert passing.BRIEF == 1.5
