"""Average two states of one network, such as InstaVSR's before and after its adversarial phase.

    python -m vrx.train.average BEFORE AFTER --out FILE [--share 0.5] [--note KEY=TEXT ...]

Interpolated weights keep part of the texture that the second phase adds, with fewer of its artifacts (as Wang et al.,
2018, interpolate networks).  Prints size and hash for `weights.toml`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vrx.weights import checkpoint, hashes


def average(before: dict[str, Tensor], after: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights in float32, `share` (0 to 1) of the way.  Raises ValueError for networks of other names or shapes."""
    if {name: x.shape for name, x in before.items()} != {name: x.shape for name, x in after.items()}:
        raise ValueError("the two files hold different networks")
    return {name: torch.lerp(x.float(), after[name].float(), share) for name, x in before.items()}


def main() -> None:
    """Average, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.5, help="of the second")
    parser.add_argument("--note", action="append", default=[], help="further metadata, KEY=TEXT")
    args = parser.parse_args()
    notes = checkpoint.read_metadata(args.after) | dict(note.split("=", 1) for note in args.note)
    save_file(average(load_file(args.before), load_file(args.after), args.share), args.out, notes)
    print(f"size = {args.out.stat().st_size}\nsha256 = {hashes.sha256(args.out)!r}")  # noqa: T201


if __name__ == "__main__":
    main()
