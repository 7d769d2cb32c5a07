"""Where a kernel leaves nothing: the dark rings of a lens out of focus and the dark stripes of a motion in a spectrum.

They stand at frequencies that depend on the kernel's width alone, whatever the picture is like, so that they tell the
width of disks and lines to a few percent where the fall of the spectrum (`templates`) leaves a fifth open.  Compared is
what a spectrum has over its surroundings, above what noise and quantization cover (after Cannon, 1976).  Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from vrx.networks.embedded.kernels import DISK, LINE, NONE, kernel, radius, transfer

LOWEST = 0.03  # cycles a pixel, from where on is compared
SURROUNDINGS = 5.0  # samples, the deviation of the Gaussian that gives what is around
LAW = 2.4  # exponent by which the power of pictures falls, as far as it matters beside a zero
GENTLEST, STEEPEST = 1.0, 3.6  # exponents that are fitted
DARKEST = -1.5  # log10 of a kernel's power, below which its law is not fitted: there only leaks are left
CLEAR = 0.5  # log10 above the floor, from where on the law is fitted
QUIETEST = 0.02  # share of the samples that lie below the floor of noise
FLOOR = 1e-10
# pixels: least, most, how many; as dense at any width, as the zeros of wide kernels are many and each tells
WIDTHS = {DISK: (0.6, 4.5, 27), LINE: (0.8, 4.4, 13)}
DIRECTIONS = 16  # of lines, over half a turn
AT_ONCE = 8  # kernels; what is computed of more leaves the processor's cache
ROUNDS = 3  # in each of which the steps around the best kernel are halved
ZEROS = 8  # numbers of `Zeros.numbers`


@dataclass(frozen=True)
class Match:
    """The kernel of a kind whose zeros are most like a spectrum's.

    `misfit`: the unevenness that is left once it is taken out, over that of the spectrum; `width` in pixels, `angle` in
    radians.
    """

    misfit: float
    width: float
    angle: float = 0.0


@dataclass(frozen=True)
class Zeros:
    """What is found in a spectrum: its mean squared unevenness, of log10, and the best disk and line."""

    uneven: float
    disk: Match
    line: Match

    def of(self, kind: int) -> Match | None:
        """The match of a kind, for those that have zeros."""
        return {DISK: self.disk, LINE: self.line}.get(kind)

    def numbers(self) -> Tensor:
        """For networks: [ZEROS]."""
        turn = 2 * self.line.angle
        matches = [number for match in (self.disk, self.line) for number in (match.misfit, math.log(match.width))]
        uneven = math.log10(self.uneven + FLOOR)
        return torch.tensor(
            [uneven, *matches, self.line.misfit - self.disk.misfit, math.cos(turn), math.sin(turn)],
        )


def full_spectrum(half: Tensor) -> Tensor:
    """[..., S, S / 2 + 1] of `torch.fft.rfft2`, of an even function, as [..., S, S]."""
    return torch.cat([half, half[..., 1:-1].flip(-2, -1).roll(1, -2)], -1)


def circulant(weights: Tensor, size: int) -> Tensor:
    """The matrix [size, size] that convolves circularly with `weights` of odd length."""
    reach = len(weights) // 2
    return sum(weight * torch.eye(size).roll(number - reach, 1) for number, weight in enumerate(weights))


@lru_cache(maxsize=2)
def leakage(size: int) -> Tensor:
    """How the power of a frequency spreads under a Hann window: [size, size]."""
    return circulant(torch.tensor([1 / 6, 2 / 3, 1 / 6]), size)


@lru_cache(maxsize=2)
def averaging(size: int) -> Tensor:
    """Means over the surroundings: [size, size]."""
    reach = math.ceil(3 * SURROUNDINGS)
    weights = torch.exp(-torch.arange(-reach, reach + 1).square() / (2 * SURROUNDINGS**2))
    return circulant(weights / weights.sum(), size)


@lru_cache(maxsize=2)
def frequencies(size: int) -> tuple[Tensor, Tensor]:
    """Frequencies in cycles a pixel, LOWEST at least, and which are compared: [size, size] each."""
    ring = full_spectrum(radius((size, size), torch.empty(0)))
    return ring.clamp_min(LOWEST), (ring >= LOWEST) & (ring <= 0.5)


def log_spectra(kernels: list[tuple[int, float, float]], size: int) -> Tensor:
    """Log10 power of kernels (kind, width, angle) as windowed spectra have it: [K, size, size]."""
    law = frequencies(size)[0] ** -LAW
    power = full_spectrum(torch.stack([transfer(kernel(*which), (size, size)) for which in kernels])).square() * law
    return (leakage(size) @ power @ leakage(size) / law).clamp_min(FLOOR).log10()


@lru_cache(maxsize=2)
def starting_kernels(size: int) -> tuple[list[tuple[int, float, float]], Tensor]:
    """Kernels to begin with, first none, and their `log_spectra`."""
    kernels = [(NONE, 0.0, 0.0)]
    for kind, (least, most, count) in WIDTHS.items():
        widths = [least + (most - least) * number / (count - 1) for number in range(count)]
        angles = [math.pi * number / DIRECTIONS for number in range(DIRECTIONS if kind == LINE else 1)]
        kernels += [(kind, width, angle) for width in widths for angle in angles]
    return kernels, log_spectra(kernels, size)


class Spectrum:
    """A power spectrum [S, S / 2 + 1] with what is compared of it; `covered`: the power that quantization covers."""

    def __init__(self, power: Tensor, covered: float) -> None:
        self._ring, self._compared = frequencies(power.shape[0])
        power = full_spectrum(power.float().cpu()).clamp_min(max(covered, FLOOR))
        self._floor = power[self._compared].quantile(QUIETEST)
        self._log = power.log10()
        self._signal = (power - self._floor).clamp_min(FLOOR).log10()
        self._clear = self._compared & (self._log > self._floor.log10() + CLEAR)

    def unevenness(self, templates: Tensor) -> Tensor:
        """Mean squares [K] of what is left over the surroundings, of log10, once each kernel and a law are taken out.

        `templates` [K, S, S]: the kernels' `log_spectra`.  The law is fitted where the spectrum is clear of its floor
        and the kernel lets it through.
        """
        return torch.cat([self._mean_squares(few) for few in templates.split(AT_ONCE)])

    def _mean_squares(self, templates: Tensor) -> Tensor:
        law, rest = -self._ring.log10(), self._signal - templates
        weight = (self._clear & (templates > DARKEST)).float()
        total, first, second = (x.sum((-1, -2)) for x in (weight, weight * law, weight * law.square()))
        both, mixed = (rest * weight).sum((-1, -2)), (rest * weight * law).sum((-1, -2))
        total = total.clamp_min(1)
        exponent = (total * mixed - first * both) / (total * second - first**2).clamp_min(1e-6)
        exponent = exponent.clamp(GENTLEST, STEEPEST)
        level = (both - exponent * first) / total
        fitted = 10 ** (level[:, None, None] + exponent[:, None, None] * law + templates).clamp(-15, 10) + self._floor
        left = torch.where(self._compared, (self._log - fitted.log10()).clamp(-2, 2), 0)
        mean = averaging(len(law))
        left = left - mean @ left @ mean
        return (left.square() * self._compared).sum((-1, -2)) / self._compared.sum()

    def refine(self, kind: int, width: float, angle: float, flat: float) -> Match:
        """The best kernel of a kind near one of WIDTHS and of the directions; `flat`: the unevenness under none."""
        size, (least, most, count) = len(self._ring), WIDTHS[kind]
        wide, turn = (most - least) / (count - 1), math.pi / DIRECTIONS if kind == LINE else 0.0
        best = flat
        for _ in range(ROUNDS):
            wide, turn = wide / 2, turn / 2
            kernels = [
                (kind, width + wide * across, angle + turn * along)
                for across in (0, -1, 1)
                for along in ((0, -1, 1) if turn else (0,))
            ]
            found = self.unevenness(log_spectra(kernels, size))
            best, (_, width, angle) = float(found.min()), kernels[int(found.argmin())]
        return Match(best / flat, width, angle)


def find_zeros(power: Tensor, covered: float) -> Zeros:
    """The zeros of a mean power spectrum [S, S / 2 + 1], of `torch.fft.rfft2` under a Hann window.

    `covered`: the power a sample that quantization covers, 0 for none.
    """
    spectrum = Spectrum(power, covered)
    kernels, seen = starting_kernels(power.shape[0])
    found = spectrum.unevenness(seen)
    flat = max(float(found[0]), FLOOR)
    matches = {}
    for kind in WIDTHS:
        places = [number for number, which in enumerate(kernels) if which[0] == kind]
        matches[kind] = spectrum.refine(*kernels[min(places, key=lambda number: float(found[number]))], flat)
    return Zeros(flat, matches[DISK], matches[LINE])


def quantization_power(step: float) -> float:
    """The power a sample of what a uniform quantizer of `step`, in 0..1, leaves: its error's variance."""
    return step**2 / 12
