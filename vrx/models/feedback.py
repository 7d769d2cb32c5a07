"""The frame before, as it was restored, brought to where its content is now (frame-recurrent restoration).

A network that adds a residual to an estimate is told what the latest result, moved along the optical
flow, would add to it (Sajjadi et al., 2018: Frame-Recurrent Video Super-Resolution).  Pure functions of
tensors on the grid of the embedded network: a position holds side x side output pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.models.grids import DETAIL_GAIN

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def luma(grid: Tensor) -> Tensor:
    """Brightness [N, s^2, H, W] of colours on the grid [N, 3 s^2, H, W], float32."""
    red, green, blue = grid.chunk(3, 1)
    return torch.add(torch.add(red.float() * LUMA[0], green, alpha=LUMA[1]), blue, alpha=LUMA[2])


def hint(shown: Tensor, base: Tensor, motion: Tensor) -> Tensor:
    """What the latest result has over this frame's estimate, both as `luma`, [N, s^2, H, W]; made large as details are.

    `motion` [N, 2, H, W]: from each position to its content's place in the latest result, x and y in
    positions.  Nothing is told where that place lies outside the picture.
    """
    side = round(shown.shape[1] ** 0.5)
    moved = F.pixel_unshuffle(fetch(F.pixel_shuffle(shown, side), motion, side), side)
    return (moved - base) * inside(motion) * DETAIL_GAIN


def fetch(picture: Tensor, motion: Tensor, side: int) -> Tensor:
    """[N, 1, s H, s W] sampled, bilinear, at `motion` [N, 2, H, W] positions of s pixels from every place."""
    height, width = picture.shape[-2:]
    unit = motion.new_tensor([2 * side / max(1, width - 1), 2 * side / max(1, height - 1)])  # a position, of -1 to 1
    places = F.interpolate(motion * unit.view(2, 1, 1), scale_factor=side, mode="bilinear")
    places[:, 0] += torch.linspace(-1, 1, width, device=motion.device)
    places[:, 1] += torch.linspace(-1, 1, height, device=motion.device)[:, None]
    return F.grid_sample(picture, places.permute(0, 2, 3, 1), padding_mode="border", align_corners=True)


def inside(motion: Tensor) -> Tensor:
    """1 where a position's content was inside the picture, else 0, [N, 1, H, W]."""
    height, width = motion.shape[-2:]
    x = motion[:, 0] + torch.arange(width, device=motion.device)
    y = motion[:, 1] + torch.arange(height, device=motion.device)[:, None]
    within = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    return within[:, None].to(motion.dtype)
