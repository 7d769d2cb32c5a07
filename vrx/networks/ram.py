"""InfVSR's visual guidance: the Swin encoder of RAM (arXiv 2306.03514) with SeeSR's DAPE merged in.

A Swin transformer (Liu et al., arXiv 2103.14030) under RAM's names; one picture to rows of guidance.

Legend: B pictures, H x W tokens, C width, n windows, S tokens of a window, h heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks.constants import constant_like
from vrx.networks.published import Given, NetworkConfig, PublishedNetwork, Shapes, count_entries
from vrx.networks.windows import window_offsets

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the pictures it was trained on
HIDDEN = -100.0  # added to logits of token pairs in a shifted window that are not adjacent in the picture
ADAPTER_SCALE = 0.125
USED = ("visual_encoder.", "image_proj.")  # tensors of RAM's checkpoint; the rest tags pictures
COMPUTED = ("relative_position_index", "attn_mask")  # buffers among them


@dataclass(frozen=True, kw_only=True)
class RamConfig(NetworkConfig):
    """Sizes under their published names; the defaults are those of RAM's Swin-L."""

    COUNTS = frozenset(("depths",))
    LIMITS: ClassVar[Mapping[str, int]] = {"window_size": 32, "image_size": 1024}

    image_size: int = 384
    patch_size: int = 4
    embed_dim: int = 192
    depths: tuple[int, ...] = (2, 2, 18, 2)
    num_heads: tuple[int, ...] = (6, 12, 24, 48)
    window_size: int = 12
    mlp_ratio: float = 4.0
    out_dim: int = 512

    def __post_init__(self) -> None:
        object.__setattr__(self, "depths", tuple(self.depths))
        object.__setattr__(self, "num_heads", tuple(self.num_heads))

    def width(self, stage: int) -> int:
        """Channels of a stage, -1 for the last."""
        return self.embed_dim * 2 ** (stage % len(self.depths))

    def side(self, stage: int) -> int:
        """Tokens a side of a stage."""
        return self.image_size // self.patch_size // 2**stage

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> RamConfig:
        """See `NetworkConfig`; no tensor has the size of the picture, which is 384 unless given."""
        stages = range(count_entries(shapes, "visual_encoder.layers."))
        tables = [shapes[f"visual_encoder.layers.{i}.blocks.0.attn.relative_position_bias_table"] for i in stages]
        found = {
            "embed_dim": shapes["visual_encoder.patch_embed.proj.weight"][0],
            "patch_size": shapes["visual_encoder.patch_embed.proj.weight"][-1],
            "depths": tuple(count_entries(shapes, f"visual_encoder.layers.{i}.blocks.") for i in stages),
            "num_heads": tuple(table[1] for table in tables),
            "window_size": (round(tables[0][0] ** 0.5) + 1) // 2,
            "out_dim": shapes["image_proj.weight"][0],
        }
        return cls(**{**found, **given})


