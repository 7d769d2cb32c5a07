"""Networks of the published sizes with random weights: to measure speed and memory without a download."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor, nn

from vrx.models.components import Components, Network
from vrx.models.family import Family
from vrx.networks.wan.transformer import WanConfig
from vrx.weights import checkpoint, hashes
from vrx.weights.catalogue import Entry, PartFile

CPU = torch.device("cpu")
SPREAD = 0.02  # deviation of the weights


def random_context(family: Family) -> Tensor:
    """Guidance rows [1, L, D] as long and as wide as those of the family's prompts."""
    configs = (component.config for component in family.components.values())
    shape = next((config.context_shape for config in configs if config and config.context_shape), None)
    return torch.randn(1, *(shape or WanConfig().context_shape))


def read_config(part: PartFile, family: Family) -> Any:
    """The size of a network in the package."""
    network = family.components[part.role].network
    assert network is not None
    return network.CONFIG.from_tensors(checkpoint.read_shapes(hashes.packaged_path(part.path)), {})


@dataclass(frozen=True, kw_only=True)
class RandomComponents(Components):
    """Components of a family with random weights; `device` and `dtype` are where the networks will run.

    `roles`: those that there are; `configs`: sizes by role that are not the published ones.
    """

    family: Family
    roles: frozenset[str]
    device: torch.device = CPU
    dtype: torch.dtype = torch.float32
    configs: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, entry: Entry, family: Family, device: torch.device, dtype: torch.dtype) -> Self:
        """The networks of a catalogue entry; one in the package has the size of its file."""
        roles = frozenset(part.role for part in entry.parts if family.components[part.role].network)
        configs = {part.role: read_config(part, family) for part in entry.parts if entry.packaged}
        return cls(family=family, roles=roles, device=device, dtype=dtype, configs=configs)

    def config(self, role: str) -> Any:
        """The size of a component's network."""
        return self.configs.get(role, self.family.components[role].config)

    def has(self, role: str) -> bool:
        """Whether there is such a component."""
        return role in self.roles

    def tensors(self, role: str) -> dict[str, Tensor]:
        """Rows of a prompt, for components that are not networks."""
        return {} if self.family.components[role].network else {role: random_context(self.family)}

    def check_values(self, role: str, network: nn.Module) -> None:
        """They are known."""

    def wrap(self, role: str, kind: type[Network], tensors: dict[str, Tensor]) -> Network:
        """A network of the published size with random weights, on its device."""
        config = self.config(role)
        with torch.device("meta"):
            network = kind(config)
        if any(True for _ in network.buffers()):  # they are computed
            return kind(config).eval()
        network.cast_weights(self.dtype)
        network.to_empty(device=self.device)
        for parameter in network.parameters():
            parameter.requires_grad_(False)
            nn.init.ones_(parameter) if parameter.ndim < 2 else nn.init.normal_(parameter, std=SPREAD)
        return network.eval()
