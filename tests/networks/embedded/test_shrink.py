"""Noise within a picture: how much goes, what stays, and that bands leave no seam."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.networks.embedded import shrink as module
from vrx.networks.embedded.planes import to_colors, to_planes
from vrx.networks.embedded.shrink import removed, shrink, shrink_chroma, transform, window_mean

LEVEL = 8 / 255


def gaussian(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def variances(height: int, width: int, level: float = LEVEL) -> Tensor:
    return torch.full((1, 2, height, width), level**2)


def test_colors_come_back_from_luma_and_chroma() -> None:
    frames = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(1))
    planes = to_planes(frames)
    torch.testing.assert_close(to_colors(planes), frames, atol=1e-6, rtol=0)
    gray = to_planes(torch.full((1, 3, 1, 1), 0.3))[0, :, 0, 0]
    torch.testing.assert_close(gray, torch.tensor([0.3, 0, 0]), atol=1e-6, rtol=0)


def test_the_transform_is_orthonormal() -> None:
    rows = transform().view(64, 64)
    torch.testing.assert_close(rows @ rows.T, torch.eye(64, dtype=torch.float64))


@pytest.mark.parametrize("size", [(1, 1), (3, 9), (17, 8), (30, 41)])
def test_everything_beneath_the_limit_is_what_is_removed(size: tuple[int, int]) -> None:
    x = gaussian(2, 1, *size)
    flat = removed(x, torch.full((1, 1, *size), 1e6), 1.0)
    assert flat.shape == x.shape
    means = F.avg_pool2d(F.pad(x, (8, 8, 8, 8), mode="replicate"), 8, 4) if min(size) > 8 else None
    assert means is None or float((x - flat).abs().max()) <= float(means.abs().max()) + 1.0
    assert torch.equal(removed(x, torch.zeros(1, 1, *size), 2.0), torch.zeros_like(x))


def test_white_noise_goes_and_edges_stay() -> None:
    clean = torch.zeros(1, 3, 64, 96)
    clean[..., 48:] = 0.5
    noisy = clean + LEVEL * gaussian(1, 3, 64, 96)
    error = (shrink(noisy, variances(64, 96), 1.7) - clean).square().mean((0, 2, 3)).sqrt() / LEVEL
    assert error.tolist() == pytest.approx([0.2557, 0.1788, 0.1981], abs=0.003)  # by the limits
    assert float((shrink(clean, variances(64, 96), 1.7) - clean).abs().max()) < 0.05


def test_fine_detail_of_chroma_stays_where_it_stands_out() -> None:
    stripes = torch.zeros(1, 2, 32, 32)
    stripes[..., ::2] = 0.2
    assert float((shrink_chroma(stripes, variances(32, 32)[:, 1:]) - stripes).abs().max()) < 0.025
    faint = stripes / 0.2 * LEVEL / 4
    found = shrink_chroma(faint, variances(32, 32)[:, 1:])
    assert float(found.std()) < 0.2 * float(faint.std())


def test_bands_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = LEVEL * gaussian(1, 3, 101, 40)
    whole = shrink(noisy, variances(101, 40), 1.7)
    monkeypatch.setattr(module, "MOST_PIXELS", 40 * 32)
    torch.testing.assert_close(shrink(noisy, variances(101, 40), 1.7), whole, atol=1e-5, rtol=0)


def test_means_over_windows() -> None:
    x = gaussian(1, 2, 9, 11)
    expected = F.avg_pool2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), 5, 1)
    torch.testing.assert_close(window_mean(x, 2), expected, atol=1e-6, rtol=0)


def test_how_much_is_shrunk_at_once() -> None:
    assert (module.MOST_PIXELS, module.HALO) == (1 << 19, 16)
