"""The network that reads damage, as shipped."""

import pytest
import torch

from tests.clips import read
from tests.conftest import EXAMPLES
from vrx.models.embedded.checkpoint import load_networks
from vrx.networks.embedded import degradation
from vrx.networks.embedded.degradation import (
    LARGEST,
    LEVELS,
    MOST_DAMAGE,
    NOISE_UNIT,
    DegradationEstimator,
    estimate_damage,
)
from vrx.train import compression, degrade
from vrx.weights.hashes import packaged_path


@torch.inference_mode()
@pytest.mark.parametrize("size", [(1, 1), (7, 40), (100, 33), (LARGEST + 50, 20)])
def test_every_size_gives_levels(size: tuple[int, int]) -> None:
    levels = estimate_damage(DegradationEstimator(), torch.rand(2, 3, *size))
    assert levels.shape == (LEVELS,)
    assert ((levels >= 0) & (levels <= MOST_DAMAGE)).all()


def test_every_clip_of_a_batch_gets_its_own() -> None:
    assert DegradationEstimator()(torch.rand(2, 2, 3, 32, 32)).shape == (2, LEVELS)


@pytest.fixture(scope="module")
def shipped() -> DegradationEstimator:
    return load_networks(packaged_path("embedded.safetensors")).degradation


@pytest.fixture(scope="module")
def clean() -> torch.Tensor:
    clip = torch.from_numpy(read(EXAMPLES / "flower.mp4").frames[:4]).permute(0, 3, 1, 2).float() / 255
    return degrade.quantize(degrade.shrink(clip, 2))


@torch.inference_mode()
def test_stronger_compression_is_read_as_stronger(shipped: DegradationEstimator, clean: torch.Tensor) -> None:
    coded = [compression.through_h264(clean[None], crf, "medium")[0] for crf in (24, 36)]
    found = [float(estimate_damage(shipped, frames)[1]) for frames in (clean, *coded)]
    assert found[0] < 0.2
    assert found[0] < found[1] < found[2]
    assert found[2] > 0.5


@torch.inference_mode()
def test_noise_is_measured(shipped: DegradationEstimator, clean: torch.Tensor) -> None:
    grain = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)) / 255
    for deviation in (0, 4, 8, 16):  # levels of 255
        noisy = degrade.quantize((clean + deviation * grain).clamp(0, 1))
        found = float(estimate_damage(shipped, noisy)[0]) * NOISE_UNIT * 255
        assert found == pytest.approx(deviation, abs=1.0 + deviation / 4)


@torch.inference_mode()
def test_small_and_empty_pictures_are_not_taken_for_damaged(shipped: DegradationEstimator, clean: torch.Tensor) -> None:
    for size in (12, 24):
        assert estimate_damage(shipped, clean[..., 40 : 40 + size, 60 : 60 + size])[1] < 0.5
    slope = degrade.quantize(torch.arange(96.0).mul(1.6 / 255).expand(2, 3, 64, -1))
    assert estimate_damage(shipped, slope).max() == 0


def test_detail_is_what_stands_out_of_its_surroundings() -> None:
    checker = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(24, 24).expand(1, 3, -1, -1)
    assert degradation.detail(0.5 + checker * 4 / 255) == pytest.approx(2, rel=0.2)
    assert degradation.detail(checker * 0) == 0
