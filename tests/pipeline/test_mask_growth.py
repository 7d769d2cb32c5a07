"""Masks grow by what colors need that are stored at half size, but for those that have their margin."""

from pathlib import Path

import numpy as np
import pytest

from tests.clips import ClipMaker
from tests.conftest import Command
from vrx.media.frame import Kind, Layout
from vrx.media.masks import MaskTrack
from vrx.pipeline.mask_growth import Growth

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
    stroke = np.zeros((40, 60), bool)
    stroke[5:35, 20:23] = True  # as wide as that of a letter
    assert Growth.of(None, SUBSAMPLED).apply(stroke).sum() == 34 * 7


def test_a_mask_that_was_found_says_so_and_a_person_s_does_not(clip: ClipMaker, vrx: Command, tmp_path: Path) -> None:
    source = clip(frames=12)
    done = vrx("mask", source, "--write-empty", "-o", "found.mkv")
    assert done.returncode == 0, done.stderr
    with MaskTrack(tmp_path / "found.mkv", (64, 48), [].append) as found:
        assert found.has_margin
    with MaskTrack(source, (64, 48), [].append) as own:
        assert not own.has_margin
