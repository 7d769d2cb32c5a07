"""From frames as stages pass them to the video tensors that networks take, and back; sides rounded up."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from vrx.networks.overflow import clamp_to_unit


def to_video(frames: Tensor) -> Tensor:
    """[T, 3, H, W] in 0..1 to [1, 3, T, H, W] in -1..1."""
    return frames.transpose(0, 1)[None] * 2 - 1


def to_frames(video: Tensor) -> Tensor:
    """The inverse of `to_video`, clamped."""
    return clamp_to_unit((video[0].transpose(0, 1) + 1) / 2)


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """[..., H, W] with its last row and column repeated up to a multiple."""
    extra = (0, -x.shape[-1] % multiple, 0, -x.shape[-2] % multiple)
    if not any(extra):
        return x
    flat = x.flatten(0, -3)[None]
    return F.pad(flat, extra, mode="replicate")[0].view(
        *x.shape[:-2], *(flat.shape[-2] + extra[3], flat.shape[-1] + extra[1])
    )


def round_up(side: int, multiple: int) -> int:
    """The next multiple."""
    return side + -side % multiple
