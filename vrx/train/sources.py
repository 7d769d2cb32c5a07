"""What the recipes of the small estimators share: their arguments, and the pictures they are made of."""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from torch import Tensor

from vrx.train.data import FRAMES, footage_runs, read_photo

RUNS_KEPT = 0.25  # of the footage's


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser of the common arguments."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--footage", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hold-out", nargs="*", default=[], help="file stems reserved for evaluation")
    return parser


def pictures(args: argparse.Namespace, rng: random.Random, length: int = FRAMES) -> tuple[list[Tensor], list[Tensor]]:
    """Photos, uint8 [3, H, W], and runs of `length` frames of footage, uint8 [T, 3, H, W]; without what is held out."""
    photos = [read_photo(path) for path in sorted(args.photos.iterdir()) if path.stem not in args.hold_out]
    runs: list[Tensor] = []
    for path in sorted(args.footage.iterdir()) if args.footage else []:
        if path.stem not in args.hold_out:
            runs += [run for run in footage_runs(path, rng, length) if rng.random() < RUNS_KEPT]
    return photos, runs