def split_windows(x: Tensor, window: int) -> Tensor:
    """[B, H, W, C] to [B x n, S, C]."""
    b, h, w, c = x.shape
    x = x.view(b, h // window, window, w // window, window, c)
    return x.transpose(2, 3).reshape(-1, window * window, c)


def join_windows(x: Tensor, window: int, size: int) -> Tensor:
    """[B x n, S, C] to [B, size, size, C]."""
    count = size // window
    x = x.view(-1, count, count, window, window, x.shape[-1])
    return x.transpose(2, 3).reshape(-1, size, size, x.shape[-1])


def shifted_mask(size: int, window: int, shift: int) -> Tensor:
    """Attention mask of shifted windows: HIDDEN between tokens not adjacent in the picture, [n, S, S]."""
    edges = torch.zeros(size, dtype=torch.long)
    edges[-window:-shift], edges[-shift:] = 1, 2
    region = (3 * edges[:, None] + edges[None]).float()[None, :, :, None]
    tokens = split_windows(region, window)[..., 0]
    return torch.where(tokens[:, :, None] == tokens[:, None], 0.0, HIDDEN)


class WindowAttention(nn.Module):
    """Attention in windows with a relative position bias."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("offsets", window_offsets(window), persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """[B x n, S, C]; `mask` [n, S, S]."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.relative_position_bias_table[cast(Tensor, self.offsets)].permute(2, 0, 1)[None]
        if mask is not None:
            bias = (bias + mask[:, None]).repeat(len(x) // len(mask), 1, 1, 1)
        attended = F.scaled_dot_product_attention(q, k, v, bias.to(q.dtype))
        out: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return out


class Mlp(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C]."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class SwinBlock(nn.Module):
    """Window attention, shifted in every second block, and a feed-forward network."""

    def __init__(self, config: RamConfig, stage: int, shifted: bool) -> None:
        super().__init__()
        width, self.size = config.width(stage), config.side(stage)
        self.window = window = min(config.window_size, self.size)
        self.shift = shift = window // 2 if shifted and self.size > window else 0
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = WindowAttention(width, config.num_heads[stage], window)
        self.mlp = Mlp(width, int(width * config.mlp_ratio))
        mask = shifted_mask(self.size, window, shift) if shift else None
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, H W, C]."""
        y = self.norm1(x).unflatten(1, (self.size, self.size))
        y = torch.roll(y, (-self.shift, -self.shift), (1, 2))
        y = join_windows(
            self.attn(split_windows(y, self.window), cast("Tensor | None", self.mask)), self.window, self.size
        )
        x = x + torch.roll(y, (self.shift, self.shift), (1, 2)).flatten(1, 2)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class PatchMerging(nn.Module):
    """Four neighboring tokens to one of twice the width."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, H W, C] to [B, H W / 4, 2 C]."""
        y = x.unflatten(1, (self.size, self.size))
        corners = [y[:, row::2, column::2] for row, column in ((0, 0), (1, 0), (0, 1), (1, 1))]
        out: Tensor = self.reduction(self.norm(torch.cat(corners, -1).flatten(1, 2)))
        return out


class SwinStage(nn.Module):
    """Blocks of one size, and the merging to the next."""

    def __init__(self, config: RamConfig, index: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(SwinBlock(config, index, bool(i % 2)) for i in range(config.depths[index]))
        last = index == len(config.depths) - 1
        self.downsample = None if last else PatchMerging(config.width(index), config.side(index))

    def forward(self, x: Tensor) -> Tensor:
        """[B, H W, C]."""
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else cast(Tensor, self.downsample(x))


class PatchEmbed(nn.Module):
    """Pixels to normalized tokens."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] to [B, tokens, C]."""
        out: Tensor = self.norm(self.proj(x).flatten(2).transpose(1, 2))
        return out


class SwinEncoder(nn.Module):
    """A picture to tokens."""

    def __init__(self, config: RamConfig) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(config.patch_size, config.embed_dim)
        self.layers = nn.ModuleList(SwinStage(config, i) for i in range(len(config.depths)))
        self.norm = nn.LayerNorm(config.width(-1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] to [B, 1 + tokens, C]; their mean is first."""
        x = self.patch_embed(x)
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x)
        return torch.cat([x.mean(1, keepdim=True), x], 1)


class VisualGuidance(PublishedNetwork):
    """A reference frame to rows of guidance for the transformer's cross-attention."""

    CONFIG = RamConfig
    SIGNATURE = "visual_encoder.patch_embed.proj.weight"

    def __init__(self, config: RamConfig) -> None:
        super().__init__()
        self.config = config
        self.visual_encoder = SwinEncoder(config)
        self.image_proj = nn.Linear(config.width(-1), config.out_dim)

    def forward(self, picture: Tensor) -> Tensor:
        """A prepared picture [B, 3, size, size] to rows [B, 1 + tokens, out]."""
        out: Tensor = self.image_proj(self.visual_encoder(picture))
        return out

    def prepare(self, frame: Tensor) -> Tensor:
        """A frame [B, 3, H, W] in 0..1 as the encoder takes it: resized (bilinear, antialiased), normalized."""
        size = (self.config.image_size,) * 2
        x = F.interpolate(frame.float(), size, mode="bilinear", antialias=True)
        mean, deviation = (constant_like(v, x).view(1, 3, 1, 1) for v in (MEAN, DEVIATION))
        return (x - mean) / deviation


def select_tensors(checkpoint: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of RAM's checkpoint that guidance uses, float32; buffers that are computed are left out."""
    return {
        name: tensor.float()
        for name, tensor in checkpoint.items()
        if name.startswith(USED) and not name.endswith(COMPUTED)
    }


def merge_adapter(
    weights: dict[str, Tensor], adapter: dict[str, Tensor], scale: float = ADAPTER_SCALE
) -> dict[str, Tensor]:
    """DAPE's low-rank changes added to the queries and values of every `qkv` they name.

    delta = B A in two groups, one for queries and one for values; keys stay.  Raises KeyError for an
    adapter of a layer that is not there.
    """
    merged = dict(weights)
    for name in (n.removesuffix(".lora_A") for n in adapter if n.endswith(".lora_A")):
        down, up = adapter[f"{name}.lora_A"].float(), adapter[f"{name}.lora_B"].float()
        queries, values = (b @ a * scale for a, b in zip(down.chunk(2), up.chunk(2), strict=True))
        weight = merged[f"{name}.weight"]
        delta = torch.cat([queries, torch.zeros_like(queries), values])
        merged[f"{name}.weight"] = (weight.float() + delta).to(weight.dtype)
    return merged
