"""The sharp look: crisper edges, no halos, bands without seams."""

import pytest
import torch

from vrx.networks.embedded import sharpening
from vrx.networks.embedded.sharpening import BEYOND, sharpen


def soft_edge() -> torch.Tensor:
    rise = torch.sigmoid((torch.arange(40.0) - 19.5) / 1.2)
    return (0.2 + 0.6 * rise).expand(1, 3, 40, 40).clone()


def test_edges_become_steeper_and_stay_in_their_range() -> None:
    before = soft_edge()
    after = sharpen(before.clone(), 4)
    slopes = [float((x[..., 1:] - x[..., :-1]).max()) for x in (before, after)]
    assert slopes[1] > 1.1 * slopes[0]
    span = 0.6 * BEYOND  # of the complete edge: more than a pixel's surroundings have
    assert after.min() >= 0.2 - span
    assert after.max() <= 0.8 + span
    assert torch.allclose(after[..., :10], before[..., :10], atol=1e-4)  # flat areas stay as they are


def test_colors_are_not_changed() -> None:
    colors = soft_edge() * torch.tensor([1.0, 0.7, 0.4])[:, None, None]
    difference = sharpen(colors.clone(), 2) - colors
    assert torch.allclose(difference[:, 0], difference[:, 2], atol=1e-6)


@pytest.mark.parametrize("pixels", [40 * 4, 40 * 7, 40 * 39])
def test_bands_have_no_seams(monkeypatch: pytest.MonkeyPatch, pixels: int) -> None:
    frames = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    at_once = sharpen(frames.clone(), 3)
    monkeypatch.setattr(sharpening, "MOST_PIXELS", pixels)
    assert torch.allclose(sharpen(frames.clone(), 3), at_once, atol=1e-6)
