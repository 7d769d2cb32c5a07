"""Which earlier latent frames each layer of ReCaVSR's transformer sees: a fixed table (arXiv 2609.37831)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

RECENT = {"none": 0, "anchor": 0, "recent_1": 1, "recent_2": 2, "recent_4": 4}
ACTIONS = (*RECENT, "recent_2_anchor", "recent_4_anchor")
TABLE: dict[str, tuple[int, ...]] = {  # layers of the released network by what they keep
    "none": (0, 1, 3, 5, 8, 21, 24, 26, 28, 29),
    "recent_1": (2, 27),
    "recent_2": (4, 6, 12, 16, 20, 23, 25),
    "recent_4": (7, 10, 19),
    "anchor": (14,),
    "recent_2_anchor": (9, 18, 22),
    "recent_4_anchor": (11, 13, 15, 17),
}
RELEASED = tuple(action for _, action in sorted((layer, name) for name, layers in TABLE.items() for layer in layers))


@dataclass(frozen=True)
class Anchors:
    """Latent frames that some layers keep for long: `first`, and every `stride`-th after it; the latest `most`."""

    first: int = 5
    stride: int = 6
    most: int = 2

    def latest(self, count: int) -> list[int]:
        """Those among the first `count` latent frames of a scene."""
        return list(range(self.first, count, self.stride))[-self.most :]


def visible(action: str, count: int, anchors: Anchors) -> list[int]:
    """Which of the first `count` latent frames a layer still sees, in order."""
    recent = RECENT[action.removesuffix("_anchor")]
    chosen = set(range(max(0, count - recent), count))
    if action.endswith("anchor"):
        chosen.update(anchors.latest(count))
    return sorted(chosen)


Pair = tuple[Tensor, Tensor]  # keys and values of a latent frame, [B, h, N, d]


@dataclass
class History:
    """Keys and values of earlier latent frames in every layer, rotated to absolute positions.

    `kept`: for each layer, by the frame's number in the scene; `count` frames were committed since it began.  Nothing
    counts before `advance`, so a block that failed half-way is simply run again.
    """

    actions: tuple[str, ...]
    anchors: Anchors
    kept: list[dict[int, Pair]] = field(default_factory=list)
    pending: dict[int, dict[int, Pair]] = field(default_factory=dict)
    count: int = 0

    def __post_init__(self) -> None:
        self.kept = self.kept or [{} for _ in self.actions]

    def write(self, layer: int, keys: Tensor, values: Tensor, frames: int) -> Pair:
        """Add a block of `frames` latent frames [B, h, frames N, d]; return all it may attend to, oldest first."""
        action, kept = self.actions[layer], self.kept[layer]
        wanted = visible(action, self.count + frames, self.anchors)
        new = zip(keys.chunk(frames, 2), values.chunk(frames, 2), strict=True)
        pairs = {self.count + number: pair for number, pair in enumerate(new)}
        self.pending[layer] = {
            number: kept[number] if number in kept else (pairs[number][0].clone(), pairs[number][1].clone())
            for number in wanted
        }
        if not kept:
            return keys, values
        old = [kept[number] for number in sorted(kept)]
        return torch.cat([*(k for k, _ in old), keys], 2), torch.cat([*(v for _, v in old), values], 2)

    def advance(self, frames: int) -> None:
        """Commit a block: after its last layer."""
        self.kept = [self.pending[layer] for layer in range(len(self.actions))]
        self.pending, self.count = {}, self.count + frames

    @property
    def full(self) -> bool:
        """Whether every layer keeps as many frames as it ever will."""
        return self.count > self.anchors.first + self.anchors.stride * (self.anchors.most - 1)

    @property
    def nbytes(self) -> int:
        """Bytes of all that is kept."""
        return sum(part.nbytes for kept in self.kept for pair in kept.values() for part in pair)

    def tensors(self) -> dict[str, Tensor]:
        """All there is to save, by name."""
        found = {"count": torch.tensor(self.count)}
        for layer, kept in enumerate(self.kept):
            for number, (keys, values) in kept.items():
                found |= {f"{layer}.{number}.keys": keys, f"{layer}.{number}.values": values}
        return found

    def restore(self, tensors: dict[str, Tensor], device: torch.device) -> None:
        """Take back what `tensors` gave, onto a device."""
        self.count, self.pending = int(tensors["count"]), {}
        self.kept = [{} for _ in self.actions]
        for name in sorted(name for name in tensors if name.endswith(".keys")):
            layer, number, _ = name.split(".")
            pair = tensors[name].to(device), tensors[f"{layer}.{number}.values"].to(device)
            self.kept[int(layer)][int(number)] = pair

    def to(self, device: torch.device) -> History:
        """The same on a device."""
        kept = [{number: (k.to(device), v.to(device)) for number, (k, v) in layer.items()} for layer in self.kept]
        return History(self.actions, self.anchors, kept, {}, self.count)


def check_actions(actions: Sequence[str], layers: int) -> tuple[str, ...]:
    """The action of every layer.  Raises ValueError where they are not those of so many layers, or not known."""
    if len(actions) != layers:
        raise ValueError(f"layer_actions has {len(actions)} entries for {layers} layers")
    unknown = sorted(set(actions) - set(ACTIONS))
    if unknown:
        raise ValueError(f"layer_actions has {unknown[0]}, which is none of {', '.join(ACTIONS)}")
    return tuple(actions)
