import pytest
import torch

from tests.golden.cases import Case, cases, close, filled
from tests.golden.test_wan_autoencoder import streamed
from vrx.networks.leanvae import LeanAutoencoder, LeanConfig, from_bands, to_bands

CASES = cases("leanvae")
WHOLE, SINGLE = (999, 999), {"encode": (1, 4), "decode": (1, 1)}


def network(case: Case) -> LeanAutoencoder:
    return filled(LeanAutoencoder(LeanConfig(**case.model)), case.weights())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", ["whole", "single", "stated"])
@torch.inference_mode()
def test_clips_whole_and_streamed(case: Case, way: str) -> None:
    net, io, stream = network(case), case.io(), case.config["stream"]
    for what, source, expected in (("encode", "video", "encode.latent"), ("decode", "latent", "decode.video")):
        stated = stream[f"{what}_first"], stream[f"{what}_next"]
        sizes = {"whole": WHOLE, "single": SINGLE[what], "stated": stated}[way]
        close(streamed(getattr(net, f"{what}_step"), io[source], *sizes), io[expected], case.tolerance)


@pytest.mark.parametrize("temporal", [True, False])
def test_bands_go_back_to_pixels(temporal: bool) -> None:
    x = torch.rand(2, 3, 4, 6, 8)
    bands = to_bands(x, temporal)
    assert bands.shape == ((2, 24, 2, 3, 4) if temporal else (2, 12, 4, 3, 4))
    torch.testing.assert_close(from_bands(bands, temporal), x)
    scale = 2 * 2**0.5 if temporal else 2
    assert float(bands.square().sum()) == pytest.approx(float(x.square().sum()) * scale**2, rel=1e-5)
