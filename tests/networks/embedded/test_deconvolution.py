"""Wiener filters mixed over the kinds of blur."""

import pytest
import torch
import torch.nn.functional as F

from vrx.networks.embedded.classical import KERNEL_RADIUS, gaussian, separable, wiener
from vrx.networks.embedded.deconvolution import Recipe, deconvolve, interpolate
from vrx.networks.embedded.kernels import DISK, GAUSSIAN, LINE, NONE, kernel


def recipe(
    kind: int, width: float = 1.5, ratio: float = -3.0, chroma: float | None = None, angle: float = 0.0
) -> Recipe:
    shares = torch.zeros(4, dtype=torch.float64)
    shares[kind] = 1
    points = torch.full((10,), ratio, dtype=torch.float64)
    return Recipe(shares, width, angle, points, points[:6] if chroma is None else torch.full_like(points[:6], chroma))


def undone(x: torch.Tensor, how: Recipe) -> torch.Tensor:
    return deconvolve(x, lambda size: how.gains(size, x))


@pytest.fixture
def picture() -> torch.Tensor:
    x = torch.rand(2, 3, 12, 16, generator=torch.Generator().manual_seed(2))
    return F.interpolate(x, scale_factor=4, mode="bicubic")


def test_one_kind_is_the_wiener_filter(picture: torch.Tensor) -> None:
    low = separable(picture, gaussian(1.5, KERNEL_RADIUS, picture))
    torch.testing.assert_close(undone(low, recipe(GAUSSIAN)), wiener(low, 1.5, 0.45e-3), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("kind", "angle"), [(DISK, 0.0), (LINE, 0.5), (LINE, 2.2)])
def test_each_kind_is_undone(picture: torch.Tensor, kind: int, angle: float) -> None:
    shape = kernel(kind, 1.5, angle)
    padded = F.pad(picture, (len(shape) // 2,) * 4, mode="reflect")
    low = F.conv2d(padded, shape.expand(3, 1, -1, -1), groups=3)
    before = (low - picture).square().mean()
    after = (undone(low, recipe(kind, angle=angle)) - picture).square().mean()
    assert after < before / 1.4
    assert kind == DISK or (undone(low, recipe(kind, angle=angle + 1.5)) - picture).square().mean() > 1.5 * after


def test_without_blur_only_noise_is_taken_away(picture: torch.Tensor) -> None:
    torch.testing.assert_close(undone(picture, recipe(NONE, ratio=-1.0)), picture / 1.1, atol=1e-5, rtol=0)


def test_luma_and_chroma_are_filtered_apart(picture: torch.Tensor) -> None:
    gray = picture[:, :1].expand(-1, 3, -1, -1)
    both = [undone(x, recipe(GAUSSIAN, ratio=r, chroma=-3.0)) for x in (gray, picture) for r in (-3.0, -1.0)]
    assert (both[0] - both[1]).abs().max() > 0.02  # gray follows the ratio of luma
    difference = both[2] - both[3]
    torch.testing.assert_close(difference, difference[:, :1].expand(-1, 3, -1, -1), atol=1e-5, rtol=0)


def test_several_kinds_count_by_their_shares() -> None:
    like = torch.empty(0)
    mixed = recipe(GAUSSIAN)
    shares = torch.tensor([0.3, 0.68, 0.015, 0.005], dtype=torch.float64)  # the last too small to count
    found = Recipe(shares, 1.5, 0.0, mixed.luma, mixed.chroma).gains((32, 32), like)[0]
    parts = [recipe(kind).gains((32, 32), like)[0] for kind in (NONE, GAUSSIAN, DISK)]
    wanted = (parts[0] * 0.3 + parts[1] * 0.68 + parts[2] * 0.015) / 0.995
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_ratios_lie_on_lines_between_their_frequencies() -> None:
    points = torch.tensor([0.0, 1.0, 3.0])
    assert interpolate(points, torch.tensor([0.0, 0.125, 0.25, 0.375, 0.5, 0.7])).tolist() == pytest.approx(
        [0, 0.5, 1, 2, 3, 3], abs=1e-4
    )
