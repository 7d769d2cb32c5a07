"""The networks that name blur and damage and choose the filter."""

import pytest
import torch

from vrx.networks.embedded.diagnosis import (
    CHROMA_POINTS,
    POINTS,
    WIDEST,
    BlurDiagnosis,
    diagnose,
    given,
)
from vrx.networks.embedded.kernels import KINDS
from vrx.networks.embedded.symptoms import SYMPTOMS


@pytest.fixture
def network() -> BlurDiagnosis:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return BlurDiagnosis().eval()


@torch.inference_mode()
@pytest.mark.parametrize("width", [None, 0.7, 3.25])
def test_a_given_width_is_believed(network: BlurDiagnosis, width: float | None) -> None:
    found, recipe = diagnose(network, torch.randn(SYMPTOMS), width)
    assert found.width == recipe.width
    assert (found.width == width) is (width is not None)
    assert float(found.chances.sum()) == pytest.approx(1, abs=1e-6)
    assert float(recipe.shares.sum()) == pytest.approx(1, abs=1e-6)
    assert (recipe.luma.shape, recipe.chroma.shape) == ((POINTS,), (CHROMA_POINTS,))
    assert recipe.luma.min() >= -5
    assert recipe.luma.max() < 2


@torch.inference_mode()
def test_whatever_is_found_stays_within_limits(network: BlurDiagnosis) -> None:
    for layer, value in (("weight", 0.0), ("bias", 50.0)):
        torch.nn.init.constant_(getattr(network.causes[-1], layer), value)
    found, recipe = diagnose(network, torch.full((SYMPTOMS,), 1e9), None)
    assert found.width == WIDEST
    assert all(torch.isfinite(x).all() for x in (recipe.shares, recipe.luma, recipe.chroma))
    torch.nn.init.constant_(network.causes[-1].get_parameter("bias"), -50.0)
    found, _ = diagnose(network, torch.zeros(SYMPTOMS), None)
    assert (found.width, found.noise, found.compression) == (0, 0, 0)


@torch.inference_mode()
def test_shares_start_from_the_chances_and_a_width_is_told(network: BlurDiagnosis) -> None:
    for layer in network.ratios[-1].parameters():
        torch.nn.init.zeros_(layer)
    normal, width = torch.randn(3, SYMPTOMS), torch.tensor([0.0, 1.0, 2.0])
    found = network.find(normal, width)
    luma, chroma, shares = network.choose(normal, width, found)
    torch.testing.assert_close(shares, found[:, : len(KINDS)].softmax(1))
    assert luma[:, 1:].unique().tolist() == chroma[:, 1:].unique().tolist() == [-1.5]
    assert luma[:, 0].unique().tolist() == chroma[:, 0].unique().tolist() == [-5]  # the mean stays
    expected = torch.tensor([[-1, 0], [1, 0.18232], [1, 0.78846]])
    torch.testing.assert_close(given(width)[1:], expected[1:], atol=1e-4, rtol=0)
    assert given(width)[0, 1] == 0
    assert given(width)[0, 0] != given(width)[1, 0]
