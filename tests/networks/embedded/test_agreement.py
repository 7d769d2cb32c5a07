"""An enlarged picture that is the source again, shrunk, is kept; what is not goes back to plain enlargement."""

import pytest
import torch
from torch import Tensor

from vrx.networks.embedded.agreement import kept_share, offsets, shrink, shrunk_bicubic, spread
from vrx.networks.embedded.classical import bicubic

SIZE = (24, 32)


def source(frames: int = 2) -> Tensor:
    return torch.rand(frames, 3, *SIZE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_enlargement_shrunk_again_is_a_filter(scale: int) -> None:
    low = source()
    torch.testing.assert_close(shrunk_bicubic(low, scale), shrink(bicubic(low, scale), scale), atol=1e-5, rtol=0)


def test_what_makes_the_source_again_is_kept() -> None:
    low = source()
    assert kept_share(low, low, 2, 0.0).min() == 1
    assert kept_share(shrink(bicubic(low, 2), 2), low, 2, 0.0).min() == 1  # nothing was added


def test_what_goes_away_from_the_source_is_dropped_unless_damage_explains_it() -> None:
    low, wrong = source(), torch.full(SIZE, 0.0)
    wrong[:, :16] = 20 / 255 * torch.randn(SIZE[0], 16, generator=torch.Generator().manual_seed(2))
    shrunk = shrink(bicubic(low, 2), 2) + wrong
    share = kept_share(shrunk, low, 2, 0.0)
    assert share[..., :12].max() < 0.7
    assert share[..., 24:].min() == 1
    assert kept_share(shrunk, low, 2, 40.0).min() == 1


def test_the_share_is_the_largest_within_what_is_allowed() -> None:
    """Flat pictures lack nothing under bicubic: w^2 d^2 is what is allowed, 3^2 and half a level squared."""
    low = torch.full((1, 3, *SIZE), 0.5)
    share = kept_share(low + 12 / 255, low, 2, 3.0)
    assert share.unique().tolist() == pytest.approx([(9.25**0.5) / 12] * len(share.unique()), abs=1e-3)


def test_a_wide_offset_is_found_and_a_small_one_left() -> None:
    low = torch.full((1, 3, *SIZE), 0.5)
    found = offsets(low + 1.1 / 255, low)
    assert found is not None
    torch.testing.assert_close(spread(found, low), torch.full_like(low, 1.0 / 255), atol=1e-5, rtol=0)
    assert offsets(low - 0.09 / 255, low) is None


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 2), (9, 13)])
def test_every_size_works(size: tuple[int, int]) -> None:
    low = torch.rand(1, 3, *size)
    assert kept_share(low * 0.5, low, 3, 1.0).shape == (1, 1, *size)
    found = offsets(low * 0.5, low)
    assert found is not None
    assert spread(found, low).shape == low.shape
