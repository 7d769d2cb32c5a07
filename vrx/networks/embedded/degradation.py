"""Degradation estimation: a tiny network that reads noise, compression and softness.  Pure."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks.embedded.grid import DETAIL_GAIN, contrast

LEVELS = 3  # noise (1 is a deviation of NOISE_UNIT), compression (QP 17 to 37 of H.264), softness (a resize and back)
NOISE_UNIT = 20 / 255  # of 0..1
MOST_DAMAGE = 1.25  # the largest level there is; estimates are clamped to 0 and this
GRID = 16  # pixels a side of a macroblock: strides start where blocks start
LEAST_SIDE, LARGEST = 96, 512  # pixels a side that are looked at, from the middle
DETAILED = (0.5, 1.5)  # levels of detail, from and up to which a picture shows its damage


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
    """The levels [LEVELS] of frames [T, 3, H, W] in 0..1, from their middle, cut where blocks start.

    Small pictures are mirrored, as the network takes their edges for damage; those without any detail show none.
    """
    top, left = (max(0, (side - LARGEST) // 2) // GRID * GRID for side in frames.shape[-2:])
    middle = frames[..., top : top + LARGEST, left : left + LARGEST]
    levels: Tensor = network(mirrored(mirrored(middle, -1), -2)[None])
    low, high = DETAILED
    shown = min(1.0, max(0.0, (detail(middle[:1]) - low) / (high - low)))
    return levels[0].clamp(0, MOST_DAMAGE) * shown


def mirrored(x: Tensor, dim: int) -> Tensor:
    """`x` with its mirror image beside it, again and again, until it has LEAST_SIDE places along `dim`."""
    while x.shape[dim] < LEAST_SIDE:
        x = torch.cat([x, x.flip(dim)], dim)
    return x


def detail(frames: Tensor) -> float:
    """What [T, 3, H, W] has over its surroundings in its liveliest tenth, root mean square, in levels of 255."""
    power = contrast(frames).div(DETAIL_GAIN).square().mean(1, keepdim=True)
    blocks = F.avg_pool2d(power, min(GRID, *frames.shape[-2:])).flatten()
    return 255 * float(blocks.topk(max(1, len(blocks) // 10)).values.mean().sqrt())
