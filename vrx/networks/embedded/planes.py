"""Luma and two planes of chroma of pictures, full range.  Pure."""

from __future__ import annotations

import torch
from torch import Tensor

from vrx.networks.embedded.blur import LUMA
from vrx.networks.embedded.symptoms import CHROMA

TO_PLANES = torch.tensor((LUMA, *CHROMA), dtype=torch.float64)  # ITU-R BT.601, of red, green and blue
TO_COLORS = torch.linalg.inv(TO_PLANES)


def to_planes(frames: Tensor) -> Tensor:
    """Colors [T, 3, H, W] in 0..1 to luma in 0..1 and chroma around 0, [T, 3, H, W]."""
    return torch.einsum("pc,tchw->tphw", TO_PLANES.to(frames), frames)


def to_colors(planes: Tensor) -> Tensor:
    """The inverse of `to_planes`."""
    return torch.einsum("cp,tphw->tchw", TO_COLORS.to(planes), planes)
