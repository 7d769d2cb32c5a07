"""CogVideoX's transformer (arXiv 2408.06072) in pieces: diffusers' layers under their published names, run one by one.

Legend: B videos, F latent frames, h x w latents, L text tokens, N video tokens, C width, D width of a head.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from vrx.networks.libraries import load
from vrx.networks.published import Given, NetworkConfig, PublishedNetwork, Shapes, count_entries

PATCH = 2  # latents a side of a patch, and latent frames: CogVideoX 1.5's
THETA = 10_000.0  # of the rotation
TEXT_LENGTH = 226  # tokens of a prompt
HEAD = ("norm_final", "norm_out", "proj_out")  # layers behind the last block


@dataclass(frozen=True, kw_only=True)
class BackboneConfig(NetworkConfig):
    """Sizes under diffusers' names; the defaults are those of CogVideoX1.5-5B.

    `sample_height` and `sample_width`: the most latents a side that positions are known for.
    """

    COUNTS = frozenset(("num_layers",))

    num_attention_heads: int = 48
    attention_head_dim: int = 64
    in_channels: int = 16
    out_channels: int = 16
    time_embed_dim: int = 512
    text_embed_dim: int = 4096
    num_layers: int = 42
    sample_height: int = 300
    sample_width: int = 300

    @property
    def width(self) -> int:
        """Channels of a token."""
        return self.num_attention_heads * self.attention_head_dim

    @property
    def context_shape(self) -> tuple[int, int]:
        """See `NetworkConfig`."""
        return TEXT_LENGTH, self.text_embed_dim

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> Self:
        """See `NetworkConfig`; sizes that tensors do not give are read from the config file, other keys ignored."""
        stated: dict[str, Any] = {item.name: given[item.name] for item in fields(cls) if item.name in given}
        for name, value in stated.items():
            if not isinstance(value, int):
                raise ValueError(f"{name} is {value!r}")
        return cls(**{**stated, **cls.read_shapes(shapes)})

    @classmethod
    def read_shapes(cls, shapes: Shapes) -> dict[str, int]:
        """The sizes read from the tensors."""
        head = shapes["transformer_blocks.0.attn1.norm_q.weight"][0]
        width, text = shapes["patch_embed.text_proj.weight"]
        return {
            "num_attention_heads": width // head,
            "attention_head_dim": head,
            "in_channels": shapes["patch_embed.proj.weight"][1] // PATCH**3,
            "time_embed_dim": shapes["time_embedding.linear_1.weight"][0],
            "text_embed_dim": text,
            "num_layers": count_entries(shapes, "transformer_blocks."),
        }


@dataclass(frozen=True)
class Tokens:
    """What passes through the blocks: text [B, L, C], video [B, N, C], time [B, E], rotation (cos, sin) [N, D]."""

    text: Tensor
    video: Tensor
    time: Tensor
    rotation: tuple[Tensor, Tensor]

    def add(self, joint: Tensor) -> Tokens:
        """Another embedding [B, L + N, C], text first, on top."""
        length = self.text.shape[1]
        return replace(self, text=self.text + joint[:, :length], video=self.video + joint[:, length:])


def library_layers(config: BackboneConfig, without: Collection[str] = ()) -> dict[str, nn.Module]:
    """The layers of diffusers' transformer, by their names.  Raises ImportError without diffusers."""
    sizes = {item.name: getattr(config, item.name) for item in fields(BackboneConfig)}
    whole = load("diffusers", "CogVideoXTransformer3DModel")(
        **sizes, patch_size=PATCH, patch_size_t=PATCH, patch_bias=False, use_rotary_positional_embeddings=True
    )
    return {name: layer for name, layer in whole.named_children() if name not in without}


