"""Normalization layers that several networks share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last axis (Zhang and Sennrich, 2019); the mean in float32.

    Rounded to the type of `x` before the weight is applied, as Wan and UMT5 do; torch's own weight rounds once.
    """

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to the same."""
        return F.rms_norm(x, x.shape[-1:], eps=self.eps) * self.weight.to(x.dtype)


class ChannelRMSNorm(nn.Module):
    """RMSNorm over the channels of [B, C, ...], in float32 throughout; `axes` of space and time follow the channels."""

    def __init__(self, channels: int, axes: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels, *[1] * axes))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, ...] to the same."""
        wide = x.float()
        return (wide * (wide.square().mean(1, keepdim=True) + self.eps).rsqrt() * self.weight.float()).to(x.dtype)
