"""Put the networks of the embedded model into one checkpoint.

    python -m vrx.train.pack --network FILE... --sharpness FILE --diagnosis FILE --enlarging FILE --out FILE
        [--guard FILE] [--note KEY=TEXT ...]

`--network` may be a packed checkpoint, `--enlarging` a `recurrent.safetensors` of `vrx.train.recurrent`.  Prints
the size, hash and parameter count for `weights.toml`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vrx.models.embedded.checkpoint import DAMAGE, DIAGNOSIS, ENLARGING, GUARD, SHARPNESS, load_networks
from vrx.networks.embedded.guard import DeblurGuard
from vrx.networks.embedded.network import MODES, SMALL
from vrx.weights import checkpoint, hashes

RENAMED = {"network.": ENLARGING, "damage.": DAMAGE}  # as the recipe has them, as the checkpoint does
SHARED = ("middle.", "attention.")


def mean(networks: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of networks, one trained from the other: often better than either (Wortsman et al., 2022)."""
    wanted = (*SHARED, *(f"{part}.{mode}." for part in ("stems", "families", "heads", "conditions") for mode in MODES))
    own = [name for name in networks[-1] if name.startswith(wanted)]
    return {name: torch.stack([network[name] for network in networks]).mean(0) for name in own}


def main() -> None:
    """Merge, write, read back."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", type=Path, nargs="+", required=True, help="of several the mean is taken")
    parser.add_argument("--sharpness", type=Path, required=True)
    parser.add_argument("--diagnosis", type=Path, required=True)
    parser.add_argument("--guard", type=Path, help="without it one that is not trained, for vrx.train.guard to read")
    parser.add_argument("--enlarging", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--note", action="append", default=[], help="further metadata, KEY=TEXT")
    args = parser.parse_args()
    tensors = mean([load_file(path) for path in args.network])
    tensors |= {f"{SHARPNESS}{name}": tensor for name, tensor in load_file(args.sharpness).items()}
    tensors |= {f"{DIAGNOSIS}{name}": tensor for name, tensor in load_file(args.diagnosis).items()}
    guard = load_file(args.guard) if args.guard else DeblurGuard().state_dict()
    tensors |= {f"{GUARD}{name}": tensor for name, tensor in guard.items()}
    for name, tensor in load_file(args.enlarging).items():
        prefix = next(prefix for prefix in RENAMED if name.startswith(prefix))
        tensors[RENAMED[prefix] + name.removeprefix(prefix)] = tensor
    config = {
        **vars(SMALL),
        ENLARGING.rstrip("."): checkpoint.parse_config(args.enlarging, checkpoint.read_metadata(args.enlarging)),
    }
    notes = {**checkpoint.read_metadata(args.network[-1]), **dict(note.split("=", 1) for note in args.note)}
    save_file(tensors, args.out, {**notes, "family": "embedded", "config": json.dumps(config)})
    parts = load_networks(args.out)
    print(f"parameters = {parts.parameters}\nsize = {args.out.stat().st_size}\nsha256 = {hashes.sha256(args.out)!r}")  # noqa: T201


if __name__ == "__main__":
    main()
