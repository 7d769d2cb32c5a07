"""Noise taken out in time: every frame joins the mean of those before it, moved along its motion.

A Kalman filter for each pixel (recursive temporal noise reduction as in Dubois and Sabri, 1984), whose process noise
is what the moved mean differs by from the frame beyond their noise: where something else is shown, the mean starts
anew.  Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.networks.embedded.recurrent import fetch, inside
from vrx.networks.embedded.shrink import MOST_PIXELS, window_mean

REACH = 2  # pixels to either side over which frame and mean are compared
WHITE = 1 / (2 * REACH + 1) ** 2  # spread of white noise
TOLERANCE = 1.6  # times their variances that the mean square of their difference may be, of white noise
MOST_WIDER = 3.0  # times wider that margin is, at most, for noise that is alike from pixel to pixel
OFFSET_TOLERANCE = 4.0  # times what their noise explains that the square of the mean difference may be, and
OFFSET_WEIGHT = 4.0  # times what is beyond counts: faint shapes are seen there first; less so where noise has shapes
DOUBT = 2.0  # times what is beyond that the mean is trusted less by
LEAST_GAIN = 0.05  # of a frame in the mean


@dataclass(frozen=True)
class Noise:
    """Of luma and of chroma, [1, 2, 1, 1] each.

    `variance`; `spread`: the share of it that means over the windows of REACH keep, WHITE where no pixel tells of
    another.  Grain, tape and shared chroma keep much more, and are not to be taken for content that changed.
    """

    variance: Tensor
    spread: Tensor

    def to(self, pictures: Tensor) -> Noise:
        """As pictures are, in type and place."""
        return Noise(self.variance.to(pictures), self.spread.to(pictures))


@dataclass(frozen=True)
class Average:
    """State after a frame: luma and chroma of the mean [1, 3, H, W], and the variance of their noise [1, 2, H, W]."""

    planes: Tensor
    variance: Tensor

    def to(self, device: torch.device) -> Average:
        """On a device."""
        return Average(self.planes.to(device), self.variance.to(device))

    def tensors(self) -> dict[str, Tensor]:
        """A copy, by name."""
        return {"mean": self.planes.clone(), "variance": self.variance.clone()}

    @staticmethod
    def from_tensors(tensors: dict[str, Tensor]) -> Average | None:
        """The inverse of `tensors`; None where they are not there."""
        return Average(tensors["mean"], tensors["variance"]) if "mean" in tensors else None


def begin(now: Tensor, noise: Noise) -> Average:
    """The mean of a first frame, luma and chroma [1, 3, H, W]."""
    return Average(now, noise.variance.expand(1, 2, *now.shape[-2:]).clone())


@dataclass(frozen=True)
class Before:
    """A mean, and for rows from position `top` on where their content was in it.

    `motion` [1, 2, h, w] from each position of `side` pixels, in positions; `valid` [1, 1, h, w] is 0 where that was
    outside of the picture.
    """

    average: Average
    motion: Tensor
    valid: Tensor
    side: int
    top: int = 0

    def rows(self, part: slice) -> Before:
        """For some of the rows of positions only."""
        return Before(self.average, self.motion[..., part, :], self.valid[..., part, :], self.side, part.start)

    def fetch(self) -> tuple[Tensor, Tensor]:
        """Planes [1, 3, H, W] and variance [1, 2, H, W] of the mean, moved."""
        planes = fetch(self.average.planes, self.motion, self.side, self.top, mode="bicubic")
        return planes, fetch(self.average.variance, self.motion, self.side, self.top)


def join(now: Tensor, noise: Noise, average: Average, motion: Tensor) -> Average:
    """The mean after the frame `now` [1, 3, H, W].

    `motion` [1, 2, h, w]: from each position, of H / h pixels a side, to its content's place in the frame of the
    `average`, in positions.  Large pictures go in bands of rows.
    """
    positions, side = motion.shape[-2], now.shape[-1] // motion.shape[-1]
    before = Before(average, motion, inside(motion), side)
    rows = max(1, MOST_PIXELS // (now.shape[-1] * side))
    if positions <= rows:
        return join_rows(now, noise, before)
    planes, variance = torch.empty_like(now), torch.empty_like(average.variance)
    reach = -(-REACH // side) + 1  # positions; with less, the comparison and the motion would see the band's edge
    for top in range(0, positions, rows):
        first, last = max(0, top - reach), min(positions, top + rows)
        band = slice(first, min(positions, last + reach))
        found = join_rows(now[..., first * side : band.stop * side, :], noise, before.rows(band))
        own = slice((top - first) * side, (last - first) * side)
        planes[..., top * side : last * side, :] = found.planes[..., own, :]
        variance[..., top * side : last * side, :] = found.variance[..., own, :]
    return Average(planes, variance)


def join_rows(now: Tensor, noise: Noise, before: Before) -> Average:
    """For the rows of `now` only."""
    moved, trusted = before.fetch()
    change, variance = now - moved, noise.variance
    trusted.add_(DOUBT * excess(change, variance + trusted, noise) * variance)
    gain = (trusted / (trusted + variance)).clamp_min_(LEAST_GAIN)
    gain = torch.where(F.interpolate(before.valid, scale_factor=before.side) > 0, gain, 1.0)
    planes = moved.add_(torch.cat([gain, gain[:, 1:]], 1).mul_(change))
    return Average(planes, gain * variance)


def excess(change: Tensor, expected: Tensor, noise: Noise) -> Tensor:
    """How far a difference [1, 3, H, W] is beyond its `expected` variances [1, 2, H, W], in those of `noise`.

    [1, 1, H, W], the larger one of luma and chroma: by the mean square around a pixel, and by the square of the mean.
    """
    wider = noise.spread / WHITE
    tolerance = 1 + (TOLERANCE - 1) * wider.sqrt().clamp_max(MOST_WIDER)
    square = by_kind(window_mean(change.square(), REACH)) - tolerance * expected
    offset = by_kind(window_mean(change, REACH).square_()) - OFFSET_TOLERANCE * noise.spread * expected
    beyond = torch.maximum(square, OFFSET_WEIGHT / wider * offset).clamp_min_(0) / noise.variance
    return beyond.amax(1, keepdim=True)


def by_kind(planes: Tensor) -> Tensor:
    """Of luma and both planes of chroma [1, 3, H, W], luma and the mean of chroma [1, 2, H, W]."""
    return torch.cat([planes[:, :1], planes[:, 1:].mean(1, keepdim=True)], 1)
