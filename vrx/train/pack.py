"""Put the networks of the embedded model into one checkpoint.

    python -m vrx.train.pack --network FILE... --sharpness FILE --diagnosis FILE --enlarging FILE --out FILE
        [--guard FILE] [--note KEY=TEXT ...]
    python -m vrx.train.pack --base FILE [any of them] --out FILE

`--network` may be a packed checkpoint, `--enlarging` a `recurrent.safetensors` of `vrx.train.recurrent`.  Of `--base`,
a packed checkpoint, all stays that is not given.  Prints the size, hash and parameter count for `weights.toml`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vrx.models.embedded.checkpoint import DAMAGE, DIAGNOSIS, ENLARGING, GUARD, PEAKS, SHARPNESS, load_networks
from vrx.networks.embedded.guard import DeblurGuard
from vrx.networks.embedded.network import MODES, SMALL
from vrx.weights import checkpoint, hashes

RENAMED = {"network.": ENLARGING, "damage.": DAMAGE}  # as the recipe has them, as the checkpoint does
SHARED = ("middle.", "attention.")
PREFIXES = (ENLARGING, DAMAGE, SHARPNESS, DIAGNOSIS, GUARD, PEAKS)


def mean(networks: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of networks, one trained from the other: often better than either (Wortsman et al., 2022)."""
    wanted = (*SHARED, *(f"{part}.{mode}." for part in ("stems", "families", "heads", "conditions") for mode in MODES))
    own = [name for name in networks[-1] if name.startswith(wanted)]
    return {name: torch.stack([network[name] for network in networks]).mean(0) for name in own}


def replaced(tensors: dict[str, Tensor], prefix: str, part: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with those under a prefix exchanged for a part's."""
    others = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}
    return {**others, **{f"{prefix}{name}": tensor for name, tensor in part.items()}}


def main() -> None:
    """Merge, write, read back."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, help="a packed checkpoint")
    parser.add_argument("--network", type=Path, nargs="+", help="of several the mean is taken")
    parser.add_argument("--sharpness", type=Path)
    parser.add_argument("--diagnosis", type=Path)
    parser.add_argument("--guard", type=Path, help="without any one that is not trained, for vrx.train.guard to read")
    parser.add_argument("--enlarging", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--note", action="append", default=[], help="further metadata, KEY=TEXT")
    args = parser.parse_args()
    if not args.base and not all((args.network, args.sharpness, args.diagnosis, args.enlarging)):
        parser.error("without --base, all parts but --guard are needed")
    tensors, metadata, sizes = {}, {}, {}
    if args.base:
        tensors, metadata = load_file(args.base), checkpoint.read_metadata(args.base)
        sizes = dict(checkpoint.parse_config(args.base, metadata))
    if args.network:
        own = mean([load_file(path) for path in args.network])
        tensors = {**{n: t for n, t in tensors.items() if n.startswith(PREFIXES)}, **own}
        metadata = checkpoint.read_metadata(args.network[-1])
    parts = {SHARPNESS: args.sharpness, DIAGNOSIS: args.diagnosis, GUARD: args.guard}
    for prefix, path in parts.items():
        if path is not None:
            tensors = replaced(tensors, prefix, load_file(path))
    if not any(name.startswith(GUARD) for name in tensors):
        tensors = replaced(tensors, GUARD, DeblurGuard().state_dict())
    if args.enlarging:
        found = load_file(args.enlarging)
        for name, prefix in RENAMED.items():
            part = {n.removeprefix(name): t for n, t in found.items() if n.startswith(name)}
            tensors = replaced(tensors, prefix, part)
        given = checkpoint.parse_config(args.enlarging, checkpoint.read_metadata(args.enlarging))
        sizes[ENLARGING.rstrip(".")] = given
        tensors = replaced(tensors, PEAKS, {})  # of another network: `vrx.train.peaks` measures its own
    config = {**sizes, **vars(SMALL)}
    notes = {**metadata, **dict(note.split("=", 1) for note in args.note)}
    save_file(tensors, args.out, {**notes, "family": "embedded", "config": json.dumps(config)})
    made = load_networks(args.out)
    print(f"parameters = {made.parameters}\nsize = {args.out.stat().st_size}\nsha256 = {hashes.sha256(args.out)!r}")  # noqa: T201


if __name__ == "__main__":
    main()
