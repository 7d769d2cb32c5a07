"""How damaged a picture is: a tiny network that reads the strength of compression or noise, on the scale
of `vrx.train.degrade.compress`.  Pure; knows no file.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GRID = 16  # pixels a side of a macroblock: strides start where blocks start
DETAIL_GAIN = 8.0
LARGEST = 512  # pixels a side that are looked at, from the middle


class StrengthNetwork(nn.Module):
    """Frames [T, 3, H, W] in 0..1 to one strength in 0..1, 0 for clean.

    Strided convolutions on what the picture has over its surroundings, then the mean and the deviation
    of what they find, over all places and frames.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (6, 24, 32, 48, 64)
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, 3 if i == 0 else 4, stride=1 if i == 0 else 2, padding=1)
            for i, (a, b) in enumerate(pairwise(widths))
        )
        self.head = nn.Sequential(nn.Linear(2 * widths[-1], 64), nn.SiLU(), nn.Linear(64, 1))

    def forward(self, frames: Tensor) -> Tensor:
        """See the class; a batch of clips [B, T, 3, H, W] gives [B]."""
        clips = frames if frames.ndim == 5 else frames[None]
        x = clips.flatten(0, 1)
        around = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        x = torch.cat([x - 0.5, (x - around) * DETAIL_GAIN], 1)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.1)
        x = x.view(*clips.shape[:2], x.shape[1], -1).transpose(1, 2).flatten(2)  # [B, C, places]
        found = torch.cat([x.mean(-1), x.var(-1, unbiased=False).add(1e-6).sqrt()], -1)
        strength = torch.sigmoid(self.head(found)[:, 0])
        return strength if frames.ndim == 5 else strength[0]


def estimate_strength(network: StrengthNetwork, frames: Tensor) -> float:
    """The strength of frames [T, 3, H, W] in 0..1, from their middle, cut where blocks start."""
    top, left = (max(0, (side - LARGEST) // 2) // GRID * GRID for side in frames.shape[-2:])
    middle = frames[..., top : top + LARGEST, left : left + LARGEST]
    extra = (0, max(0, GRID - middle.shape[-1]), 0, max(0, GRID - middle.shape[-2]))
    return float(network(F.pad(middle, extra, mode="replicate")))
