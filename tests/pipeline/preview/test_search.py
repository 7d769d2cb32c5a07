"""The enlarged part is where pictures differ by what they show, not by noise."""

import numpy as np
import pytest
import torch

from vrx.pipeline.preview.compose import pick_pairs
from vrx.pipeline.preview.search import CELLS, Search, edges

WIDTH, HEIGHT = 192, 96
PART = (0.25, 0.25)


def noise(seed: int, deviation: float) -> torch.Tensor:
    values = np.random.default_rng(seed).normal(0, deviation, (3, HEIGHT, WIDTH))
    return torch.from_numpy(values).float()


def stripes(left: int, top: int, side: int = 24, contrast: float = 0.3) -> torch.Tensor:
    """A square of fine stripes on gray."""
    picture = torch.full((3, HEIGHT, WIDTH), 0.5)
    picture[:, top : top + side, left : left + side : 4] += contrast
    return picture


def covers(place: tuple[float, float], left: int, top: int, side: int = 24) -> bool:
    x, y = place[0] * WIDTH, place[1] * HEIGHT
    right, bottom = x + PART[0] * WIDTH, y + PART[1] * HEIGHT
    return x <= left + 4 and right >= left + side - 4 and y <= top + 4 and bottom >= top + side - 4


@pytest.mark.parametrize(("left", "top"), [(20, 10), (140, 60), (168, 72)])
def test_the_part_covers_what_differs(left: int, top: int) -> None:
    search = Search(PART)
    search.add(0, torch.stack([torch.full((3, HEIGHT, WIDTH), 0.5), stripes(left, top)]))
    assert search.found
    assert covers(search.find()[0], left, top)


def test_noise_that_is_stronger_than_the_difference_is_not_taken_for_it() -> None:
    search = Search(PART)
    for number in range(6):
        clean = stripes(20, 60, contrast=0.12)
        grainy = torch.full((3, HEIGHT, WIDTH), 0.5)
        grainy[:, :, WIDTH // 2 :] += noise(number, 0.08)[:, :, WIDTH // 2 :]  # in one half only
        search.add(number, torch.stack([grainy, clean]))
        assert (grainy - clean).square()[:, :, WIDTH // 2 :].mean() > 2 * (clean - 0.5).square()[:, 60:84, 20:68].mean()
    assert covers(search.find()[0], 20, 60)


def test_a_large_difference_that_moves_counts_more_than_a_small_one_that_rests() -> None:
    search = Search(PART)
    for number in range(6):
        moving = stripes(20 + 2 * number, 60, contrast=0.4)  # by half a period: opposite to the frame before
        moving[:, 10:34, 140:164] += (stripes(140, 10, contrast=0.1) - 0.5)[:, 10:34, 140:164]
        search.add(number, torch.stack([torch.full((3, HEIGHT, WIDTH), 0.5), moving]))
    left, top = search.find()[0]
    assert left < 0.3
    assert top > 0.3


def test_edges_are_told_from_noise() -> None:
    edge = torch.full((HEIGHT, WIDTH), 0.3)
    edge[:, WIDTH // 2 :] = 0.7
    grain = noise(1, 0.03)[0]
    found = edges(edge + grain)
    assert found[:, WIDTH // 2 - 1 : WIDTH // 2 + 1].mean() > 0.9
    assert found[:, : WIDTH // 2 - 8].mean() < 0.35
    assert not edges(torch.full((5, 7), 0.4)).any()


def test_the_frame_is_the_one_that_differs_most() -> None:
    search = Search(PART)
    for number, contrast in enumerate((0.1, 0.1, 0.4, 0.1), start=7):
        search.add(number, torch.stack([torch.full((3, HEIGHT, WIDTH), 0.5), stripes(60, 30, contrast=contrast)]))
    assert search.find()[1] == 9


def test_equal_pictures_have_no_difference() -> None:
    search = Search(PART)
    search.add(0, torch.stack([stripes(20, 10)] * 3))
    assert not search.found


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (5, 3), (CELLS - 1, 7), (2 * CELLS + 1, 50)])
def test_sizes_that_cells_do_not_divide(size: tuple[int, int]) -> None:
    search = Search((0.3, 0.3))
    search.add(0, torch.rand(2, 3, size[1], size[0]))
    (left, top), best = search.find()
    assert 0 <= left < 1
    assert 0 <= top < 1
    assert best == 0


@pytest.mark.parametrize("count", [1, 2, 11, 12, 13, 14, 25, 75, 600])
def test_frames_are_searched_in_pairs_from_the_first_to_the_last(count: int) -> None:
    found = pick_pairs(count)
    assert len(found) == min(count, 12)
    assert {0, count - 1} <= found <= set(range(count))
    assert count < 2 or all({number - 1, number + 1} & found for number in found)
