"""Rotary position embedding over time, rows and columns (RoPE; Su et al., 2021), as Wan applies it."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

BASE = 10000.0
BLOCK = 1024  # places of a table


def axis_widths(head_dim: int) -> tuple[int, int, int]:
    """Elements of a head that time, rows and columns rotate; time takes the remainder."""
    side = 2 * (head_dim // 6)
    return head_dim - 2 * side, side, side


@lru_cache(maxsize=24)
def axis_table(width: int, block: int, device: torch.device) -> Tensor:
    """Rotary factors, complex64 [BLOCK, width / 2], of the places from block x BLOCK on along an axis.

    Angles in float64, on the processor: the same on every device, and nothing travels there twice.
    """
    frequency = BASE ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = torch.outer(torch.arange(block * BLOCK, (block + 1) * BLOCK, dtype=torch.float64), frequency)
    return torch.polar(torch.ones_like(angle), angle).to(torch.complex64).to(device)


def axis_factors(width: int, start: int, count: int, device: torch.device) -> Tensor:
    """Rotary factors [count, width / 2] of the places from `start` on."""
    blocks = range(start // BLOCK, (start + count - 1) // BLOCK + 1)
    table = torch.cat([axis_table(width, block, device) for block in blocks])
    return table[start - blocks[0] * BLOCK :][:count]


def rope(grid: tuple[int, int, int], first: int, head_dim: int, device: torch.device) -> Tensor:
    """Rotary factors cos + i sin, complex64 [tokens, D / 2], for tokens in (frame, row, column) order of a grid.

    `grid` counts frames, rows, columns; `first` is the absolute index of the first frame in the scene; any
    size.
    """
    factors: list[Tensor] = []
    for axis, (count, start, width) in enumerate(zip(grid, (first, 0, 0), axis_widths(head_dim), strict=True)):
        shape = [1, 1, 1, width // 2]
        shape[axis] = count
        factors.append(axis_factors(width, start, count, device).view(shape).expand(*grid, -1))
    return torch.cat(factors, -1).flatten(0, 2)


def apply_rope(x: Tensor, freqs: Tensor) -> Tensor:
    """Rotate neighboring pairs of [B, heads, tokens, D]; computed in float32, returned in the type of `x`."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * freqs).flatten(-2).to(x.dtype)


def apply_real_rope(x: Tensor, table: Tensor) -> Tensor:
    """The same without complex numbers; `table` [tokens, D / 2, 2] holds cosines and sines."""
    first, second = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    cosine, sine = table.unbind(-1)
    rotated = torch.stack([first * cosine - second * sine, first * sine + second * cosine], -1)
    return rotated.flatten(-2).to(x.dtype)
