"""SATB-VR's procedure on latents: prediction, jump to a middle timestep, and guided steps, each tile by tile.

Latents are [B, F, 16, h, w] float32 between the steps, and in the networks' type inside them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vrx.networks.satbvr.control import ControlNet
from vrx.networks.satbvr.solver import Schedule, SolverStep, add_noise, clean_latent, solver_steps
from vrx.networks.satbvr.tiles import Tile, Tiling
from vrx.networks.satbvr.transformer import PREDICTOR_TIMESTEP, Denoiser

WHOLE = Tiling()
GUIDANCE = 6.0  # arXiv 2606.28677
Draw = Callable[[torch.Size], Tensor]  # standard normal noise of a shape, float32


@dataclass(frozen=True)
class Prompts:
    """Rows of text [1, L, T]: what the video shows, and what it does not."""

    positive: Tensor
    negative: Tensor


@dataclass(frozen=True)
class Latents:
    """Where a run is: the low-quality latent, the noisy one, and the clean one of the step before, if any.

    `known`: the first latent frames of the result, where they are given.
    """

    lq: Tensor
    noisy: Tensor
    clean: Tensor | None
    known: Tensor | None = None

    def part(self, tile: Tile) -> Latents:
        """What a tile sees."""
        clean, known = (None if x is None else x[tile.whole] for x in (self.clean, self.known))
        return Latents(self.lq[tile.whole], self.noisy[tile.whole], clean, known)


def replace_first(clean: Tensor, known: Tensor | None) -> Tensor:
    """A clean latent [B, F, 16, h, w] with the latent frames that are known in place of its first ones."""
    return clean if known is None else torch.cat([known, clean[:, known.shape[1] :]], 1)


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """What a run is made of; `guidance` of 1 and below leaves out the negative prompt.

    Rows of text are in the networks' type, on their device.
    """

    denoiser: Denoiser
    control: ControlNet
    prompts: Prompts
    schedule: Schedule
    steps: int
    guidance: float = GUIDANCE
    tiling: Tiling = WHOLE

    def sample(self, lq: Tensor, draw: Draw, known: Tensor | None = None) -> Tensor:
        """The clean latent of a low-quality one [1, F, 16, h, w]; F is even, its first latent frame comes twice.

        Noise is drawn for the start, then for every tile of every step but the last.  `known`: the first latent
        frames of the result, which the others continue.  They stand in for the networks' estimate at every step, so
        that the solver keeps them at each step's level of noise.  Raises ValueError for sizes that cannot be cut
        into patches.
        """
        latents = self.start(lq.float(), draw, known)
        for step in solver_steps(self.schedule, self.steps):
            latents = self.advance(step, latents, draw)
        return latents.noisy

    def start(self, lq: Tensor, draw: Draw, known: Tensor | None = None) -> Latents:
        """The predictor's estimate with the noise of the first step (arXiv 2606.28677, eq. 3)."""
        first = solver_steps(self.schedule, self.steps)[0]
        estimate = replace_first(self.predict(lq), known)
        return Latents(lq, add_noise(estimate, draw(lq.shape), first.alpha), None, known)

    def predict(self, lq: Tensor) -> Tensor:
        """The predictor's clean estimate: what it says is a v for the low-quality latent."""
        alpha = float(self.schedule.alpha_bar()[PREDICTOR_TIMESTEP])
        estimate = torch.empty_like(lq)
        for tile in self.tiling.tiles(lq.shape):
            part, text = lq[tile.whole], self.prompts.positive
            v = self.denoiser.predict(part.to(text.dtype), text).float()
            estimate[tile.target] = clean_latent(part, v, alpha)[tile.owned]
        return estimate

    def advance(self, step: SolverStep, latents: Latents, draw: Draw) -> Latents:
        """The latents after a step."""
        noisy, clean = torch.empty_like(latents.noisy), torch.empty_like(latents.noisy)
        for tile in self.tiling.tiles(noisy.shape):
            part = latents.part(tile)
            v = self.velocity(part, step.timestep)
            estimate = replace_first(clean_latent(part.noisy, v, step.alpha), part.known)
            noise = None if step.last else draw(part.noisy.shape)
            noisy[tile.target] = step.advance(part.noisy, estimate, part.clean, noise)[tile.owned]
            clean[tile.target] = estimate[tile.owned]
        return Latents(latents.lq, noisy, clean, latents.known)

    def velocity(self, part: Latents, timestep: int) -> Tensor:
        """The denoiser's v for a tile, float32, under guidance (Ho and Salimans, arXiv 2207.12598).

        Prompts come one after the other: two at once would take twice the memory.
        """
        positive = self.velocity_under(self.prompts.positive, part, timestep)
        if self.guidance <= 1:
            return positive
        negative = self.velocity_under(self.prompts.negative, part, timestep)
        return negative + self.guidance * (positive - negative)

    def velocity_under(self, text: Tensor, part: Latents, timestep: int) -> Tensor:
        """The denoiser's v for a tile and rows of text [1, L, T], float32."""
        noisy, lq = part.noisy.to(text.dtype), part.lq.to(text.dtype)
        states = self.control.control(noisy, lq, timestep, text)
        return self.denoiser.denoise(noisy, lq, timestep, text, states).float()
