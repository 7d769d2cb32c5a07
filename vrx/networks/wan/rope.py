"""Rotary position embedding over time, rows and columns (RoPE; Su et al., 2021), as Wan applies it."""

from __future__ import annotations

import torch
from torch import Tensor

BASE = 10000.0


def axis_widths(head_dim: int) -> tuple[int, int, int]:
    """Elements of a head that time, rows and columns rotate; time takes the remainder."""
    side = 2 * (head_dim // 6)
    return head_dim - 2 * side, side, side


def rope(grid: tuple[int, int, int], first: int, head_dim: int, device: torch.device) -> Tensor:
    """Rotary factors cos + i sin, complex64 [tokens, D / 2], for tokens in (frame, row, column) order of a grid.

    `grid` counts frames, rows, columns; `first` is the absolute index of the first frame in the scene; any
    size.  Angles in float64.
    """
    factors: list[Tensor] = []
    for axis, (count, start, width) in enumerate(zip(grid, (first, 0, 0), axis_widths(head_dim), strict=True)):
        frequency = BASE ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
        angle = torch.outer(torch.arange(start, start + count, dtype=torch.float64), frequency)
        factor = torch.polar(torch.ones_like(angle), angle).to(torch.complex64)
        shape = [1, 1, 1, width // 2]
        shape[axis] = count
        factors.append(factor.to(device).view(shape).expand(*grid, -1))  # only the axes' tables travel
    return torch.cat(factors, -1).flatten(0, 2)


def apply_rope(x: Tensor, freqs: Tensor) -> Tensor:
    """Rotate neighboring pairs of [B, heads, tokens, D]; computed in float32, returned in the type of `x`."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * freqs).flatten(-2).to(x.dtype)
