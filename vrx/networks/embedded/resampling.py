"""Whether a picture was enlarged before, by the rhythm that interpolation leaves.

Interpolated pixels are smoother the farther they lie from those that they were made of, so that second differences
rise and fall with the grid of the smaller picture: their mean over all rows, or columns, is periodic (Gallagher, 2005).
What blurs a picture afterwards wipes that out, so that a rhythm tells of a soft picture that it is not under a blur.
Enlarging by exactly two leaves none, as all pixels lie equally far then.  Pure.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

RHYTHM = 4  # numbers of `rhythm`
LEAST_SIDE = 48  # pixels; shorter lines show no rhythm
ROUNDING = 0.25 / 255  # differences below it are those of rounding
TREND = 17  # pixels, over which slow changes are taken out
SAMPLES = 1024  # of the spectrum, of a whole cycle
AROUND = 241  # samples, whose median is the ground that a peak stands on
SLOWEST = 0.1  # cycles a pixel: enlarged by ten
BLOCKS, NEAR = 8, 2.0  # encoders have rhythms of their own, this near to eighths, in resolved frequencies
FLOOR = 1e-12


def rhythm(luma: Tensor) -> Tensor:
    """How far the highest peaks of luma [T, H, W] in 0..1 stand out, log10 of power: [RHYTHM].

    The peak that rows and columns share, that of rows, that of columns, each off the frequencies of blocks; then the
    shared one at these.  Zeros for a picture that is too small.
    """
    if min(luma.shape[-2:]) < LEAST_SIDE:
        return torch.zeros(RHYTHM)
    across, down = prominence(luma), prominence(luma.mT)
    shared = torch.minimum(across, down)
    of_blocks = block_frequencies(min(min(luma.shape[-2:]), SAMPLES))
    off = [peaks.masked_fill(of_blocks, FLOOR).amax() for peaks in (shared, across, down)]
    return torch.stack([*off, shared.masked_fill(~of_blocks, FLOOR).amax()]).clamp_min(1).log10().float()


def prominence(luma: Tensor) -> Tensor:
    """Power of the rhythm along the rows of [T, H, W] over that around each frequency: [SAMPLES / 2 + 1]."""
    bent = (2 * luma[..., 1:-1] - luma[..., :-2] - luma[..., 2:]).abs()
    profile = (bent.double() + ROUNDING).log().mean((0, 1)).cpu()[-SAMPLES:]
    weights = torch.hann_window(TREND + 2, periodic=False, dtype=profile.dtype)[1:-1]
    around = F.pad(profile[None, None], (TREND // 2,) * 2, mode="reflect")
    level = profile - F.conv1d(around, (weights / weights.sum())[None, None])[0, 0]
    level = level * torch.hann_window(len(level), periodic=False, dtype=level.dtype)
    power = torch.fft.rfft(level, SAMPLES).abs().square()
    ground = F.pad(power[None], (AROUND // 2,) * 2, mode="reflect")[0].unfold(0, AROUND, 1).median(-1).values
    found = power / (ground + FLOOR)
    found[: round(SLOWEST * SAMPLES)] = 0
    return found


@lru_cache(maxsize=8)
def block_frequencies(side: int) -> Tensor:
    """Which frequencies are those of an encoder's blocks, seen along `side` pixels: [SAMPLES / 2 + 1]."""
    cycles = torch.arange(SAMPLES // 2 + 1) / SAMPLES * BLOCKS
    return (cycles - cycles.round()).abs() <= NEAR * BLOCKS / side
