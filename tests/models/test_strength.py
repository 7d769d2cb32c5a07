import torch

from vrx.models.strength import LARGEST, StrengthNetwork, estimate_strength


@torch.inference_mode()
def test_every_size_gives_a_strength_between_none_and_full() -> None:
    network = StrengthNetwork()
    for size in ((1, 1), (7, 40), (100, 33), (LARGEST + 50, 20)):
        assert 0 <= estimate_strength(network, torch.rand(2, 3, *size)) <= 1
