"""Blur kernels of three kinds by their width, and their transfer functions.

A width is the standard deviation of the kernel in pixels along its longer axis: sigma of a Gaussian, half of the
radius of a disk (a lens out of focus), the length over sqrt(12) of a line (straight motion).  Pure.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.networks.embedded.classical import gaussian

NONE, GAUSSIAN, DISK, LINE = range(4)
KINDS = ("no blur", "Gaussian", "out of focus", "motion")
REACH = 5.0  # deviations of a Gaussian that its kernel holds
LEAST_WIDTH = 0.05  # pixels; what is narrower is a single pixel


def kernel(kind: int, width: float, angle: float = 0.0) -> Tensor:
    """A kernel [S, S] of odd side that sums to 1; `angle` in radians, of a line, from the x axis to y."""
    if kind == NONE or width < LEAST_WIDTH:
        return torch.ones(1, 1)
    if kind == GAUSSIAN:
        line = gaussian(width, math.ceil(REACH * width), torch.empty(0))
        return line[:, None] * line
    reach = math.ceil((2.0 if kind == DISK else 3**0.5) * width) + 1
    axis = torch.arange(-reach, reach + 1, dtype=torch.float64)
    if kind == DISK:
        values = (2 * width + 0.5 - torch.hypot(axis[:, None], axis)).clamp(0, 1)
    else:
        along = axis * math.cos(angle) + axis[:, None] * math.sin(angle)
        across = axis[:, None] * math.cos(angle) - axis * math.sin(angle)
        values = (1 - across.abs()).clamp_min(0) * (3**0.5 * width + 0.5 - along.abs()).clamp(0, 1)
    return (values / values.sum()).float()


def transfer(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """The real transfer function [size[0], size[1] // 2 + 1] of a point-symmetric kernel, for `torch.fft.rfft2`."""
    top, left = (side // 2 for side in kernel.shape)
    extra = [max(0, k - s) for k, s in zip(kernel.shape, size, strict=True)]
    if any(extra):  # wrapped around
        whole = tuple(-(-k // s) * s for k, s in zip(kernel.shape, size, strict=True))
        padded = F.pad(kernel, (0, whole[1] - kernel.shape[1], 0, whole[0] - kernel.shape[0]))
        padded = padded.view(whole[0] // size[0], size[0], whole[1] // size[1], size[1]).sum((0, 2))
    else:
        padded = F.pad(kernel, (0, size[1] - kernel.shape[1], 0, size[0] - kernel.shape[0]))
    found: Tensor = torch.fft.rfft2(padded.roll((-top, -left), (0, 1))).real
    return found


def radius(size: tuple[int, int], like: Tensor) -> Tensor:
    """Frequencies in cycles a pixel on the grid of `torch.fft.rfft2`, [size[0], size[1] // 2 + 1]."""
    y = torch.fft.fftfreq(size[0], device=like.device)
    x = torch.fft.rfftfreq(size[1], device=like.device)
    return torch.hypot(y[:, None], x[None])
