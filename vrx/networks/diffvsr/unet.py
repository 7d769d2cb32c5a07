"""diffusers' UNet and ControlNet as networks of vrx: sizes by their published names, weights under theirs.

Legend: h and w sides of a latent, L guidance rows of width D.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from vrx.networks.constants import constant
from vrx.networks.diffvsr.text import TextConfig
from vrx.networks.libraries import LibraryNetwork, construct, load
from vrx.networks.published import LARGEST, Given, NetworkConfig, Shapes, count_entries

DOWN = ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")
UP = ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")
WIDTHS = (256, 512, 512, 1024)
MOST_LAYERS = 16  # of one kind in a block
LAYERS = ("transformer_layers_per_block", "reverse_transformer_layers_per_block")
FURTHER_INPUTS = (  # keys of a config that ask for an input which no published model of this kind takes
    "class_embed_type",
    "num_class_embeds",
    "addition_embed_type",
    "encoder_hid_dim",
    "encoder_hid_dim_type",
)


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
    others: Mapping[str, Any] = field(default_factory=dict)  # what else its config states, for the library

    LIMITS: ClassVar[Mapping[str, int]] = {"layers_per_block": MOST_LAYERS}

    @property
    def context_shape(self) -> tuple[int, int]:
        """See `NetworkConfig`; the length is the text encoder's."""
        return TextConfig.max_position_embeddings, self.cross_attention_dim

    @property
    def settings(self) -> dict[str, Any]:
        """All that the library's class is to be told."""
        sizes = {name: value for name, value in vars(self).items() if name != "others"}
        return {**self.others, **sizes}

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> Self:
        """See `NetworkConfig`; what tensors do not give is read from the config file."""
        names = {item.name for item in fields(cls)}
        stated = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        sizes = {name: value for name, value in stated.items() if name in names}
        others = {name: value for name, value in stated.items() if name not in names and not name.startswith("_")}
        return cls(**{**sizes, "others": others, **cls.read_shapes(shapes)})

    def validate(self, tensors: int) -> None:
        """See `NetworkConfig`; refuses further inputs, too.  Raises ValueError."""
        super().validate(tensors)
        for name in FURTHER_INPUTS:
            if self.others.get(name) is not None:
                raise ValueError(f"{name} is {self.others[name]!r}: it needs an input that vrx does not have")
        for name, value in self.others.items():
            most = MOST_LAYERS if name in LAYERS else LARGEST
            if any(not abs(number) <= most for number in numbers(value)):
                raise ValueError(f"{name} is {value!r}")

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


class Constant(nn.Module):
    """In place of a layer whose input never changes: what it gave."""

    value: Tensor

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.value


class GuidedNetwork(LibraryNetwork):
    """A network under guidance rows that never change: those of the only prompt there is."""

    rows: Tensor

    def guide(self, rows: Tensor) -> None:
        """Fix the rows [1, L, D], once, before the first frame.

        Every cross-attention then has its keys and values, the same numbers as computed each time, in place of the
        weights that give them: 96 MB less in half precision, and 74 products less a step of UNet and ControlNet.
        """
        self.register_buffer("rows", rows, persistent=False)
        for layer in list(self.modules()):
            if getattr(layer, "is_cross_attention", False):
                for name in ("to_k", "to_v"):
                    setattr(layer, name, Constant(getattr(layer, name)(rows)))


def on_device(timestep: int, sample: Tensor) -> Tensor:
    """A timestep as a tensor [1], where the sample is."""
    return constant((timestep,), sample.device, torch.int64)


class ControlNet(GuidedNetwork):
    """diffusers' ControlNet (Apache-2.0).  Raises ImportError without diffusers."""

    CONFIG = ControlConfig
    SIGNATURE = "controlnet_cond_embedding.conv_in.weight"

    def __init__(self, config: ControlConfig) -> None:
        super().__init__(construct(load("diffusers", "ControlNetModel"), config.settings))

    def control(self, sample: Tensor, timestep: int, picture: Tensor) -> Residuals:
        """Residuals for the UNet of the same sample [1, 7, h, w], led by a picture [1, 3, 4 h, 4 w] in -1..1."""
        time = on_device(timestep, sample)
        down, middle = self.library(sample, time, self.rows, controlnet_cond=picture, return_dict=False)
        return down, middle


class Unet(GuidedNetwork):
    """diffusers' UNet with text conditions (Apache-2.0).  Raises ImportError without diffusers."""

    CONFIG = UnetConfig
    SIGNATURE = "up_blocks.0.resnets.0.conv1.weight"

    def __init__(self, config: UnetConfig) -> None:
        super().__init__(construct(load("diffusers", "UNet2DConditionModel"), config.settings))

    def denoise(self, sample: Tensor, timestep: int, residuals: Residuals | None = None) -> Tensor:
        """The prediction [1, 4, h, w] for a sample [1, 7, h, w], with a ControlNet's residuals or without."""
        down, middle = residuals or (None, None)
        found: Tensor = self.library(
            sample,
            on_device(timestep, sample),
            self.rows,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]
        return found


def numbers(value: Any) -> Iterator[float]:
    """The numbers in a value of a config, however nested."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, int | float):
        yield value
