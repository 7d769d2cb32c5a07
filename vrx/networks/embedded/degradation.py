"""Degradation estimation: a tiny network that reads noise, compression and softness.  Pure."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks.embedded.grid import contrast

LEVELS = 3  # noise (1 is a deviation of NOISE_UNIT), compression (QP 17 to 37 of H.264), softness (a resize and back)
NOISE_UNIT = 20 / 255  # of 0..1
MOST_DAMAGE = 1.25  # the largest level there is; estimates are clamped to 0 and this
GRID = 16  # pixels a side of a macroblock: strides start where blocks start
LARGEST = 512  # pixels a side that are looked at, from the middle


class DegradationEstimator(nn.Module):
    """Frames [N, T, 3, H, W] in 0..1 to how damaged they are [N, LEVELS], each about 0 for clean, 1 for strongly.

    Strided convolutions on what the picture has over its surroundings, then the mean and the deviation
    of what they find, over all places and frames.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (6, 32, 48, 64, 64)
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, 3 if i == 0 else 4, stride=1 if i == 0 else 2, padding=1)
            for i, (a, b) in enumerate(pairwise(widths))
        )
        self.head = nn.Sequential(nn.Linear(2 * widths[-1], 64), nn.SiLU(), nn.Linear(64, LEVELS))

    def forward(self, frames: Tensor) -> Tensor:
        """See the class."""
        x = frames.flatten(0, 1)
        dtype = cast(nn.Conv2d, self.layers[0]).weight.dtype
        x = torch.cat([x - 0.5, contrast(x)], 1).to(dtype)
        x = x.contiguous(memory_format=torch.channels_last)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.1)
        found = x.float().reshape(*frames.shape[:2], x.shape[1], -1).transpose(1, 2).flatten(2)
        stats = torch.cat([found.mean(-1), found.var(-1, unbiased=False).add(1e-6).sqrt()], -1)
        out: Tensor = self.head(stats.to(dtype))
        return out.float()


def estimate_damage(network: DegradationEstimator, frames: Tensor) -> Tensor:
    """The levels [LEVELS] of frames [T, 3, H, W] in 0..1, from their middle, cut where blocks start."""
    top, left = (max(0, (side - LARGEST) // 2) // GRID * GRID for side in frames.shape[-2:])
    middle = frames[..., top : top + LARGEST, left : left + LARGEST]
    extra = (0, max(0, GRID - middle.shape[-1]), 0, max(0, GRID - middle.shape[-2]))
    levels: Tensor = network(F.pad(middle, extra, mode="replicate")[None])
    return levels[0].clamp(0, MOST_DAMAGE)
