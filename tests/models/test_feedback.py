import pytest
import torch
import torch.nn.functional as F

from vrx.models.feedback import fetch, hint, inside, luma
from vrx.models.grids import DETAIL_GAIN


def still(height: int, width: int) -> torch.Tensor:
    return torch.zeros(1, 2, height, width)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_brightness_on_the_grid_is_that_of_the_pixels(dtype: torch.dtype) -> None:
    picture = torch.rand(2, 3, 8, 12)
    expected = (picture * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    found = luma(F.pixel_unshuffle(picture, 4).to(dtype))
    assert found.dtype is torch.float32
    torch.testing.assert_close(F.pixel_shuffle(found, 4), expected, atol=4e-3, rtol=0)


def test_what_did_not_move_stays() -> None:
    picture = torch.rand(1, 1, 12, 20)
    torch.testing.assert_close(fetch(picture, still(3, 5), 4), picture, atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", [1, 3, 4])
def test_content_is_fetched_from_where_it_was(side: int) -> None:
    picture = torch.rand(1, 1, 6 * side, 8 * side)
    motion = still(6, 8)
    motion[:, 0], motion[:, 1] = 2.0, -1.0  # two positions to the right, one up
    found = fetch(picture, motion, side)
    torch.testing.assert_close(found[..., side:, : -2 * side], picture[..., :-side, 2 * side :], atol=1e-5, rtol=0)


def test_places_between_pixels_are_interpolated() -> None:
    picture = torch.rand(1, 1, 4, 8)
    motion = still(1, 2)
    motion[:, 0] = 0.125  # of a position of four pixels: half a pixel
    expected = (picture[..., :-1] + picture[..., 1:]) / 2
    torch.testing.assert_close(fetch(picture, motion, 4)[..., :-1], expected, atol=1e-5, rtol=0)


def test_nothing_is_told_of_what_was_outside() -> None:
    motion = still(3, 4)
    motion[:, 0] = -2.0
    assert inside(motion)[0, 0].tolist() == [[0, 0, 1, 1]] * 3
    told = hint(torch.rand(1, 16, 3, 4), torch.rand(1, 16, 3, 4), motion)
    assert not told[..., :2].any()
    assert told[..., 2:].abs().min() > 0


def test_a_frame_that_moved_as_said_is_told_exactly() -> None:
    """The hint is the residual that would turn the estimate into the truth."""
    truth = torch.rand(1, 1, 16, 32)
    before = torch.roll(truth, 4, -1)  # content came one position from the right
    base = torch.rand(1, 16, 4, 8)
    motion = still(4, 8)
    motion[:, 0] = 1.0
    told = hint(F.pixel_unshuffle(before, 4), base, motion)
    expected = (F.pixel_unshuffle(truth, 4) - base) * DETAIL_GAIN
    torch.testing.assert_close(told[..., :-1], expected[..., :-1], atol=1e-4, rtol=0)


def test_one_position_is_no_trouble() -> None:
    assert torch.isfinite(hint(torch.rand(1, 16, 1, 1), torch.rand(1, 16, 1, 1), still(1, 1))).all()
    assert torch.isfinite(fetch(torch.rand(1, 1, 1, 1), still(1, 1), 1)).all()
