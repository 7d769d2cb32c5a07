import math

import pytest
import torch

from vrx.models.embedded.checkpoint import load_networks
from vrx.networks.embedded.blur import (
    BANDS,
    EDGES,
    FEATURES,
    FITS,
    OFFSET,
    BlurEstimator,
    describe,
    estimate_sigma,
    fit,
    fits,
    relative,
    spectrum,
    steepness,
)
from vrx.networks.embedded.classical import KERNEL_RADIUS, gaussian, separable
from vrx.train.sharpness import fitted
from vrx.weights import hashes


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
    assert FEATURES == 2 * BANDS + EDGES + FITS
    assert torch.isfinite(features).all()
    assert float(BlurEstimator()(features)) >= 0


@pytest.mark.parametrize("sigma", [1.5, 2.0, 3.0, 4.0])
def test_the_fit_reads_the_blur_of_a_power_law(sigma: float) -> None:
    torch.manual_seed(2)
    fy, fx = torch.fft.fftfreq(384)[:, None], torch.fft.rfftfreq(512)[None]
    radius = (fy**2 + fx**2).sqrt().clamp_min(1 / 512)
    noise = torch.fft.rfft2(torch.randn(384, 512)) / radius
    x = torch.fft.irfft2(noise, s=(384, 512))
    x = (0.5 + 0.16 * x / x.std()).clamp(0, 1)[None, None].expand(1, 3, -1, -1)
    blurred = (separable(x, gaussian(sigma, KERNEL_RADIUS, x)) * 255).round() / 255
    found = fit(describe(blurred)[:BANDS], lowest=0.035, clear=8.0)
    assert math.exp(found[0]) - OFFSET == pytest.approx(sigma, rel=0.08)
    assert found[3] == 1


def test_a_flat_picture_has_nothing_to_fit() -> None:
    bands = spectrum(torch.full((1, 64, 64), 0.5))
    assert fit(bands[:BANDS], lowest=0.035, clear=8.0).tolist() == pytest.approx(
        [math.log(OFFSET), 0, 3 / BANDS, 0], abs=0.03
    )
    assert fits(bands).shape == (FITS,)


@torch.inference_mode()
def test_the_readers_are_averaged_and_one_that_says_sharp_outweighs() -> None:
    network = BlurEstimator().eval()
    for number, read in enumerate([*network.seen, *network.fitted]):
        torch.nn.init.zeros_(read[-1].weight)
        torch.nn.init.constant_(read[-1].bias, -20.0 if number == 0 else 3.0)
    features = describe(torch.rand(1, 3, 40, 40))
    assert network.readings(features)[1:].tolist() == pytest.approx([3.05] * 5, abs=0.01)
    assert float(network(features)) < 0.5


@torch.inference_mode()
@pytest.mark.parametrize(("said", "expected"), [(1.1, 1.1**0.75), (0.9, 0.9**0.75), (1.5, 1.5), (0.5, 0.5)])
def test_a_fit_that_nearly_agrees_counts_a_quarter(said: float, expected: float) -> None:
    frames = edges(2.0).expand(1, 3, -1, -1)
    law = math.exp(fit(describe(frames)[:BANDS], lowest=0.035, clear=8.0)[0]) - OFFSET
    assert law > 0
    network = BlurEstimator().eval()
    for read in [*network.seen, *network.fitted]:
        torch.nn.init.zeros_(read[-1].weight)
        torch.nn.init.constant_(read[-1].bias, math.log(math.expm1(said * law)))
    assert estimate_sigma(network, frames) == pytest.approx(expected * law, rel=1e-3)


@torch.inference_mode()
def test_contrast_does_not_change_what_the_lively_spectrum_says() -> None:
    bands = torch.rand(FEATURES)
    brighter = bands.clone()
    brighter[:BANDS] += 1
    torch.testing.assert_close(relative(brighter), relative(bands))


@torch.inference_mode()
def test_the_shipped_readers_read_bars() -> None:
    parts = load_networks(hashes.packaged_path("embedded.safetensors"))
    for sigma in (1.5, 2.5, 3.5):
        bars = edges(sigma).expand(1, 3, -1, -1)
        assert estimate_sigma(parts.blur, bars) == pytest.approx(sigma, rel=0.15)


def test_training_learns_what_the_features_say() -> None:
    torch.manual_seed(0)
    x = torch.randn(256, FEATURES)
    y = 2 + x[:, BANDS + 3].clamp(-1.5, 1.5)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = fitted(x, y)
    assert not network.training
    with torch.no_grad():
        assert float((network.readings(x)[0] - y).abs().median()) < 0.35
