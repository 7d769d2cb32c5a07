"""Measure how large the inputs of the enlarging network's convolutions get, and put that into a packed checkpoint.

    python -m vrx.train.peaks --checkpoint FILE --material DIR --out FILE [--sharp|--fast] [--clips 240] [--frames 8]

The clips are those that the network is trained with (`vrx.train.pool`), in all scales.  With these peaks
(`vrx.networks.embedded.int8`) it runs in 8 bits on processors that are faster so.  With `--sharp` they are those of the
sharp look's network, with `--fast` those of the smaller one, and all others stay.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vrx.models.embedded.checkpoint import (
    FAST_PEAKS,
    PEAKS,
    SHARP_PEAKS,
    check_networks,
    load_fast,
    load_networks,
    load_sharp,
)
from vrx.networks.embedded.int8 import Peaks
from vrx.networks.embedded.recurrent import (
    PIXELS,
    SLOPE,
    Block,
    ClipMotion,
    PreviousFrame,
    Propagation,
    RecurrentNetwork,
)
from vrx.train.footage import load_footage, load_photographs
from vrx.train.pool import Clips, Maker
from vrx.train.slots import OUTSIDE
from vrx.weights import checkpoint

AT_ONCE = 4  # clips


class Meter:
    """Watches one direction of the network and keeps the largest values of each channel."""

    def __init__(self, network: Propagation) -> None:
        self.peaks = Peaks.zero(network)
        for number, block in enumerate(network.blocks):
            block.register_forward_pre_hook(lambda block, given, number=number: self.watch(number, block, *given))

    def watch(self, number: int, block: nn.Module, x: Tensor, shift: Tensor) -> None:
        """What goes into a block [N, C, H, W], and what it makes of it in between."""
        assert isinstance(block, Block)
        hidden = F.leaky_relu(block.first(x) + shift[..., None, None], SLOPE)
        for kept, values in ((self.peaks.stream, x.abs()), (self.peaks.raised, hidden), (self.peaks.lowered, -hidden)):
            raise_to(kept[number], values)

    def note(self, features: list[Tensor]) -> None:
        """What comes out, [N, C, H, W] each."""
        for values in features:
            raise_to(self.peaks.features, values.abs())


def raise_to(kept: Tensor, values: Tensor) -> None:
    """Raise peaks [C] in place to the largest of [N, C, H, W]."""
    torch.maximum(kept, values.amax((0, 2, 3)), out=kept)


@torch.inference_mode()
def walk(network: RecurrentNetwork, clips: Clips) -> tuple[list[Tensor], list[Tensor]]:
    """Run clips through the network; the features of all frames and of the branch for later ones."""
    low, motion = clips.low.float() / 255, clips.motion.float()
    before, after = motion[:, 0].clone(), motion[:, 1].clone()
    before[:, 0], after[:, -1] = OUTSIDE, OUTSIDE
    empty = low.new_zeros(len(low), network.config.channels, *before.shape[-2:])
    walked = network(clips.scale, low, clips.levels, PreviousFrame(empty, low[:, 0]), ClipMotion(before, after))
    return walked.features, walked.later


def measure(network: RecurrentNetwork, maker: Maker, count: int) -> dict[str, Tensor]:
    """The peaks over so many clips, by name."""
    trunk, later = Meter(network), Meter(network.later) if network.later is not None else None
    scales = list(PIXELS)
    for number in range(0, count, AT_ONCE):
        found = walk(network, maker.make(scales[number // AT_ONCE % len(scales)], AT_ONCE))
        trunk.note(found[0])
        if later is not None:
            later.note(found[1])
    return {**trunk.peaks.tensors("trunk."), **(later.peaks.tensors("later.") if later is not None else {})}


def measured(path: Path, maker: Maker, count: int, prefix: str) -> dict[str, Tensor]:
    """The tensors of a packed checkpoint with the peaks of one of its networks, that whose peaks are under a prefix.

    The sharp look's branch is the other's.  Raises ModelError.
    """
    networks, tensors = load_networks(path), load_file(path)
    others = {SHARP_PEAKS: load_sharp, FAST_PEAKS: load_fast}
    networks = others[prefix](path, networks) if prefix in others else networks
    found = measure(networks.enlarging, maker, count)
    own = {name: peak for name, peak in found.items() if prefix != SHARP_PEAKS or name.startswith("trunk.")}
    peaks = {f"{prefix}{name}": peak for name, peak in own.items()}
    return {**{name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}, **peaks}


def main() -> None:
    """Measure, write, read back."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--material", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    which = parser.add_mutually_exclusive_group()
    for name, prefix, network in (("sharp", SHARP_PEAKS, "of the sharp look"), ("fast", FAST_PEAKS, "for speed")):
        which.add_argument(
            f"--{name}", action="store_const", dest="prefix", const=prefix, default=PEAKS, help=f"the network {network}"
        )
    parser.add_argument("--clips", type=int, default=240)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    maker = Maker(load_photographs(args.material), load_footage(args.material)[0], args.frames, workers=1)
    tensors = measured(args.checkpoint, maker, args.clips, args.prefix)
    maker.close()
    save_file(tensors, args.out, checkpoint.read_metadata(args.checkpoint))
    check_networks(args.out)
    print("\n".join(f"{n}: {float(t.amax()):.2f}" for n, t in tensors.items() if n.startswith(args.prefix)))  # noqa: T201


if __name__ == "__main__":
    main()
