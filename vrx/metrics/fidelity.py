"""How close a picture is to another.  Luma [H, W] in levels of 255, colors [3, H, W] in 0..1."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

EQUAL = 100.0  # dB, of pictures without any difference: an infinite figure has no mean
WINDOW, SIGMA = 11, 1.5  # pixels a side of SSIM's window, and the width of its Gaussian
K1, K2 = 0.01, 0.03
PEAK = 255.0
BLACK, WHITE = 16.0, 235.0  # levels of luma in video


@dataclass(frozen=True)
class LumaScale:
    """How luma is made and counted: the weights of red and blue, and in levels of 8 bits black, white and the peak."""

    weights: tuple[float, float]
    black: float = BLACK
    white: float = WHITE
    peak: float = PEAK


def to_luma(colors: Tensor, scale: LumaScale) -> Tensor:
    """Luma in levels, [H, W], of colors in 0..1 (not clamped)."""
    red, blue = scale.weights
    y = red * colors[0] + (1 - red - blue) * colors[1] + blue * colors[2]
    return scale.black + (scale.white - scale.black) * y


def psnr(a: Tensor, b: Tensor, peak: float = PEAK) -> float:
    """Peak signal-to-noise ratio in dB, EQUAL at most."""
    error = float((a.double() - b.double()).square().mean())
    return EQUAL if error == 0 else min(EQUAL, 10 * math.log10(peak**2 / error))


def ssim(a: Tensor, b: Tensor, peak: float = PEAK) -> float:
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
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    numerator = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    return float((numerator / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())
