"""Rotary position embedding over time, rows and columns (RoPE; Su et al., 2021), as Wan applies it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BASE = 10000.0


@dataclass(frozen=True)
class Rotation:
    """Cosines and sines [tokens, D / 2], float32."""

    cos: Tensor
    sin: Tensor


def axis_widths(head_dim: int) -> tuple[int, int, int]:
    """Elements of a head that time, rows and columns turn; time takes the remainder."""
    side = 2 * (head_dim // 6)
    return head_dim - 2 * side, side, side


def rotation(grid: tuple[int, int, int], first: int, head_dim: int, device: torch.device) -> Rotation:
    """For tokens in (frame, row, column) order of a grid (frames, rows, columns).

    `first` is the absolute index of the first frame in the scene; any size.  Angles in float64.
    """
    cosines: list[Tensor] = []
    sines: list[Tensor] = []
    for axis, (count, start, width) in enumerate(zip(grid, (first, 0, 0), axis_widths(head_dim), strict=True)):
        frequency = BASE ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
        angle = torch.outer(torch.arange(start, start + count, dtype=torch.float64), frequency)
        shape = [1, 1, 1, width // 2]
        shape[axis] = count
        for found, values in ((cosines, angle.cos()), (sines, angle.sin())):  # only the axes' tables travel
            found.append(values.float().to(device).view(shape).expand(*grid, -1))
    return Rotation(torch.cat(cosines, -1).flatten(0, 2), torch.cat(sines, -1).flatten(0, 2))


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """Turn neighbouring pairs of [B, heads, tokens, D]; computed in float32, returned in the type of `x`."""
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([even * by.cos - odd * by.sin, even * by.sin + odd * by.cos], -1)
    return turned.flatten(-2).to(x.dtype)
