"""The peaks that 8 bits need, measured on clips."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.networks.networks import tiny_enlarging
from tests.weights.test_checkpoint import write_checkpoint
from vrx.models.embedded.checkpoint import ENLARGING, FAST, FAST_PEAKS, PEAKS, SHARP, SHARP_PEAKS, check_networks
from vrx.networks.embedded.int8 import Peaks
from vrx.networks.embedded.recurrent import PIXELS
from vrx.train import peaks
from vrx.train.pool import Clips
from vrx.train.start import shortened
from vrx.weights import checkpoint


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
    trunk, later = Peaks.from_tensors(found, "trunk."), Peaks.from_tensors(found, "later.")
    assert torch.equal(trunk.stream[1], largest(entering))
    assert torch.allclose(trunk.raised[1], largest(hidden).clamp_min(0))
    assert torch.allclose(trunk.lowered[1], largest([-x for x in hidden]).clamp_min(0))
    bounded = largest([(torch.tanh(x / network.bound) * network.bound).abs() for x in leaving])
    assert torch.allclose(trunk.features, bounded)
    assert later.stream.shape == (len(network.later.blocks), network.channels)
    assert (later.features > 0).all()


def test_the_sharp_looks_peaks_come_beside_the_others_and_its_branch_has_none_of_its_own(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "a.safetensors")
    plain = peaks.measured(path, Drawn(), 4, PEAKS)  # type: ignore[arg-type]
    trunk = {name.removeprefix(ENLARGING): t for name, t in plain.items() if name.startswith(f"{ENLARGING}recall.")}
    sharp = {f"{SHARP}{name}": (2 * tensor).half() for name, tensor in trunk.items()}
    save_file({**plain, **sharp}, path, checkpoint.read_metadata(path))
    found = peaks.measured(path, Drawn(), 4, SHARP_PEAKS)  # type: ignore[arg-type]
    assert all(torch.equal(found[name], tensor) for name, tensor in plain.items())
    added = {name for name in found if name.startswith(SHARP_PEAKS)}
    assert added == {name.replace(PEAKS, SHARP_PEAKS) for name in plain if name.startswith(f"{PEAKS}trunk.")}
    assert not torch.equal(found[f"{SHARP_PEAKS}trunk.stream"], found[f"{PEAKS}trunk.stream"])
    save_file(found, path, checkpoint.read_metadata(path))
    check_networks(path)


def test_the_fast_qualitys_peaks_are_of_its_own_network_which_has_no_branch(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "a.safetensors")
    tensors = load_file(path)
    whole = {n.removeprefix(ENLARGING): t for n, t in tensors.items() if n.startswith(ENLARGING)}
    small = {f"{FAST}{name}": tensor.half() for name, tensor in shortened(whole, (1,)).items()}
    save_file({**tensors, **small}, path, checkpoint.read_metadata(path))
    found = peaks.measured(path, Drawn(), 4, FAST_PEAKS)  # type: ignore[arg-type]
    added = {name.removeprefix(FAST_PEAKS) for name in found if name.startswith(FAST_PEAKS)}
    assert added == {"trunk.stream", "trunk.raised", "trunk.lowered", "trunk.features"}
    assert len(found[f"{FAST_PEAKS}trunk.stream"]) == 1
    assert (found[f"{FAST_PEAKS}trunk.features"] > 0).all()
    save_file(found, path, checkpoint.read_metadata(path))
    check_networks(path)
