"""Put the networks of the embedded model into one checkpoint.

    python -m vrx.train.pack --network FILE... --sharpness FILE --diagnosis FILE --enlarging FILE --out FILE
        [--guard FILE] [--sharp FILE [--share X]] [--fast FILE] [--note KEY=TEXT ...]
    python -m vrx.train.pack --base FILE [any of them] --out FILE

`--network` may be a packed checkpoint, `--enlarging` a `recurrent.safetensors` of `vrx.train.recurrent`, `--sharp` a
`sharp.safetensors` of `vrx.train.sharp`, `--fast` a smaller `recurrent.safetensors`.  Of `--base`, a packed checkpoint,
all stays that is not given.  Prints the size, hash and parameter count for `weights.toml`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vrx.models.embedded.checkpoint import (
    DAMAGE,
    DIAGNOSIS,
    ENLARGING,
    FAST,
    FAST_PEAKS,
    GUARD,
    PEAKS,
    SHARP,
    SHARP_PEAKS,
    SHARPNESS,
    check_networks,
    load_networks,
    section,
)
from vrx.networks.embedded.guard import DeblurGuard
from vrx.networks.embedded.network import MODES, SMALL
from vrx.weights import checkpoint, hashes

RENAMED = {"network.": ENLARGING, "damage.": DAMAGE}  # as the recipe has them, as the checkpoint does
SHARED = ("middle.", "attention.")
PREFIXES = (ENLARGING, DAMAGE, SHARPNESS, DIAGNOSIS, GUARD, PEAKS, SHARP, SHARP_PEAKS, FAST, FAST_PEAKS)


def mean(networks: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of networks, one trained from the other: often better than either (Wortsman et al., 2022)."""
    wanted = (*SHARED, *(f"{part}.{mode}." for part in ("stems", "families", "heads", "conditions") for mode in MODES))
    own = [name for name in networks[-1] if name.startswith(wanted)]
    return {name: torch.stack([network[name] for network in networks]).mean(0) for name in own}


def replaced(tensors: dict[str, Tensor], prefix: str, part: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with those under a prefix exchanged for a part's."""
    others = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}
    return {**others, **{f"{prefix}{name}": tensor for name, tensor in part.items()}}


def with_enlarging(tensors: dict[str, Tensor], found: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with another enlarging network and its estimator, and without what belongs to the one before."""
    for name, prefix in RENAMED.items():
        tensors = replaced(tensors, prefix, section(found, name))
    for prefix in (PEAKS, SHARP, SHARP_PEAKS):
        tensors = replaced(tensors, prefix, {})
    return tensors


def between(plain: dict[str, Tensor], trained: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """What differs of networks, one trained from the other, at a share of the way (Wang et al., 2019), in 16 bits."""
    differs = [name for name, tensor in trained.items() if not torch.equal(tensor, plain[name])]
    return {name: torch.lerp(plain[name], trained[name], share).half() for name in differs}


def main() -> None:
    """Merge, write, read back."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, help="a packed checkpoint")
    parser.add_argument("--network", type=Path, nargs="+", help="of several the mean is taken")
    parser.add_argument("--sharpness", type=Path)
    parser.add_argument("--diagnosis", type=Path)
    parser.add_argument("--guard", type=Path, help="without any one that is not trained, for vrx.train.guard to read")
    parser.add_argument("--enlarging", type=Path)
    parser.add_argument("--sharp", type=Path)
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the way from the enlarging network to the sharp one"
    )
    parser.add_argument("--fast", type=Path)
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
        tensors = with_enlarging(tensors, load_file(args.enlarging))
        given = checkpoint.parse_config(args.enlarging, checkpoint.read_metadata(args.enlarging))
        sizes[ENLARGING.rstrip(".")] = given
    if args.sharp:
        plain, trained = section(tensors, ENLARGING), section(load_file(args.sharp), "network.")
        tensors = replaced(replaced(tensors, SHARP_PEAKS, {}), SHARP, between(plain, trained, args.share))
    if args.fast:
        small = {name: weight.half() for name, weight in section(load_file(args.fast), "network.").items()}
        tensors = replaced(replaced(tensors, FAST_PEAKS, {}), FAST, small)
    config = {**sizes, **vars(SMALL)}
    notes = {**metadata, **dict(note.split("=", 1) for note in args.note)}
    save_file(tensors, args.out, {**notes, "family": "embedded", "config": json.dumps(config)})
    check_networks(args.out)
    made = load_networks(args.out)
    print(f"parameters = {made.parameters}\nsize = {args.out.stat().st_size}\nsha256 = {hashes.sha256(args.out)!r}")  # noqa: T201


if __name__ == "__main__":
    main()
