"""Weights that the enlarging network's training begins with, where those at hand are of another size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from vrx.models.embedded.checkpoint import DAMAGE, ENLARGING
from vrx.networks.embedded.degradation import DegradationEstimator
from vrx.networks.embedded.recurrent import RecurrentNetwork
from vrx.weights import checkpoint
from vrx.weights.hashes import SAFE


@dataclass(frozen=True)
class Start:
    """A file to begin from: a `state.pt`, a `recurrent.safetensors`, or a packed checkpoint of the embedded model.

    `kept`: the blocks of its trunk that are taken, all unless given; see `shortened`.
    """

    path: Path
    kept: Sequence[int] = ()

    @property
    def is_state(self) -> bool:
        """Whether it has momenta too."""
        return self.path.suffix != SAFE


def load_weights(start: Start, network: RecurrentNetwork, damage: DegradationEstimator) -> None:
    """Fill both from a file that has weights only.  Raises ModelError."""
    path, kept = start.path, start.kept
    tensors = load_file(path)
    packed = any(name.startswith(ENLARGING) for name in tensors)
    for prefix, part in ((ENLARGING if packed else "network.", network), (DAMAGE, damage)):
        own = {n.removeprefix(prefix): t.float() for n, t in tensors.items() if n.startswith(prefix)}
        if part is network:
            own = grown(shortened(own, kept) if kept else own, network)
        checkpoint.load_into(part, own, path)


def grown(weights: dict[str, Tensor], network: RecurrentNetwork) -> dict[str, Tensor]:
    """Weights of a network without the branch for later frames, with one that begins as the trunk's first layers do.

    The network as a whole then begins as it was, since what the branch finds is not yet added.
    """
    if network.later is None or any(name.startswith("later.") for name in weights):
        return weights
    added = {"combine.weight": torch.zeros_like(weights["recall.weight"])}
    for name, empty in network.later.state_dict().items():
        added[f"later.{name}"] = weights[name][: len(empty)].clone()
    return {**weights, **added}


def shortened(weights: dict[str, Tensor], kept: Sequence[int]) -> dict[str, Tensor]:
    """Weights of a network with some blocks of its trunk only, numbered from 0, without the branch for later frames."""
    found = {name: weight for name, weight in weights.items() if not name.startswith(("blocks.", "later.", "combine."))}
    for number, block in enumerate(kept):
        prefix = f"blocks.{block}."
        own = {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}
        found |= {f"blocks.{number}.{name}": weight for name, weight in own.items()}
    width = len(weights["recall.weight"])
    for name in ("conditions.2.weight", "conditions.2.bias"):  # a shift for each block
        found[name] = torch.cat([weights[name][width * block : width * (block + 1)] for block in kept])
    return found