class Backbone(PublishedNetwork):
    """Embedding, blocks and, where the layers have one, head."""

    patch_embed: nn.Module
    time_proj: nn.Module
    time_embedding: nn.Module
    transformer_blocks: nn.ModuleList
    norm_final: nn.Module
    norm_out: nn.Module
    proj_out: nn.Module

    def __init__(self, config: BackboneConfig, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.config = config
        for name, layer in layers.items():
            self.add_module(name, layer)

    @property
    def blocks(self) -> list[nn.Module]:
        """The transformer's blocks, in order."""
        return list(self.transformer_blocks)

    def embed(self, latent: Tensor, text: Tensor, timestep: int) -> Tokens:
        """Tokens of a latent [B, F, 16, h, w] and of rows of text [B, L, T].  Raises ValueError for odd sizes."""
        rotation = self.rotation(latent)  # checks the sizes
        joint = self.patch_embed(text, latent)
        times = torch.full((len(latent),), timestep, device=latent.device)
        time = self.time_embedding(self.time_proj(times).to(latent.dtype))
        length = text.shape[1]
        return Tokens(joint[:, :length], joint[:, length:], time, rotation)

    def rotation(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """See `rotary_tables`, for a latent [B, F, 16, h, w].  Raises ValueError for sizes that it cannot have."""
        frames, rows, columns = latent.shape[1], *latent.shape[-2:]
        if frames % PATCH or rows % PATCH or columns % PATCH:
            raise ValueError(f"{frames} latent frames of {rows} x {columns} are not multiples of {PATCH}")
        if rows > self.config.sample_height or columns > self.config.sample_width:
            most = f"{self.config.sample_height} x {self.config.sample_width}"
            raise ValueError(f"{rows} x {columns} latents are more than the {most} that positions are known for")
        grid = (frames // PATCH, rows // PATCH, columns // PATCH)
        return rotary_tables(grid, self.config.attention_head_dim, latent.device)

    def advance(self, block: nn.Module, tokens: Tokens) -> Tokens:
        """Tokens after a block."""
        video, text = block(tokens.video, tokens.text, tokens.time, tokens.rotation)
        return replace(tokens, video=video, text=text)

    def head(self, tokens: Tokens, shape: Sequence[int]) -> Tensor:
        """The prediction for a latent of `shape` [B, F, 16, h, w]."""
        video = self.norm_out(self.norm_final(tokens.video), temb=tokens.time)
        return from_patches(self.proj_out(video), shape)


class Transformer(Backbone):
    """The published base, whole.  Raises ImportError without diffusers."""

    CONFIG = BackboneConfig
    SIGNATURE = "norm_out.linear.weight"

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__(config, library_layers(config))


def from_patches(tokens: Tensor, shape: Sequence[int]) -> Tensor:
    """Tokens [B, N, 16 x 8], values in (channel, frame, row, column) order, as a latent [B, F, 16, h, w]."""
    batch, frames, _, rows, columns = shape
    grid = (frames // PATCH, rows // PATCH, columns // PATCH)
    x = tokens.view(batch, *grid, -1, PATCH, PATCH, PATCH)
    return x.permute(0, 1, 5, 4, 2, 6, 3, 7).flatten(6, 7).flatten(4, 5).flatten(1, 2)


def to_patches(latent: Tensor) -> Tensor:
    """The inverse of `from_patches`."""
    x = latent.unflatten(1, (-1, PATCH)).unflatten(-2, (-1, PATCH)).unflatten(-1, (-1, PATCH))
    return x.permute(0, 1, 4, 6, 3, 2, 5, 7).flatten(4).flatten(1, 3)


def rotary_tables(grid: Sequence[int], width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines [N, D] float32 of tokens in (frame, row, column) order, every axis counted from 0.

    A quarter of a head's channels turns with the frame, three eighths each with row and column; neighboring
    channels turn together (arXiv 2408.06072, 2.2).
    """
    parts = (width // 4, width // 8 * 3, width // 8 * 3)
    angles = []
    for axis, (length, part) in enumerate(zip(grid, parts, strict=True)):
        speeds = THETA ** -(torch.arange(0, part, 2, device=device, dtype=torch.float32) / part)
        places = torch.arange(length, device=device, dtype=torch.float32)
        table = torch.outer(places, speeds).repeat_interleave(2, 1)
        shape = [length if axis == other else 1 for other in range(3)]
        angles.append(table.view(*shape, part).expand(*grid, part))
    joint = torch.cat(angles, -1).flatten(0, 2)
    return joint.cos(), joint.sin()
