"""Attention of the small video transformers of RelayVSR and ReCaVSR: grouped keys, rotated on use, in windows.

Queries have no norm; keys and values are normalized over the 64 values of a head.  What a frame keeps for later ones
is not rotated, as its distance in time grows.

Legend: B batch, N tokens of a frame, D width, h heads, g groups, L layers, K frames of keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor, nn

from vrx.networks.norms import RMSNorm
from vrx.networks.published import Shapes, count_entries
from vrx.networks.wan.rope import apply_rope, axis_factors
from vrx.networks.window_attention import Grid, Windows, attend

HEAD_WIDTH = 64
ROPE_WIDTHS = (16, 24, 24)  # values of a head that time, rows and columns rotate
ROPE_BASE = 10000.0
EPSILON = 1e-5  # of every norm


@dataclass(frozen=True)
class FrameMemory:
    """Keys and values of a frame in every layer, [L, B, g, N, 64], normalized and not rotated."""

    keys: Tensor
    values: Tensor

    @classmethod
    def of_layers(cls, layers: Sequence[tuple[Tensor, Tensor]]) -> FrameMemory:
        """Of keys and values [B, g, N, 64] of every layer."""
        return cls(*(torch.stack(both) for both in zip(*layers, strict=True)))

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values."""
        return self.keys.nbytes + self.values.nbytes

    def tensors(self) -> dict[str, Tensor]:
        """All there is to save, by name."""
        return {"keys": self.keys.contiguous(), "values": self.values.contiguous()}

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], device: torch.device) -> FrameMemory:
        """What `tensors` gave, on a device."""
        return cls(tensors["keys"].to(device), tensors["values"].to(device))


@lru_cache(maxsize=16)
def rotation(grid: Grid, times: tuple[int, ...], device: torch.device) -> Tensor:
    """Rotary factors, complex64 [K N, 32], of the tokens of frames at `times` on a grid of rows and columns."""
    time, rows, columns = ROPE_WIDTHS
    axes = (
        torch.cat([axis_factors(time, moment, 1, device) for moment in times])[:, None, None],
        axis_factors(rows, 0, grid[0], device)[None, :, None],
        axis_factors(columns, 0, grid[1], device)[None, None],
    )
    return torch.cat([axis.expand(len(times), *grid, -1) for axis in axes], -1).flatten(0, 2)


@dataclass(frozen=True)
class View:
    """What the tokens of a step see: a grid, the times of their own frames, and times and windows of all frames.

    `own`: of the queries' frames, which are the last of the keys'; `times` and `windows` one a frame of keys.
    """

    grid: Grid
    own: tuple[int, ...]
    times: tuple[int, ...]
    windows: Windows


class GroupedAttention(nn.Module):
    """Projections of one layer, and the attention of a step over kept frames and its own."""

    def __init__(self, dim: int, heads: int, groups: int) -> None:
        super().__init__()
        self.heads, self.groups = heads, groups
        self.query, self.output = nn.Linear(dim, heads * HEAD_WIDTH), nn.Linear(heads * HEAD_WIDTH, dim)
        self.key, self.value = (nn.Linear(dim, groups * HEAD_WIDTH) for _ in range(2))
        self.key_norm, self.value_norm = (RMSNorm(HEAD_WIDTH, EPSILON) for _ in range(2))

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, g, N, 64] of tokens [B, N, D]."""
        return self.normalize(self.key(x), self.value(x))

    def normalize(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Projected keys and values [B, N, g 64], by heads and normalized."""
        return self.key_norm(split_heads(keys, self.groups)), self.value_norm(split_heads(values, self.groups))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, view: View) -> Tensor:
        """Tokens [B, N, D] after their attention to keys and values [B, g, K N, 64]."""
        q = apply_rope(split_heads(self.query(x), self.heads), rotation(view.grid, view.own, x.device))
        k = apply_rope(keys, rotation(view.grid, view.times, x.device))
        attended = attend(q, k, values, view.grid, view.windows)
        out: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return out


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[B, N, h d] to [B, h, N, d]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


Project = Callable[[Tensor], tuple[Tensor, Tensor]]  # normalized tokens to their keys and values


class GroupedBlock(nn.Module):
    """Attention and feed-forward around a residual stream; `feed_forward` is the system's own."""

    def __init__(self, dim: int, attention: GroupedAttention, feed_forward: nn.Module) -> None:
        super().__init__()
        self.attention_norm, self.attention = RMSNorm(dim, EPSILON), attention
        self.feed_forward_norm, self.feed_forward = RMSNorm(dim, EPSILON), feed_forward

    def forward(
        self, x: Tensor, kept: Sequence[tuple[Tensor, Tensor]], view: View, project: Project
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Tokens [B, N, D] to the same, and their keys and values; `kept` are those of earlier frames, oldest first."""
        y = self.attention_norm(x)
        own = project(y)
        keys, values = (torch.cat(both, 2) for both in zip(*kept, own, strict=True))
        x = x + self.attention(y, keys, values, view)
        return x + self.feed_forward(self.feed_forward_norm(x)), own


def run_blocks(blocks: nn.ModuleList, x: Tensor, kept: Sequence[FrameMemory], view: View) -> tuple[Tensor, FrameMemory]:
    """Tokens [B, N, D] through all blocks, which see some kept frames and their own; and their own memory."""
    made = []
    for layer, block in enumerate(cast("list[GroupedBlock]", list(blocks))):
        pairs = [(memory.keys[layer], memory.values[layer]) for memory in kept]
        x, own = block(x, pairs, view, block.attention.keys_values)
        made.append(own)
    return x, FrameMemory.of_layers(made)


def backbone_sizes(shapes: Shapes) -> dict[str, int]:
    """What both small transformers have of `backbone.blocks`: depth, heads, groups, and width of the feed-forward."""
    first = "backbone.blocks.0"
    return {
        "depth": count_entries(shapes, "backbone.blocks."),
        "num_heads": shapes[f"{first}.attention.query.weight"][0] // HEAD_WIDTH,
        "num_kv_groups": shapes[f"{first}.attention.key.weight"][0] // HEAD_WIDTH,
        "ffn_dim": shapes[f"{first}.feed_forward.down.weight"][1],
    }
