"""Put the parts of the embedded model into one checkpoint.

    python -m vrx.train.pack --network FILE... --sharpness FILE --strength FILE --out FILE [--note KEY=TEXT ...]

Prints the size, hash and parameter count for `weights.toml`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vrx.restorers.embedded import load_parts
from vrx.weights import disk, load

HELPERS = ("sharpness", "strength")


def mean(networks: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of networks, one trained from the other: often better than either (Wortsman et al., 2022)."""
    own = [name for name in networks[-1] if not name.startswith(HELPERS)]
    return {name: torch.stack([network[name] for network in networks]).mean(0) for name in own}


def main() -> None:
    """Merge, write, read back."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", type=Path, nargs="+", required=True, help="of several the mean is taken")
    for helper in HELPERS:
        parser.add_argument(f"--{helper}", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--note", action="append", default=[], help="further metadata, KEY=TEXT")
    args = parser.parse_args()
    tensors = mean([load_file(path) for path in args.network])
    for helper in HELPERS:
        tensors |= {f"{helper}.{name}": tensor for name, tensor in load_file(getattr(args, helper)).items()}
    notes = dict(note.split("=", 1) for note in args.note)
    save_file(tensors, args.out, {**load.metadata(args.network[-1]), **notes})
    parts = load_parts(args.out)
    count = sum(p.numel() for net in (parts.network, parts.sharpness, parts.strength) for p in net.parameters())
    print(f"parameters = {count}\nsize = {args.out.stat().st_size}\nsha256 = {disk.sha256(args.out)!r}")  # noqa: T201


if __name__ == "__main__":
    main()
