"""Crisper edges without halos: unsharp masking that may hardly leave the range of the pixels around."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.networks.embedded.symptoms import gray

WIDTH, WIDTH_OF_SCALE = 0.5, 0.075  # pixels of the blur that detail is measured against, and more for each scale
AMOUNT = 1.4  # of the detail that is added
BEYOND = 0.1  # of the range of a pixel's surroundings, how far it may leave that
RADIUS = 3  # pixels of the blur
REACH = RADIUS + 1  # rows on either side that a pixel depends on
MOST_PIXELS = 1 << 21  # that are sharpened at once


def sharpen(frames: Tensor, scale: int) -> Tensor:
    """Frames [T, 3, H, W] in 0..1 that were enlarged by `scale`, sharpened in place; colors stay.

    Rows go in bands; what those above were before is remembered.
    """
    height, width = frames.shape[-2:]
    rows = max(REACH, MOST_PIXELS // width)
    for frame in frames:
        above = frame.new_zeros(0, width)
        for top in range(0, height, rows):
            last = min(top + rows, height)
            own = gray(frame[None, :, top : last + REACH])[0, 0]
            seen = torch.cat([above, own])
            change = detail(seen[None, None], scale)[0, 0, len(above) : len(above) + last - top]
            above = seen[len(above) + last - top - REACH : len(above) + last - top].clone()
            frame[:, top:last].add_(change).clamp_(0, 1)
    return frames


def detail(bright: Tensor, scale: int) -> Tensor:
    """What is added to brightness [N, 1, H, W] that was enlarged by `scale`."""
    width = WIDTH + WIDTH_OF_SCALE * scale
    axis = torch.arange(-RADIUS, RADIUS + 1, device=bright.device, dtype=bright.dtype)
    line = torch.exp(-(axis**2) / (2 * width**2))
    line = line / line.sum()
    padded = F.pad(bright, (RADIUS,) * 4, mode="replicate")
    smooth = F.conv2d(F.conv2d(padded, line.view(1, 1, 1, -1)), line.view(1, 1, -1, 1))
    largest, least = F.max_pool2d(bright, 3, 1, 1), -F.max_pool2d(-bright, 3, 1, 1)
    room = (largest - least) * BEYOND
    sharp = torch.minimum(torch.maximum(bright + AMOUNT * (bright - smooth), least - room), largest + room)
    return sharp - bright
