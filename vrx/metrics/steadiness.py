"""How steady pictures are from frame to frame.  Flow is [2, H, W], x and y in pixels, to the frame before."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

OCCLUSION = (0.01, 0.5)  # of the forward-backward test: share of the squared flows, and squared pixels
LEAST_SEEN = 0.01  # share of the pixels below which no figure is given


def moved(picture: Tensor, flow: Tensor) -> Tensor:
    """A picture [C, H, W] sampled, bilinear, where the flow points to."""
    height, width = picture.shape[-2:]
    x = torch.arange(width, device=flow.device) + flow[0]
    y = torch.arange(height, device=flow.device)[:, None] + flow[1]
    places = torch.stack([x * (2 / max(1, width - 1)) - 1, y * (2 / max(1, height - 1)) - 1], -1)
    return F.grid_sample(picture[None], places[None], padding_mode="border", align_corners=True)[0]


def visible(flow: Tensor, back: Tensor) -> Tensor:
    """Where content was in the frame before, [H, W] bool: the flow `back` from there leads here (Sundaram, 2010)."""
    height, width = flow.shape[-2:]
    returned = moved(back, flow)
    share, least = OCCLUSION
    apart = (flow + returned).square().sum(0)
    consistent = apart < share * (flow.square().sum(0) + returned.square().sum(0)) + least
    x = torch.arange(width, device=flow.device) + flow[0]
    y = torch.arange(height, device=flow.device)[:, None] + flow[1]
    return consistent & (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def warp_error(now: Tensor, before: Tensor, flow: Tensor, seen: Tensor) -> float | None:
    """Mean squared difference, times 1000, of colors [3, H, W] in 0..1 from the frame before, moved along the flow.

    Over visible pixels (Lai et al., 2018); None where there are next to none.
    """
    if float(seen.float().mean()) < LEAST_SEEN:
        return None
    error = (now - moved(before, flow)).square().mean(0)
    return 1000 * float(error[seen].mean())


def flow_distance(flow: Tensor, other: Tensor) -> float:
    """How differently two videos move, in pixels: mean length of the difference (tOF; Chu et al., 2020)."""
    return float((flow - other).square().sum(0).sqrt().mean())


def flicker(now: Tensor, before: Tensor) -> float:
    """Change of the whole picture's brightness, of luma [H, W], in levels."""
    return abs(float(now.mean() - before.mean()))
