"""What a picture shows without another one beside it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


def sharpness(luma: Tensor) -> float:
    """Mean gradient of luma [H, W], in levels a pixel (Sobel; Tenenbaum, 1970): grows with detail, and with noise."""
    if min(luma.shape) < 3:
        return 0.0
    kernel = luma.new_tensor(SOBEL) / 8
    across = F.conv2d(luma[None, None], kernel[None, None])
    down = F.conv2d(luma[None, None], kernel.T[None, None])
    return float((across.square() + down.square()).sqrt().mean())
