import pytest
import torch

from vrx.models.classical import KERNEL_RADIUS, gaussian, separable
from vrx.models.sharpness import (
    BANDS,
    EDGES,
    FEATURES,
    SharpnessNetwork,
    describe,
    estimate_sigma,
    fitted_sigma,
    spectrum,
    steepness,
)


def edges(sigma: float, contrast: float = 0.6) -> torch.Tensor:
    """Tilted bars [1, 1, H, W], blurred."""
    y, x = torch.meshgrid(torch.arange(160.0), torch.arange(200.0), indexing="ij")
    bars = 0.2 + contrast * ((x + 0.4 * y) % 80 < 40).float()[None, None]
    return separable(bars, gaussian(sigma, KERNEL_RADIUS, bars)) if sigma else bars


def test_a_wider_blur_makes_edges_less_steep() -> None:
    median = [float(steepness(edges(s)[0])[-2]) for s in (0, 1, 2, 3, 4)]
    assert median == sorted(median, reverse=True)


def test_steepness_is_that_of_a_blurred_step() -> None:
    ratio = 10 ** float(steepness(edges(2.0)[0])[-1])
    assert ratio == pytest.approx(1 / (2.0 * (2 * torch.pi) ** 0.5), rel=0.06)


def test_contrast_hardly_matters_to_edges() -> None:
    low, high = (steepness(edges(2.0, c)[0]) for c in (0.2, 0.7))
    torch.testing.assert_close(low, high, atol=0.02, rtol=0)


def test_a_blur_takes_high_frequencies_away() -> None:
    sharp, soft = (spectrum(edges(s)[0]) for s in (0.5, 3.0))
    assert (soft[BANDS // 3 : BANDS] < sharp[BANDS // 3 : BANDS]).all()
    assert abs(float(soft[1] - sharp[1])) < 0.1


@torch.inference_mode()
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (3, 2), (40, 300)])
def test_every_size_is_described(size: tuple[int, int]) -> None:
    features = describe(torch.rand(2, 3, *size))
    assert features.shape == (FEATURES,)
    assert FEATURES == 2 * BANDS + EDGES
    assert torch.isfinite(features).all()
    assert float(SharpnessNetwork()(features)) >= 0


@pytest.mark.parametrize("sigma", [1.5, 2.0, 3.0, 4.0])
def test_the_fit_reads_the_blur_of_a_power_law(sigma: float) -> None:
    torch.manual_seed(2)
    fy, fx = torch.fft.fftfreq(384)[:, None], torch.fft.rfftfreq(512)[None]
    radius = (fy**2 + fx**2).sqrt().clamp_min(1 / 512)
    noise = torch.fft.rfft2(torch.randn(384, 512)) / radius
    x = torch.fft.irfft2(noise, s=(384, 512))
    x = (0.5 + 0.16 * x / x.std()).clamp(0, 1)[None, None].expand(1, 3, -1, -1)
    blurred = (separable(x, gaussian(sigma, KERNEL_RADIUS, x)) * 255).round() / 255
    assert fitted_sigma(describe(blurred)) == pytest.approx(sigma, rel=0.08)


@torch.inference_mode()
def test_without_agreement_the_network_decides() -> None:
    flat = torch.full((1, 3, 64, 64), 0.5)
    assert fitted_sigma(describe(flat)) == 0
    network = SharpnessNetwork()
    assert estimate_sigma(network, flat) == pytest.approx(float(network(describe(flat))))
