"""How close a picture is to another.  Luma [H, W] in levels of 255, colors [3, H, W] in 0..1."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

EQUAL = 100.0  # dB, of pictures without any difference: an infinite figure has no mean
WINDOW, SIGMA = 11, 1.5  # pixels a side of SSIM's window, and the width of its Gaussian
K1, K2 = 0.01, 0.03
PEAK = 255.0
BLACK, WHITE = 16.0, 235.0  # levels of luma in video


def to_luma(colors: Tensor, weights: tuple[float, float]) -> Tensor:
    """Luma in video levels, [H, W], of colors in 0..1 (not clamped) by the red and the blue weight of a matrix."""
    red, blue = weights
    y = red * colors[0] + (1 - red - blue) * colors[1] + blue * colors[2]
    return BLACK + (WHITE - BLACK) * y


def psnr(a: Tensor, b: Tensor, peak: float = PEAK) -> float:
    """Peak signal-to-noise ratio in dB, EQUAL at most."""
    error = float((a.double() - b.double()).square().mean())
    return EQUAL if error == 0 else min(EQUAL, 10 * math.log10(peak**2 / error))


def ssim(a: Tensor, b: Tensor) -> float:
    """Structural similarity of luma (Wang et al., 2004): mean over all whole windows; one window in small pictures."""
    side = min(WINDOW, *a.shape)
    axis = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    line = torch.exp(-(axis**2) / (2 * SIGMA**2))
    line = (line / line.sum()).to(a.device)

    def smooth(x: Tensor) -> Tensor:
        across = F.conv2d(x[None, None], line.view(1, 1, 1, -1))
        return F.conv2d(across, line.view(1, 1, -1, 1))[0, 0]

    a, b = a.double(), b.double()
    mean_a, mean_b = smooth(a), smooth(b)
    var_a, var_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    both = smooth(a * b) - mean_a * mean_b
    c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
    numerator = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    return float((numerator / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())
