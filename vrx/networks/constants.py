"""Numbers that networks compute with, copied to a device once: a copy waits for all work that it was asked for."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

Numbers = tuple[float, ...] | tuple[tuple[float, ...], ...]


@cache
def constant(values: Numbers, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A vector or a matrix on a device, the same one every time: it is not to be written to."""
    with torch.inference_mode(mode=False):  # or nothing that is learned could use it
        return torch.tensor(values, device=device, dtype=dtype)


def constant_like(values: Numbers, x: Tensor) -> Tensor:
    """A vector or a matrix where a tensor is, in its type; see `constant`."""
    return constant(values, x.device, x.dtype)
