"""The peaks that 8 bits need, measured on clips."""

import torch
from torch import Tensor, nn

from tests.networks.networks import tiny_enlarging
from vrx.models.embedded.checkpoint import PEAKS
from vrx.networks.embedded.int8 import Peaks
from vrx.networks.embedded.recurrent import PIXELS
from vrx.train import peaks
from vrx.train.pool import Clips


class Drawn:
    """Makes clips of 3 frames at random, and keeps them."""

    def __init__(self) -> None:
        self.scales: list[int] = []

    def make(self, scale: int, count: int) -> Clips:
        torch.manual_seed(len(self.scales))
        self.scales.append(scale)
        side = 6 * PIXELS[scale]
        low = torch.randint(0, 255, (count, 3, 3, side, side), dtype=torch.uint8)
        motion = torch.randn(count, 2, 3, 2, 6, 6).half()
        return Clips(scale, low, low, motion, torch.rand(count, 3))


def largest(outputs: list[Tensor]) -> Tensor:
    return torch.stack([out.amax((0, 2, 3)) for out in outputs]).amax(0)


def test_peaks_are_the_largest_values_over_all_clips_and_scales() -> None:
    network, maker = tiny_enlarging(), Drawn()
    assert network.later is not None
    entering: list[Tensor] = []
    hidden: list[Tensor] = []
    leaving: list[Tensor] = []

    def watch(block: nn.Module, given: tuple[Tensor, Tensor], out: Tensor) -> None:
        first = block.get_submodule("first")
        entering.append(given[0].abs())
        hidden.append(torch.nn.functional.leaky_relu(first(given[0]) + given[1][..., None, None], 0.1))
        leaving.append(out)

    second = network.blocks[1]
    second.register_forward_hook(watch)
    found = peaks.measure(network, maker, 12)  # type: ignore[arg-type]  # all that it asks of one
    assert sorted(maker.scales) == sorted(PIXELS)
    trunk, later = Peaks.from_tensors(found, f"{PEAKS}trunk."), Peaks.from_tensors(found, f"{PEAKS}later.")
    assert torch.equal(trunk.stream[1], largest(entering))
    assert torch.allclose(trunk.raised[1], largest(hidden).clamp_min(0))
    assert torch.allclose(trunk.lowered[1], largest([-x for x in hidden]).clamp_min(0))
    bounded = largest([(torch.tanh(x / network.bound) * network.bound).abs() for x in leaving])
    assert torch.allclose(trunk.features, bounded)
    assert later.stream.shape == (len(network.later.blocks), network.channels)
    assert (later.features > 0).all()
