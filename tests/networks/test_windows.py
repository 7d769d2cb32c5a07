"""Attention windows: every pixel is in one, and comes back from it."""

import pytest
import torch

from vrx.networks.windows import from_windows, to_windows, window_count, window_offsets, window_pads


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 9), (8, 3)])
@pytest.mark.parametrize("shift", [0, 2])
def test_windows_are_the_inverse_of_themselves(size: tuple[int, int], shift: int) -> None:
    x = torch.arange(2.0 * 3 * size[0] * size[1]).view(2, 3, *size)
    tokens = to_windows(x, 4, shift)
    assert tokens.shape == (2 * window_count(size, 4), 16, 3)
    assert torch.equal(from_windows(tokens, x.shape, 4, shift), x)


def test_a_map_has_room_for_a_shift_of_half_a_window() -> None:
    assert [window_count((side, side), 4) for side in (2, 3, 6, 7)] == [1, 4, 4, 9]
    assert window_pads((5, 6), 4, 0) == (0, 2, 0, 3)
    assert window_pads((5, 6), 4, 2) == (2, 0, 2, 1)


def test_what_lies_outside_repeats_the_border() -> None:
    tokens = to_windows(torch.tensor([[[[1.0, 2.0]]]]), 2, 1)
    assert tokens[..., 0].tolist() == [[1, 1, 1, 1], [2, 2, 2, 2]]


def test_pairs_of_tokens_at_the_same_distance_share_a_row_of_the_table() -> None:
    offsets = window_offsets(2)
    assert offsets.tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]
