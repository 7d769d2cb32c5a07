"""SATB-VR's schedule and its stochastic second-order solver: DPM-Solver++ (Lu et al., arXiv 2211.01095) as an SDE.

Coefficients are float64; latents are float32.  Noise is given by the caller.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

MOST_STEPS = 10
HIGHEST = {1: 200, 2: 200, 3: 300}  # where a run of so many steps starts, counted from 1
HIGHEST_OTHERWISE = 400
FIXED = {  # what the published schedule says besides numbers; another value would be another model
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "set_alpha_to_one": True,
}


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The noise of the 1000 training steps; the defaults are those of CogVideoX1.5-5B.

    `snr_shift_scale` lowers the signal at every step; 1 leaves it.
    """

    num_train_timesteps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    snr_shift_scale: float = 1.0

    @classmethod
    def from_config(cls, table: Mapping[str, Any]) -> Schedule:
        """From the published `scheduler_config.json`.

        Raises ValueError where a value is missing, or is that of another schedule.
        """
        for name, expected in FIXED.items():
            if table.get(name) != expected:
                raise ValueError(f"{name} is {table.get(name)}, not {expected}")
        steps = table.get("num_train_timesteps")
        if steps != cls.num_train_timesteps:
            raise ValueError(f"num_train_timesteps is {steps}, not {cls.num_train_timesteps}")
        first, last, shift = (read_positive(table, name) for name in ("beta_start", "beta_end", "snr_shift_scale"))
        return cls(beta_start=first, beta_end=last, snr_shift_scale=shift)

    def alpha_bar(self) -> Tensor:
        """The share of signal power left at every training step, [1000] float64, 0 at the last.

        Zero terminal SNR: Lin et al., arXiv 2305.08891, algorithm 1.
        """
        roots = torch.linspace(
            self.beta_start**0.5, self.beta_end**0.5, self.num_train_timesteps, dtype=torch.float64, device="cpu"
        )
        left = torch.cumprod(1 - roots**2, 0)
        left = (left / (self.snr_shift_scale + (1 - self.snr_shift_scale) * left)).sqrt()
        return ((left - left[-1]) * (left[0] / (left[0] - left[-1]))) ** 2


def read_positive(table: Mapping[str, Any], name: str) -> float:
    """A number above 0.  Raises ValueError for anything else."""
    value = table.get(name)
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{name} is {value}")
    return float(value)


def clean_latent(x: Tensor, v: Tensor, alpha: float) -> Tensor:
    """The clean latent that a prediction v for a noisy one means, `alpha` the share of signal power in it."""
    return alpha**0.5 * x - (1 - alpha) ** 0.5 * v


def add_noise(clean: Tensor, noise: Tensor, alpha: float) -> Tensor:
    """A clean latent with standard normal noise, `alpha` the share of signal power."""
    return alpha**0.5 * clean + (1 - alpha) ** 0.5 * noise


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What a step sums: the noisy latent, the clean one, how much of its change is carried on, fresh noise."""

    sample: float
    clean: float
    change: float
    noise: float


@dataclass(frozen=True, kw_only=True)
class SolverStep:
    """One step: its timestep, and the share of signal at it, after it (1 at the end) and before it (None at first)."""

    timestep: int
    alpha: float
    next_alpha: float
    before_alpha: float | None

    @property
    def last(self) -> bool:
        """Whether nothing but the clean latent is left after it."""
        return self.next_alpha == 1

    def weights(self) -> Weights:
        """See `Weights`; the last step only keeps the clean latent."""
        if self.last:
            return Weights(sample=0.0, clean=1.0, change=0.0, noise=0.0)
        h = log_snr(self.next_alpha) - log_snr(self.alpha)
        gone = -math.expm1(-2 * h)
        return Weights(
            sample=((1 - self.next_alpha) / (1 - self.alpha)) ** 0.5 * math.exp(-h),
            clean=gone * self.next_alpha**0.5,
            change=0.0 if self.before_alpha is None else h / 2 / (log_snr(self.alpha) - log_snr(self.before_alpha)),
            noise=((1 - self.next_alpha) * gone) ** 0.5,
        )

    def advance(self, x: Tensor, clean: Tensor, before: Tensor | None, noise: Tensor | None) -> Tensor:
        """The noisy latent after the step.

        `clean` is the clean latent at this step, `before` that of the step before (None at the first one),
        `noise` standard normal (the last step needs none).
        """
        weights = self.weights()
        direction = clean if before is None else clean + weights.change * (clean - before)
        found = weights.sample * x + weights.clean * direction
        return found if noise is None else found + weights.noise * noise


def log_snr(alpha: float) -> float:
    """Half the logarithm of signal power to noise power."""
    return 0.5 * math.log(alpha / (1 - alpha))


def timesteps(steps: int) -> tuple[int, ...]:
    """The timesteps of a run of 1 to 10 steps, evenly down.  Raises ValueError for another number."""
    if not 1 <= steps <= MOST_STEPS:
        raise ValueError(f"{steps} steps; there are 1 to {MOST_STEPS}")
    stride = HIGHEST.get(steps, HIGHEST_OTHERWISE) // steps
    return tuple(number * stride - 1 for number in range(steps, 0, -1))


def solver_steps(schedule: Schedule, steps: int) -> tuple[SolverStep, ...]:
    """The steps of a run."""
    table = schedule.alpha_bar().tolist()
    places = timesteps(steps)
    shares = [table[place] for place in places]
    return tuple(
        SolverStep(timestep=place, alpha=share, next_alpha=after, before_alpha=before)
        for place, share, after, before in zip(places, shares, [*shares[1:], 1.0], [None, *shares[:-1]], strict=True)
    )
