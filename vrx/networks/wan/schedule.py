"""Flow-matching schedules of one-step solvers on Wan.  Pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

TRAIN_STEPS = 1000


def shifted_sigmas(shift: float, steps: int = TRAIN_STEPS) -> Tensor:
    """Noise levels [steps] from 1 down: s = 1 - k / steps, sigma = shift s / (1 + (shift - 1) s), float32."""
    s = 1 - torch.arange(steps, dtype=torch.float64) / steps
    return (shift * s / (1 + (shift - 1) * s)).float()


def nearest_sigma(timestep: float, shift: float, steps: int = TRAIN_STEPS) -> float:
    """The schedule's noise level whose timestep (steps x sigma) is nearest to the one asked for."""
    sigmas = shifted_sigmas(shift, steps)
    return float(sigmas[(sigmas * steps - timestep).abs().argmin()])


def clean_latent(x: Tensor, flow: Tensor, sigma: float) -> Tensor:
    """x0 = x - sigma v, in float64 and back (v = noise - x0)."""
    return (x.double() - sigma * flow.double()).to(x.dtype)
