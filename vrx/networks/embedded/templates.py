"""Which kernel explains a spectrum best, if the picture under it follows a power law (Field, 1987).  Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from vrx.networks.embedded.kernels import DISK, GAUSSIAN, LINE, kernel, radius, transfer

RINGS, SECTORS = 32, 12  # up to 0.5 cycles a pixel; of half a turn
LOWEST = 0.03  # cycles a pixel, from where on the law is believed
WIDTHS = {GAUSSIAN: (0.5, 6.0, 16), DISK: (0.5, 4.5, 16), LINE: (0.7, 4.5, 12)}  # least, most, how many
GENTLEST, STEEPEST = 1.4, 3.4  # exponents of the law of power
CLEAR = 0.5  # of log10, above the floor, from where on a cell counts in the fit
FLOOR = 1e-10
FITTED = sum(count for _, _, count in WIDTHS.values()) + 2 * len(WIDTHS) + 2


@dataclass(frozen=True)
class Templates:
    """Log power of kernels by cell [K, RINGS x SECTORS], how many samples each cell has, and its -log10 frequency."""

    power: Tensor
    counts: Tensor
    law: Tensor


def cells(grid: int) -> Tensor:
    """The cell of each sample of spectra [grid, grid / 2 + 1]; RINGS x SECTORS for those outside."""
    ring = radius((grid, grid), torch.empty(0))
    y, x = torch.fft.fftfreq(grid)[:, None], torch.fft.rfftfreq(grid)[None]
    sector = (torch.atan2(y, x + 0 * y) % math.pi / math.pi * SECTORS).round().long() % SECTORS
    place = (ring * 2 * RINGS).long()
    return torch.where((place < RINGS) & (ring >= LOWEST), place * SECTORS + sector, RINGS * SECTORS)


def by_cell(values: Tensor, members: Tensor) -> Tensor:
    """Means of [..., grid, grid / 2 + 1] over cells."""
    return values.flatten(-2) @ members / members.sum(0).clamp_min(1)


@lru_cache(maxsize=2)
def membership(grid: int) -> Tensor:
    """One-hot cells of samples: [grid (grid / 2 + 1), RINGS x SECTORS]."""
    return torch.nn.functional.one_hot(cells(grid).flatten(), RINGS * SECTORS + 1)[:, :-1].float()


def widths(kind: int) -> list[float]:
    """Widths in pixels of the templates of a kind, evenly spaced in their logarithm."""
    least, most, count = WIDTHS[kind]
    return [least * (most / least) ** (i / (count - 1)) for i in range(count)]


@lru_cache(maxsize=2)
def templates(grid: int) -> Templates:
    """All of a grid: Gaussians and disks by width, then lines by width and direction."""
    wanted = [(kind, width, 0.0) for kind in (GAUSSIAN, DISK) for width in widths(kind)]
    wanted += [(LINE, width, math.pi * s / SECTORS) for width in widths(LINE) for s in range(SECTORS)]
    found = torch.stack([transfer(kernel(*which), (grid, grid)) for which in wanted])
    members = membership(grid)
    ring = by_cell(radius((grid, grid), found), members).clamp_min(LOWEST)
    return Templates(by_cell(found.square(), members).clamp_min(FLOOR).log10(), members.sum(0), -ring.log10())


def fit_templates(power: Tensor) -> Tensor:
    """How well each kernel explains power [grid, grid / 2 + 1]: [FITTED].

    Logarithms of the mean squared error by kind and width (for lines, of the best direction), each kind's least
    one relative to the least of all with its width's logarithm, and the best line's direction as the cosine and
    sine of twice its angle.
    """
    grid = power.shape[0]
    known = templates(grid)
    mean = by_cell(power.cpu(), membership(grid)).clamp_min(FLOOR)
    errors = torch.log10(misfit(mean, known) + 1e-4)
    parts, start = [], 0
    for kind, (_, _, count) in WIDTHS.items():
        size = count * (SECTORS if kind == LINE else 1)
        parts.append(errors[start : start + size].view(count, -1))
        start += size
    best = [part.min(1).values for part in parts]
    least = errors.min()
    summary = [
        torch.stack([b.min() - least, math.log(widths(k)[int(b.argmin())]) + 0 * least])
        for k, b in zip(WIDTHS, best, strict=True)
    ]
    angle = 2 * math.pi * int(parts[-1].flatten().argmin() % SECTORS) / SECTORS
    return torch.cat([*best, *summary, torch.tensor([math.cos(angle), math.sin(angle)])]).to(power)


def misfit(mean: Tensor, known: Templates) -> Tensor:
    """Mean squared errors [K] of log10 of the best power laws under each template, over a floor of noise.

    P(f) = b f^-a |H(f)|^2 + floor: a and b by least squares where the power is clear of the floor, the
    error over all cells.
    """
    rings = (mean * known.counts).view(RINGS, SECTORS).sum(1) / known.counts.view(RINGS, SECTORS).sum(1).clamp_min(1)
    floor = rings[rings > FLOOR].min() if bool((rings > FLOOR).any()) else mean.new_tensor(FLOOR)
    weight = known.counts * (mean.log10() > floor.log10() + CLEAR)
    signal = (mean - floor).clamp_min(FLOOR).log10()
    rest = signal - known.power
    total, first, second = weight.sum().clamp_min(1), weight @ known.law, weight @ known.law.square()
    both, mixed = rest @ weight, rest @ (weight * known.law)
    spread = (total * second - first**2).clamp_min(1e-6)
    exponent = ((total * mixed - first * both) / spread).clamp(GENTLEST, STEEPEST)
    level = (both - exponent * first) / total
    fitted = level[:, None] + exponent[:, None] * known.law + known.power
    fitted_power = (10 ** fitted.clamp(-15, 10) + floor).log10()
    return ((mean.log10() - fitted_power).clamp(-2, 2).square() @ known.counts) / known.counts.sum()
