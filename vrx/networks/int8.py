"""Matrices in 8 bits: half the memory of bfloat16, turned back into numbers of the input's type where they are used.

Symmetric, with a scale for every GROUP values of a row; nothing is rounded but the weights.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUP = 128  # values that share a scale
LEVELS = 127


class Int8Linear(nn.Module):
    """A linear layer whose matrix is in 8 bits: `weight` [out, groups, values of a group], `scale` [out, groups, 1]."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        rows, columns = weight.shape
        groups = weight.float().view(rows, -1, GROUP if columns % GROUP == 0 else columns)
        scale = (groups.abs().amax(-1, keepdim=True) / LEVELS).clamp_min(torch.finfo(torch.float32).tiny)
        self.weight = nn.Parameter((groups / scale).round_().to(torch.int8), requires_grad=False)
        self.scale = nn.Parameter(scale, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def matrix(self, dtype: torch.dtype) -> Tensor:
        """The matrix [out, in] in a type."""
        return (self.weight * self.scale).flatten(1).to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        return F.linear(x, self.matrix(x.dtype), self.bias)


def quantize(modules: Iterable[nn.Module], device: torch.device) -> None:
    """Have the matrices of linear layers, wherever they are in the modules, in 8 bits and on a device, one by one."""
    for module in modules:
        for name, layer in list(module.named_children()):
            if isinstance(layer, nn.Linear):
                setattr(module, name, Int8Linear(layer.weight.data.to(device), layer.bias.data.to(device)))
            else:
                quantize([layer], device)
