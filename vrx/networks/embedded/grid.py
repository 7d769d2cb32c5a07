"""Pictures to the grid of the embedded network and back.  Pure functions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

GRID = 4  # output pixels a side that share one grid position when the size does not change
DETAIL_GAIN = 8.0  # details are an eighth of the whole, roughly


def contrast(x: Tensor) -> Tensor:
    """Difference of a picture [N, C, H, W] to its 3 x 3 surroundings, made as large as the picture itself.

    A convolution could find it; given, it is learnt from at once instead of after thousands of steps.
    """
    around = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return (x - around) * DETAIL_GAIN


def detail_inputs(base: Tensor, *extra: Tensor) -> Tensor:
    """Means, their contrast, and details of an estimate on the grid.

    [N, 3, H, W] to [N, 6 + 48 + ..., H/4, W/4].  The details (and whatever else is given, unshuffled
    alike) are what a convolution must see: raw unshuffled pixels are nearly equal within a block and
    drown them.
    """
    mean = F.avg_pool2d(base, GRID)
    detail = (base - F.interpolate(mean, scale_factor=GRID, mode="nearest")) * DETAIL_GAIN
    parts = [F.pixel_unshuffle(part, GRID) for part in (detail, *extra)]
    return torch.cat([mean, contrast(mean), *parts], 1)


def deblur_inputs(blurred: Tensor, base: Tensor) -> Tensor:
    """Grid of a blurred picture and its deconvolution, both [N, 3, H, W] with sides of whole blocks."""
    return detail_inputs(base, (base - blurred) * DETAIL_GAIN)


def inpaint_inputs(base: Tensor, mask: Tensor) -> Tensor:
    """Grid of a filled picture [N, 3, H, W] and its mask [N, 1, H, W], 1 where missing."""
    return detail_inputs(base, mask)


def to_pixels(residual: Tensor) -> Tensor:
    """[N, 3 s^2, H, W] to pixels [N, 3, s H, s W], planar (torch's own shuffle keeps channels last)."""
    count, channels, height, width = residual.shape
    side = round((channels // 3) ** 0.5)
    if not residual.is_contiguous(memory_format=torch.channels_last):
        return F.pixel_shuffle(residual, side)
    places = residual.permute(0, 2, 3, 1).view(count, height, width, 3, side, side)
    return places.permute(0, 3, 1, 4, 2, 5).reshape(count, 3, height * side, width * side)
