"""diffusers' UNet and ControlNet as networks of vrx: sizes by their published names, weights under theirs.

Legend: B pictures, h and w sides of a latent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from torch import Tensor

from vrx.networks.diffvsr.text import TextConfig
from vrx.networks.libraries import LibraryNetwork, load
from vrx.networks.published import Given, NetworkConfig, Shapes, count_entries

DOWN = ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")
UP = ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")
WIDTHS = (256, 512, 512, 1024)


@dataclass(frozen=True, kw_only=True)
class BackboneConfig(NetworkConfig):
    """Sizes that both networks have, under diffusers' names; the defaults are those of Stability's x4 upscaler.

    `attention_head_dim` is the number of heads, whatever its name.
    """

    in_channels: int = 7
    block_out_channels: tuple[int, ...] = WIDTHS
    layers_per_block: int = 2
    cross_attention_dim: int = 1024
    attention_head_dim: int | tuple[int, ...] = 8
    norm_num_groups: int = 32
    only_cross_attention: bool | tuple[bool, ...] = (True, True, True, False)
    use_linear_projection: bool = True
    down_block_types: tuple[str, ...] = DOWN

    LIMITS: ClassVar[Mapping[str, int]] = {"layers_per_block": 16}

    @property
    def context_shape(self) -> tuple[int, int]:
        """See `NetworkConfig`; the length is the text encoder's."""
        return TextConfig.max_position_embeddings, self.cross_attention_dim

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> Self:
        """See `NetworkConfig`; sizes that tensors do not give are read from the config file, other keys ignored."""
        found = cls.read_shapes(shapes)
        stated: dict[str, Any] = {item.name: given[item.name] for item in fields(cls) if item.name in given}
        lists = {name: tuple(value) for name, value in stated.items() if isinstance(value, list)}
        return cls(**{**stated, **lists, **found})

    @classmethod
    def read_shapes(cls, shapes: Shapes) -> dict[str, Any]:
        """The sizes read from the tensors."""
        levels = range(count_entries(shapes, "down_blocks."))
        rows = [name for name in sorted(shapes) if name.endswith("attn2.to_k.weight")]
        return {
            "in_channels": shapes["conv_in.weight"][1],
            "block_out_channels": tuple(shapes[f"down_blocks.{n}.resnets.0.conv1.weight"][0] for n in levels),
            "layers_per_block": count_entries(shapes, "down_blocks.0.resnets."),
            **({"cross_attention_dim": shapes[rows[0]][1]} if rows else {}),
        }


@dataclass(frozen=True, kw_only=True)
class UnetConfig(BackboneConfig):
    """Sizes of the denoiser."""

    out_channels: int = 4
    up_block_types: tuple[str, ...] = UP

    @classmethod
    def read_shapes(cls, shapes: Shapes) -> dict[str, Any]:
        """The sizes read from the tensors."""
        return {**super().read_shapes(shapes), "out_channels": shapes["conv_out.weight"][0]}


@dataclass(frozen=True, kw_only=True)
class ControlConfig(BackboneConfig):
    """Sizes of the ControlNet: `conditioning_embedding_out_channels` are the widths of the stem for the picture."""

    conditioning_embedding_out_channels: tuple[int, ...] = (64, 128, 256)

    @classmethod
    def read_shapes(cls, shapes: Shapes) -> dict[str, Any]:
        """The sizes read from the tensors."""
        stem = "controlnet_cond_embedding"
        pairs = range(count_entries(shapes, f"{stem}.blocks.") // 2)
        widths = [shapes[f"{stem}.conv_in.weight"][0], *(shapes[f"{stem}.blocks.{2 * n + 1}.weight"][0] for n in pairs)]
        return {**super().read_shapes(shapes), "conditioning_embedding_out_channels": tuple(widths)}


Residuals = tuple[list[Tensor], Tensor]  # of a ControlNet: for the way down, and for the middle


class ControlNet(LibraryNetwork):
    """diffusers' ControlNet (Apache-2.0).  Raises ImportError without diffusers."""

    CONFIG = ControlConfig
    SIGNATURE = "controlnet_cond_embedding.conv_in.weight"

    def __init__(self, config: ControlConfig) -> None:
        super().__init__(load("diffusers", "ControlNetModel")(**vars(config)))

    def control(self, sample: Tensor, timestep: int, rows: Tensor, picture: Tensor) -> Residuals:
        """Residuals for the UNet of the same sample [B, 7, h, w], led by a picture [B, 3, 4 h, 4 w] in -1..1."""
        down, middle = self.library(sample, timestep, rows, controlnet_cond=picture, return_dict=False)
        return down, middle


class Unet(LibraryNetwork):
    """diffusers' UNet with text conditions (Apache-2.0).  Raises ImportError without diffusers."""

    CONFIG = UnetConfig
    SIGNATURE = "up_blocks.0.resnets.0.conv1.weight"

    def __init__(self, config: UnetConfig) -> None:
        super().__init__(load("diffusers", "UNet2DConditionModel")(**vars(config)))

    def denoise(self, sample: Tensor, timestep: int, rows: Tensor, residuals: Residuals | None = None) -> Tensor:
        """The prediction [B, 4, h, w] for a sample [B, 7, h, w] under guidance rows [B, L, D]."""
        down, middle = residuals or (None, None)
        found = self.library(
            sample,
            timestep,
            rows,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )
        return found[0]
