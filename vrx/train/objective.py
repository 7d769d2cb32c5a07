"""What training of the enlarging network makes small, of clips [B, T, 3, H, W] in 0..1.  Pure."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.networks.embedded.blur import LUMA

ROUND = 2e-3  # errors below it count by their square
FLOOR = 4e-3  # the least distance of a base that a clip is measured against
SQUARE_WEIGHT = 0.5
TEMPORAL_WEIGHT = 0.2
USUAL = 0.4  # of their bound: the largest feature of plain clips


def clip_mean(x: Tensor) -> Tensor:
    """One value a clip, [B]."""
    return x.mean(tuple(range(1, x.ndim)))


def luma(clips: Tensor) -> Tensor:
    """Brightness [B, T, H, W] of [B, T, 3, H, W]."""
    return clips[:, :, 0] * LUMA[0] + clips[:, :, 1] * LUMA[1] + clips[:, :, 2] * LUMA[2]


def measures(clips: Tensor, truth: Tensor, bright: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What is made small, of clips [B, T, 3, H, W], [B] each: distance, luma's squared error, the error's change."""
    error, wrong = luma(clips) - bright, clips - truth
    colors = clip_mean(F.smooth_l1_loss(clips, truth, reduction="none", beta=ROUND))
    grays = clip_mean(F.smooth_l1_loss(luma(clips), bright, reduction="none", beta=ROUND))
    change = clip_mean((error[:, 1:] - error[:, :-1]).abs()) + clip_mean((wrong[:, 1:] - wrong[:, :-1]).abs())
    return colors + grays, clip_mean(error**2), change


def objective(out: Tensor, base: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of clips [B, T, 3, H, W] relative to that of their base, and the gain over it in dB of luma, [B]."""
    bright = luma(truth)
    distance, square, change = measures(out, truth, bright)
    with torch.no_grad():
        first_distance, first_square, first_change = measures(base, truth, bright)
    loss = distance / first_distance.clamp_min(2 * FLOOR)
    loss = loss + SQUARE_WEIGHT * square / first_square.clamp_min(FLOOR**2)
    loss = loss + TEMPORAL_WEIGHT * change / first_change.clamp_min(2 * FLOOR)
    gain = 10 * torch.log10(first_square.clamp_min(1e-9) / square.detach().clamp_min(1e-9))
    return loss.mean(), gain


def excess(features: list[Tensor], bound: float) -> Tensor:
    """How far features [N, C, H, W] are beyond what is usual, a position and frame: before they run away, they grow."""
    beyond = [(found.abs() - USUAL * bound).clamp_min(0).sum(1, dtype=torch.float32).mean() for found in features]
    return torch.stack(beyond).mean() if beyond else torch.zeros(())
