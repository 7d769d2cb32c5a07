"""Grain: how coarse what was taken out of a picture is, and new grain like it at any size.  Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vrx.networks.embedded.classical import gaussian, separable
from vrx.networks.embedded.planes import TO_COLORS

FINEST, COARSEST = 0.35, 3.0  # pixels; finer grain is white
REACH = 3  # deviations that a kernel reaches
SCENES = 1_000_003  # a prime: seeds of scenes are so far apart that their frames share none


@dataclass(frozen=True)
class Grain:
    """Standard deviations in 0..1 of luma and chroma, and deviations in pixels of Gaussians that make them coarse."""

    luma: float
    chroma: float
    luma_size: float = 0.0
    chroma_size: float = 0.0

    def tensor(self) -> Tensor:
        """All numbers, float64."""
        return torch.tensor([self.luma, self.chroma, self.luma_size, self.chroma_size], dtype=torch.float64)

    @staticmethod
    def from_tensor(numbers: Tensor) -> Grain:
        """The inverse of `tensor`."""
        return Grain(*numbers.tolist())


def grain_size(removed: Tensor) -> float:
    """How coarse grain [..., H, W] is: the deviation in pixels of the Gaussian that makes white noise like it.

    Neighbors in white noise under a Gaussian of s pixels are alike by exp(-1 / 4 s^2); 0 for white noise.
    """
    power = float(removed.square().mean())
    if power <= 0 or min(removed.shape[-2:]) < 2:
        return 0.0
    across = float((removed[..., 1:] * removed[..., :-1]).mean())
    down = float((removed[..., 1:, :] * removed[..., :-1, :]).mean())
    alike = (across + down) / (2 * power)
    if alike <= math.exp(-1 / (4 * FINEST**2)):
        return 0.0
    return min(COARSEST, math.sqrt(-1 / (4 * math.log(min(alike, 0.99)))))


def add_grain(frame: Tensor, grain: Grain, seed: int) -> None:
    """Add grain to a picture [3, H, W] in 0..1, in place; the same for the same seed wherever it runs."""
    generator = torch.Generator().manual_seed(seed % (1 << 63))
    levels = ((grain.luma, grain.luma_size), (grain.chroma, grain.chroma_size), (grain.chroma, grain.chroma_size))
    for plane, (level, size) in enumerate(levels):
        drawn = torch.randn(1, 1, *frame.shape[-2:], generator=generator)
        if size >= FINEST:
            line = gaussian(size, max(1, math.ceil(REACH * size)), drawn)
            drawn = separable(drawn, line) / float(line.square().sum())
        drawn = drawn[0, 0].to(frame)
        for color in range(3):
            frame[color].add_(drawn, alpha=level * float(TO_COLORS[color, plane]))
    frame.clamp_(0, 1)


def frame_seed(seed: int, scene: int, frame: int) -> int:
    """The seed of a scene's frame, both counted from 0."""
    return seed + SCENES * scene + frame
