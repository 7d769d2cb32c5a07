"""Deterministic DDIM steps for a network that predicts v (Salimans and Ho, 2022), as Stream-DiffVSR takes them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TRAIN_STEPS = 1000
FIRST_BETA, LAST_BETA = 1e-4, 2e-2  # not Stable Diffusion's


def alphas_cumprod() -> Tensor:
    """The share of signal left at every training step, [1000] float32; betas grow linearly in their roots."""
    betas = torch.linspace(FIRST_BETA**0.5, LAST_BETA**0.5, TRAIN_STEPS, dtype=torch.float32, device="cpu") ** 2
    return torch.cumprod(1 - betas, 0)


@dataclass(frozen=True, kw_only=True)
class DdimStep:
    """One step: its timestep, and the share of signal before it and after it."""

    timestep: int
    alpha: float
    next_alpha: float

    def clean(self, sample: Tensor, v: Tensor) -> Tensor:
        """The picture that a prediction means."""
        return self.alpha**0.5 * sample - (1 - self.alpha) ** 0.5 * v

    def advance(self, sample: Tensor, v: Tensor) -> Tensor:
        """The sample after the step."""
        noise = self.alpha**0.5 * v + (1 - self.alpha) ** 0.5 * sample
        return self.next_alpha**0.5 * self.clean(sample, v) + (1 - self.next_alpha) ** 0.5 * noise


def ddim_steps(count: int) -> tuple[DdimStep, ...]:
    """So many steps, evenly from the last training step down.  The last one leaves the noise of training step 0."""
    table = alphas_cumprod().tolist()
    stride = TRAIN_STEPS / count
    timesteps = [round(TRAIN_STEPS - stride * number) - 1 for number in range(count)]
    shares = [table[timestep] for timestep in timesteps]
    return tuple(
        DdimStep(timestep=timestep, alpha=share, next_alpha=after)
        for timestep, share, after in zip(timesteps, shares, [*shares[1:], table[0]], strict=True)
    )
