"""Deconvolution that knows how much of a picture is damage: Wiener filters mixed over the kinds of blur.  Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vrx.networks.embedded.classical import filter_padded
from vrx.networks.embedded.kernels import GAUSSIAN, kernel, radius, transfer
from vrx.networks.embedded.symptoms import gray

LEAST_SHARE = 0.01  # of a kind, below which it is left out
# the ratios were chosen so as to do no harm; under a Gaussian, where a filter fails gently, less of them wins more
GAUSSIAN_RATIO = 0.45


@dataclass(frozen=True)
class Recipe:
    """A scene's filter.

    `shares`: how much each of `kernels.KINDS` counts [4]; `width` of the kernel in pixels, `angle` of a line in
    radians; `luma`, `chroma`: log10 of the ratio of noise to signal, before the blur, at frequencies evenly spaced
    from 0 to 0.5 cycles a pixel.
    """

    shares: Tensor
    width: float
    angle: float
    luma: Tensor
    chroma: Tensor

    def gains(self, size: tuple[int, int], like: Tensor) -> tuple[Tensor, Tensor]:
        """Gains of luma and of chroma on the grid of `torch.fft.rfft2`, [size[0], size[1] // 2 + 1], as `like`.

        The mean of the kinds' Wiener filters H / (H^2 + noise / signal) (Wiener, 1949), weighted by their shares: were
        these the chances of each kernel, it would give the mean of what the picture may have been.
        """
        counted = torch.where(self.shares < LEAST_SHARE, 0, self.shares)
        shares = (counted / counted.sum()).tolist()
        transfers = {
            kind: transfer(kernel(kind, self.width, self.angle).to(like), size)
            for kind, share in enumerate(shares)
            if share
        }
        ring = radius(size, like)

        def mixed(points: Tensor) -> Tensor:
            ratio = 10 ** interpolate(points.to(like), ring)
            parts = [
                shares[kind] * h / (h * h + ratio * (GAUSSIAN_RATIO if kind == GAUSSIAN else 1))
                for kind, h in transfers.items()
            ]
            return torch.stack(parts).sum(0)

        return mixed(self.luma), mixed(self.chroma)


def interpolate(points: Tensor, ring: Tensor) -> Tensor:
    """Values at frequencies `ring` of lines through `points` [..., N] from 0 to 0.5 cycles a pixel, the last beyond."""
    place = (ring * 2).clamp_max(1 - 1e-6) * (points.shape[-1] - 1)
    low = place.long()
    return torch.lerp(points[..., low], points[..., low + 1], place - low)


Gains = Callable[[tuple[int, int]], tuple[Tensor, Tensor]]


def deconvolve(x: Tensor, gains: Gains) -> Tensor:
    """Pictures [N, 3, H, W] filtered, luma and chroma apart; `gains` gives both for a size, as `Recipe.gains` does."""

    def change(spectrum: Tensor, size: tuple[int, int]) -> Tensor:
        luma, chroma = gains(size)
        return spectrum * chroma + gray(spectrum) * (luma - chroma)

    return filter_padded(x, change)
