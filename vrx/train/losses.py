"""Training losses on clips [B, T, 3, H, W] in 0..1; each gives one value a clip, [B]."""

from __future__ import annotations

import torch
from torch import Tensor

CHARBONNIER_EPSILON = 1e-3
CLIP = (1, 2, 3, 4)  # all dimensions but the first


def charbonnier(out: Tensor, truth: Tensor) -> Tensor:
    """sqrt(d^2 + eps^2), mean (Charbonnier et al., 1994)."""
    return torch.sqrt((out - truth) ** 2 + CHARBONNIER_EPSILON**2).mean(CLIP)


def gradient(out: Tensor, truth: Tensor) -> Tensor:
    """L1 distance of horizontal and vertical differences: edges count more than areas."""
    error = out - truth
    across = (error[..., 1:] - error[..., :-1]).abs().mean(CLIP)
    return across + (error[..., 1:, :] - error[..., :-1, :]).abs().mean(CLIP)


def temporal_difference(out: Tensor, truth: Tensor) -> Tensor:
    """L1 distance of frame-to-frame differences (InfVSR, eq. 5)."""
    error = out - truth
    return (error[:, 1:] - error[:, :-1]).abs().mean(CLIP)
