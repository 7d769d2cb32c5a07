"""Maps to attention windows and back.  Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def window_count(size: Sequence[int], window: int) -> int:
    """Windows that cover a map of `size` (height, width) with room for a shift of half a window."""
    half = window // 2
    return -(-(size[0] + half) // window) * -(-(size[1] + half) // window)


def window_pads(size: Sequence[int], window: int, shift: int) -> tuple[int, int, int, int]:
    """Left, right, top and bottom padding for the windows of `window_count`."""
    half = window // 2
    height, width = (-(-(side + half) // window) * window for side in (size[0], size[1]))
    return shift, width - shift - size[1], shift, height - shift - size[0]


def to_windows(x: Tensor, window: int, shift: int) -> Tensor:
    """[B, C, H, W] to [B x windows, window^2, C]; what lies outside repeats the border."""
    x = F.pad(x, window_pads(x.shape[-2:], window, shift), mode="replicate")
    batch, channels, height, width = x.shape
    x = x.view(batch, channels, height // window, window, width // window, window)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(-1, window * window, channels)


def from_windows(tokens: Tensor, shape: Sequence[int], window: int, shift: int) -> Tensor:
    """The inverse of `to_windows` for a map of `shape` (B, C, H, W)."""
    batch, channels, height, width = shape
    left, right, top, bottom = window_pads((height, width), window, shift)
    rows, columns = (height + top + bottom) // window, (width + left + right) // window
    x = tokens.view(batch, rows, columns, window, window, channels).permute(0, 5, 1, 3, 2, 4)
    x = x.reshape(batch, channels, rows * window, columns * window)
    return x[..., top : top + height, left : left + width]


def window_offsets(window: int) -> Tensor:
    """Index into a (2 window - 1)^2 table for every pair of a window's tokens, [S, S]."""
    axis = torch.arange(window)
    place = torch.stack(torch.meshgrid(axis, axis, indexing="ij")).flatten(1)
    delta = place[:, :, None] - place[:, None, :] + window - 1
    return delta[0] * (2 * window - 1) + delta[1]
