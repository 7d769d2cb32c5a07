"""Networks of the published sizes with random weights: to measure speed and memory without a download."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vrx.models.flashvsr.projection import ProjectionConfig
from vrx.models.leanvae import LeanConfig
from vrx.models.ram import RamConfig, VisualGuidance
from vrx.models.tiny import ConditionalConfig, TinyConfig
from vrx.models.wan.autoencoder import WanAutoencoderConfig
from vrx.models.wan.transformer import WanConfig, WanTransformer
from vrx.restorers import sizes
from vrx.restorers.parts import Network, Parts

TEXT_LENGTH, TEXT_WIDTH, RAM_WIDTH = 512, 4096, 512
SPREAD = 0.02  # deviation of the weights


class RandomParts(Parts):
    """Parts that are made, not read; `device` and `dtype` are where the networks will run."""

    def __init__(self, family: str, device: torch.device, dtype: torch.dtype, lean: bool = False) -> None:
        super().__init__()
        width = RAM_WIDTH if family == "infvsr" else TEXT_WIDTH
        configs: dict[str, Any] = {
            "transformer": WanConfig(text_dim=width),
            "autoencoder": WanAutoencoderConfig(),
            "tiny": TinyConfig(),
            "lean": LeanConfig(),
            "projection": ProjectionConfig(),
            "decoder": ConditionalConfig(),
            "guidance": RamConfig(),
        }
        configs.pop("autoencoder" if lean else "lean")
        object.__setattr__(self, "_configs", configs)
        object.__setattr__(self, "_where", (device, dtype))

    def has(self, role: str) -> bool:
        """Whether there is such a part."""
        configs: dict[str, Any] = self.__dict__["_configs"]
        return role in configs

    def tensors(self, role: str) -> dict[str, Tensor]:
        """The fixed prompt: all that is asked for as tensors."""
        return {role: torch.randn(1, TEXT_LENGTH, TEXT_WIDTH)}

    def network(
        self, role: str, config: Callable[[sizes.Shapes, sizes.Sizes], Any], build: Callable[[Any], Network]
    ) -> Network:
        """A network of the published size, filled where it will run."""
        device, dtype = self.__dict__["_where"]
        with torch.device("meta"):
            network = build(self.__dict__["_configs"][role])
        if isinstance(network, WanTransformer):
            network.narrow(dtype)
        else:
            network.to(dtype)
        network.to_empty(device=device)
        for parameter in network.parameters():
            parameter.requires_grad_(False)
            nn.init.ones_(parameter) if parameter.ndim < 2 else nn.init.normal_(parameter, std=SPREAD)
        return network.eval()

    def guidance(self) -> VisualGuidance:
        """Built where its tables can be computed."""
        return VisualGuidance(self.__dict__["_configs"]["guidance"]).eval()
