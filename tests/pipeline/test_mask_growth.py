"""Masks grow by what colors need that are stored at half size, but for those that have their margin."""

from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from tests.clips import ClipMaker
from tests.conftest import Command
from vrx.media.frame import Kind, Layout
from vrx.media.masks import MaskTrack
from vrx.media.probe import open_input
from vrx.media.window import Window
from vrx.pipeline import mask_growth
from vrx.pipeline.mask_growth import Growth, dilate
from vrx.pipeline.masking import JobMask

SUBSAMPLED, FULL = Layout(Kind.YUV, 8, 1, 1), Layout(Kind.YUV, 8)


def block() -> np.ndarray:
    mask = np.zeros((40, 60), bool)
    mask[10:20, 10:30] = True
    return mask


@pytest.mark.parametrize(
    ("setting", "layout", "has_margin", "pixels"),
    [
        (None, SUBSAMPLED, False, 2),
        (None, Layout(Kind.YUV, 10, 1, 0), False, 2),
        (None, SUBSAMPLED, True, 0),
        (None, FULL, False, 0),
        (None, Layout(Kind.RGB, 8), False, 0),
        (0, SUBSAMPLED, False, 0),
        (3, FULL, True, 3),
    ],
)
def test_a_mask_grows_by_what_the_user_says_or_the_colors_need(
    setting: int | None, layout: Layout, has_margin: bool, pixels: int
) -> None:
    grown = Growth.of(setting, layout, has_margin).apply(block())
    assert grown.sum() == (10 + 2 * pixels) * (20 + 2 * pixels)


def test_single_pixels_grow_only_where_the_user_says_so() -> None:
    scattered = np.random.default_rng(0).random((40, 60)) < 0.5
    assert np.array_equal(Growth.of(None, SUBSAMPLED).apply(scattered), scattered)
    assert Growth.of(2, SUBSAMPLED).apply(scattered).sum() > scattered.sum()
    line = np.zeros((40, 60), bool)
    line[20, 10:50] = True
    assert np.array_equal(Growth.of(None, SUBSAMPLED).apply(line), line)


@pytest.mark.parametrize("width", [2, 3])
def test_strokes_as_wide_as_those_of_letters_grow(width: int) -> None:
    stroke = np.zeros((40, 60), bool)
    stroke[5:35, 20 : 20 + width] = True
    assert Growth.of(None, SUBSAMPLED).apply(stroke).sum() == 34 * (width + 4)


def test_a_mask_that_leaves_single_pixels_stays_as_it_is() -> None:
    """Grown it would leave none of them to fill from."""
    scattered = np.random.default_rng(0).random((40, 60)) < 0.85
    assert np.array_equal(Growth.of(None, SUBSAMPLED).apply(scattered), scattered)
    frame = np.ones((40, 60), bool)
    frame[10:30, 10:50] = False
    assert (~Growth.of(None, SUBSAMPLED).apply(frame)).sum() == 16 * 36


def test_a_still_mask_is_grown_once_and_one_that_changes_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    grown: list[int] = []

    class Masks:
        """Two masks, the first of them for three frames."""

        def __init__(self) -> None:
            self.masks = block(), np.roll(block(), 5, 1)

        def at(self, time: Fraction) -> np.ndarray:
            return self.masks[time >= 3]

    def counted(mask: np.ndarray, pixels: int) -> np.ndarray:
        grown.append(pixels)
        return dilate(mask, pixels)

    monkeypatch.setattr(mask_growth, "dilate", counted)
    job = JobMask(cast(MaskTrack, Masks()), (), Window(0, 0, 60, 40, (60, 40)), growth=Growth(2))
    found = [job.at(Fraction(number)) for number in range(5)]
    assert grown == [2, 2]
    assert [int(np.flatnonzero(mask.any(0))[0]) for mask in found] == [8, 8, 8, 13, 13]


def test_a_mask_that_was_found_says_so_and_a_person_s_does_not(clip: ClipMaker, vrx: Command, tmp_path: Path) -> None:
    source = clip(frames=12)
    done = vrx("mask", source, "--write-empty", "-o", "found.mkv")
    assert done.returncode == 0, done.stderr
    with open_input(tmp_path / "found.mkv", "found.mkv") as file:
        assert file.streams.video[0].metadata["title"] == "vrx mask"  # masks that exist have it
    with MaskTrack(tmp_path / "found.mkv", (64, 48), lambda _: None) as found:
        assert found.has_margin
    with MaskTrack(source, (64, 48), lambda _: None) as own:
        assert not own.has_margin
