"""Batches for one training step of the embedded network: clips degraded for a mode, and their truth."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vrx.networks.embedded.classical import smooth_fill, wiener
from vrx.networks.embedded.grid import deblur_inputs, inpaint_inputs
from vrx.networks.embedded.network import SIGMA_UNIT
from vrx.train import compression, degrade

CROP = 128  # pixels; the degradation happens on the whole stored clip
BLURRED = 160  # pixels of it, where the degradation is dear
DEGRADED_SHARE = {"deblur": 0.06, "inpaint": 0.15}  # of the batches, compressed or noisy besides
SIGMA_ERROR = 0.06  # deviation of the blur that is assumed from the true one, relative
MOTION_SHARE = 0.05  # of the blurs
KNOWN_STRENGTH_SHARE = {"deblur": 0.5, "inpaint": 0.5}  # of all batches in which the network is given the strength
STRENGTH_ERROR = 0.06  # standard deviation of the strength that it is given


@dataclass(frozen=True)
class Batch:
    """What one step needs: grid inputs, conditions, the classical base and the truth, all cropped."""

    mode: str
    inputs: Tensor  # [B, T, C, H, W]
    levels: Tensor  # [B, 3]
    base: Tensor  # [B, T, 3, 4 H, 4 W]
    truth: Tensor  # as base
    mask: Tensor | None  # [B, T, 1, 4 H, 4 W]
    flickers: bool = False  # a source that changes from frame to frame more than its picture does

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        parts = {name: part.to(device) for name, part in vars(self).items() if isinstance(part, Tensor)}
        return replace(self, **parts)  # type: ignore[arg-type]


def levels_of(count: int, sigma: float, strength: float | None) -> Tensor:
    """The conditions [B, 3] of `vrx.networks.embedded.network`."""
    known = strength is not None
    return torch.tensor([[sigma / SIGMA_UNIT, strength or 0.0, float(known)]]).repeat(count, 1)


def damage(low: Tensor, rng: random.Random, mode: str) -> tuple[Tensor, float | None, bool]:
    """Compress some of a mode's batches; returns the strength (0 when clean), and whether the network is given it."""
    strength = 0.0
    damaged = rng.random() < DEGRADED_SHARE[mode]
    if damaged:
        low, strength = compression.compress(low, rng)
    told = min(1.0, max(0.0, strength + rng.gauss(0, STRENGTH_ERROR)))
    return degrade.quantize(low), told if rng.random() < KNOWN_STRENGTH_SHARE[mode] else None, damaged


def make_batch(mode: str, truth: Tensor, rng: random.Random) -> Batch:
    """Degrade clips [B, T, 3, S, S] for a mode and cut the same window out of everything."""
    return deblur_batch(truth, rng) if mode == "deblur" else inpaint_batch(truth, rng)


def deblur_batch(truth: Tensor, rng: random.Random) -> Batch:
    """Gaussian blur of sigma 0.5 to 4, some of them along a line; Wiener as base."""
    count = truth.shape[0]
    top, left = (rng.randint(0, truth.shape[-1] - BLURRED) for _ in range(2))
    truth = truth[..., top : top + BLURRED, left : left + BLURRED]
    flat = truth.flatten(0, 1)
    sigma = rng.uniform(0.5, 4.0)
    if rng.random() < MOTION_SHARE:
        blurred = degrade.motion_blur(flat, 3 * sigma, rng.uniform(0, math.pi))
        sigma /= 2  # a round kernel this small sharpens across the motion without ringing
    else:
        blurred = degrade.gaussian_blur(flat, sigma)
    blurred, strength, _ = damage(blurred.view_as(truth), rng, "deblur")
    assumed = max(0.3, sigma * rng.gauss(1, SIGMA_ERROR))
    flat = blurred.flatten(0, 1)
    base = wiener(flat, assumed)
    inputs = deblur_inputs(flat, base)
    return cut(Batch("deblur", inputs, levels_of(count, assumed, strength), base, truth, None, True), rng)


def inpaint_batch(truth: Tensor, rng: random.Random) -> Batch:
    """Masks of all kinds; smooth fill as base."""
    count, frames, _, height, width = truth.shape
    known, strength, damaged = damage(truth, rng, "inpaint")
    mask = torch.stack([degrade.mask_clip(frames, height, width, rng) for _ in range(count)])
    flat_mask = mask.flatten(0, 1)
    base = smooth_fill(known.flatten(0, 1), flat_mask)
    inputs = inpaint_inputs(base, flat_mask)
    return cut(Batch("inpaint", inputs, levels_of(count, 0, strength), base, truth, mask, damaged), rng)


def cut(batch: Batch, rng: random.Random) -> Batch:
    """A window of CROP pixels on the grid out of a batch whose parts are still whole and flat."""
    count, frames, _, side, _ = batch.truth.shape
    grid = side // 4
    size = CROP // 4
    top, left = (rng.randint(0, grid - size) for _ in range(2))
    inputs = batch.inputs.view(count, frames, -1, grid, grid)
    window = (..., slice(top * 4, (top + size) * 4), slice(left * 4, (left + size) * 4))
    return replace(
        batch,
        inputs=inputs[..., top : top + size, left : left + size],
        base=batch.base.view_as(batch.truth)[window],
        truth=batch.truth[window],
        mask=None if batch.mask is None else batch.mask[window],
    )
