"""Networks of the published sizes with random weights: to measure speed and memory without a download."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vrx.models import sizes
from vrx.models.components import Network, Parts
from vrx.networks.flashvsr.projection import ProjectionConfig
from vrx.networks.leanvae import LeanConfig
from vrx.networks.ram import RamConfig, VisualGuidance
from vrx.networks.taehv import ConditionalConfig, TinyConfig
from vrx.networks.wan.autoencoder import WanAutoencoderConfig
from vrx.networks.wan.transformer import WanConfig, WanTransformer

TEXT_LENGTH, TEXT_WIDTH, RAM_WIDTH = 512, 4096, 512
CPU = torch.device("cpu")
SPREAD = 0.02  # deviation of the weights
SIZES: dict[str, type] = {
    "autoencoder": WanAutoencoderConfig,
    "tiny": TinyConfig,
    "lean": LeanConfig,
    "projection": ProjectionConfig,
    "decoder": ConditionalConfig,
    "guidance": RamConfig,
}


@dataclass(frozen=True)
class RandomParts(Parts):
    """Parts that are made, not read; `device` and `dtype` are where the networks will run."""

    family: str = ""
    device: torch.device = CPU
    dtype: torch.dtype = torch.float32
    on_lean: bool = False

    def config(self, role: str) -> Any:
        """The published sizes of a part."""
        if role == "transformer":
            return WanConfig(text_dim=RAM_WIDTH if self.family == "infvsr" else TEXT_WIDTH)
        return SIZES[role]()

    def has(self, role: str) -> bool:
        """Whether there is such a part; of the two codecs one."""
        return role != ("autoencoder" if self.on_lean else "lean") and role in (*SIZES, "transformer")

    def tensors(self, role: str) -> dict[str, Tensor]:
        """The fixed prompt [1, L, D]: all that is asked for as tensors."""
        return {role: torch.randn(1, TEXT_LENGTH, TEXT_WIDTH)}

    def network(
        self, role: str, config: Callable[[sizes.Shapes, sizes.Sizes], Any], build: Callable[[Any], Network]
    ) -> Network:
        """A network of the published size, filled where it will run."""
        with torch.device("meta"):
            network = build(self.config(role))
        if isinstance(network, WanTransformer):
            network.narrow(self.dtype)
        else:
            network.to(self.dtype)
        network.to_empty(device=self.device)
        for parameter in network.parameters():
            parameter.requires_grad_(False)
            nn.init.ones_(parameter) if parameter.ndim < 2 else nn.init.normal_(parameter, std=SPREAD)
        return network.eval()

    def guidance(self) -> VisualGuidance:
        """Built where its tables can be computed."""
        return VisualGuidance(self.config("guidance")).eval()
