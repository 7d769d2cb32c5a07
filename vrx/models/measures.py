"""Networks that measure pictures and restore none: what the catalogue has under `[measures]`, and how it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from vrx.errors import ModelError
from vrx.networks.perceptual import Dists, Lpips
from vrx.weights import catalogue, checkpoint, store
from vrx.weights.catalogue import Entry

TASK = "compare"
BACKBONE = "backbone"
FEATURES = "features."  # of a published classifier, what is used
LINEAR = ("lin{}.model.1.weight", "linear.{}")  # published and here, by the number of the layer

Network = Lpips | Dists
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class MeasureRules:
    """The tasks and scales that an entry may state."""

    tasks: tuple[str, ...] = (TASK,)
    scales: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MeasureFamily:
    """A published measure: its network, and how the tensors of the role that is its own are called there.

    `components`: its roles, all of which it needs.
    """

    build: Callable[[], Network]
    rename: Callable[[Tensors], Tensors]
    components: Mapping[str, object]
    capabilities: MeasureRules = field(default_factory=MeasureRules)

    @property
    def needs(self) -> tuple[str, ...]:
        """Every role."""
        return tuple(self.components)


def rename_features(tensors: Tensors) -> Tensors:
    """The convolutions of a published classifier, as a measure's backbone."""
    return {f"{BACKBONE}.{name}": tensor for name, tensor in tensors.items() if name.startswith(FEATURES)}


def rename_linear(tensors: Tensors) -> Tensors:
    """LPIPS' published linear layers, [1, C, 1, 1] each, as vectors."""
    published, own = LINEAR
    count = len(Lpips().linear)
    return {own.format(n): tensors[published.format(n)].flatten() for n in range(count)}


def rename_shares(tensors: Tensors) -> Tensors:
    """DISTS' published weights."""
    return {name: tensors[name] for name in ("alpha", "beta")}


MEASURES: dict[str, MeasureFamily] = {
    "lpips": MeasureFamily(
        build=Lpips,
        rename=rename_linear,
        components={BACKBONE: "AlexNet", "linear": "of every layer"},
    ),
    "dists": MeasureFamily(build=Dists, rename=rename_shares, components={BACKBONE: "VGG-16", "shares": "of channels"}),
}


@dataclass(frozen=True)
class Measure:
    """A loaded measure of two pictures; `name` is its family's."""

    name: str
    network: Network

    def obstacle(self, size: tuple[int, int]) -> str:
        """Why pictures of a size, width and height, are not measured; empty where they are."""
        if min(size) < self.network.SMALLEST:
            return f"below {self.network.SMALLEST} pixels a side"
        return f"above {self.network.LARGEST:,} pixels" if size[0] * size[1] > self.network.LARGEST else ""

    def distance(self, one: Tensor, other: Tensor) -> float | None:
        """Between colors [3, H, W] in 0..1; None for sizes that have an obstacle."""
        if self.obstacle((one.shape[-1], one.shape[-2])):
            return None
        with torch.inference_mode():
            return float(self.network(one[None], other[None]))


def load_entries() -> dict[str, Entry]:
    """The entries of all measures in the catalogue.  Raises ModelError."""
    return catalogue.load_all(MEASURES, catalogue.MEASURES)


def load_measure(entry: Entry, models: Path) -> Measure:
    """A measure from its files, which must be on this machine; `models` is the folder of those that the user added.

    Raises ModelError for files that are missing, damaged or of something else.
    """
    family = MEASURES[entry.family]
    found: Tensors = {}
    for part in entry.parts:
        path = store.verify_part(entry, part, models)
        tensors = checkpoint.load_tensors(path)[0]
        try:
            found |= rename_features(tensors) if part.role == BACKBONE else family.rename(tensors)
        except KeyError as error:
            raise ModelError(f"{path} is not the {part.role} of {entry.name}: it lacks {error}") from error
    network = family.build()
    checkpoint.load_into(network, {name: tensor.float() for name, tensor in found.items()}, path)
    network.requires_grad_(False)
    return Measure(entry.family, network.eval())
