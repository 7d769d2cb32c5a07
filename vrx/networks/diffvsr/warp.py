"""The warp that Stream-DiffVSR's weights were trained with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def warp(pictures: Tensor, flow: Tensor, mode: str = "bilinear") -> Tensor:
    """Pictures [B, C, H, W] read where a flow [B, 2, H, W] points, x then y in pixels; zero outside.

    The pixel (x, y) reads at ((x + u) W / (W - 1) - 0.5, (y + v) H / (H - 1) - 0.5): positions are scaled as if
    corners were aligned and read as if they were not.  So a zero flow stretches by up to half a pixel.
    """
    height, width = flow.shape[-2:]
    columns = torch.arange(width, dtype=flow.dtype, device=flow.device)
    rows = torch.arange(height, dtype=flow.dtype, device=flow.device)
    x = 2 * (columns + flow[:, 0]) / (width - 1) - 1
    y = 2 * (rows[:, None] + flow[:, 1]) / (height - 1) - 1
    return F.grid_sample(pictures, torch.stack([x, y], 3), mode=mode, padding_mode="zeros", align_corners=False)
