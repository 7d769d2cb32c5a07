"""Numbers that overflowed stay visible: a limit would make white or black of Inf, and nobody would notice."""

from __future__ import annotations

import torch
from torch import Tensor


def overflow_mark(x: Tensor) -> Tensor:
    """0, or NaN where a value is not finite, in the type of x: to be added to what is made of x by a limit."""
    return (x.sum(dtype=torch.float32) * 0).to(x.dtype)


def clamp_to_unit(x: Tensor) -> Tensor:
    """Values limited to 0..1, in place; NaN, all of them, where one is not finite."""
    return clamp_finite(x, 0, 1)


def clamp_finite(x: Tensor, low: float, high: float) -> Tensor:
    """Values limited to a range, in place; NaN, all of them, where one is not finite."""
    mark = overflow_mark(x)
    return x.clamp_(low, high).add_(mark)
