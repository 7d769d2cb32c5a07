import torch

from tests.clips import read
from tests.conftest import EXAMPLES
from vrx.models.strength import LARGEST, StrengthNetwork, estimate_strength
from vrx.restorers.embedded import load_parts
from vrx.train import degrade
from vrx.weights.disk import packaged


@torch.inference_mode()
def test_every_size_gives_a_strength_between_none_and_full() -> None:
    network = StrengthNetwork()
    for size in ((1, 1), (7, 40), (100, 33), (LARGEST + 50, 20)):
        assert 0 <= estimate_strength(network, torch.rand(2, 3, *size)) <= 1


@torch.inference_mode()
def test_the_shipped_estimator_tells_clean_from_compressed() -> None:
    network = load_parts(packaged("embedded.safetensors")).strength
    clip = torch.from_numpy(read(EXAMPLES / "flower.mp4").frames[:4]).permute(0, 3, 1, 2).float() / 255
    clean = degrade.quantise(degrade.shrink(clip, 2))
    found = [estimate_strength(network, clean)]
    found += [estimate_strength(network, degrade.through_h264(clean[None], crf, "medium")[0]) for crf in (24, 36)]
    assert found[0] < 0.15
    assert found[0] < found[1] < found[2]
    assert found[2] > 0.4
