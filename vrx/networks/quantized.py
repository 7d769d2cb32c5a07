"""Linear layers whose matrix is in 8 bits: half the memory of bfloat16, in one of two number formats.

`int8`: symmetric, with a scale for every GROUP values of a row; turned back into numbers of the input's type where it
is used, so that nothing is rounded but the weights.

`fp8`: e4m3 with a scale for every row, and multiplied so, as GPUs do it at twice the rate of bfloat16; every row of the
input gets a scale of its own where it is used, and is rounded as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks.fusion import Compiled

WeightFormat = Literal["int8", "fp8"]

GROUP = 128  # values that share a scale
LEVELS = 127
FP8 = torch.float8_e4m3fn
LARGEST = torch.finfo(FP8).max
MULTIPLE = 16  # of both sides of a matrix in fp8, as the kernels take no other


class Int8Linear(nn.Module):
    """A linear layer whose matrix is in 8 bits: `weight` [out, groups, values of a group], `scale` [out, groups, 1]."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        rows, columns = weight.shape
        groups = weight.float().view(rows, -1, GROUP if columns % GROUP == 0 else columns)
        scale = (groups.abs().amax(-1, keepdim=True) / LEVELS).clamp_min(torch.finfo(torch.float32).tiny)
        self.weight = constant((groups / scale).round_().to(torch.int8))
        self.scale = constant(scale)
        self.bias = None if bias is None else constant(bias)

    def matrix(self, dtype: torch.dtype) -> Tensor:
        """The matrix [out, in] in a type."""
        return (self.weight * self.scale).flatten(1).to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        return F.linear(x, self.matrix(x.dtype), self.bias)


class Fp8Linear(nn.Module):
    """A linear layer that multiplies in fp8: `weight` [out, in], `scale` [out, 1]; sides are multiples of MULTIPLE.

    `fused`: its input is rounded in one compiled pass, without which rounding takes what multiplying gains.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        rounded, scale = round_rows(weight.float())
        self.weight, self.scale, self.fused = constant(rounded), constant(scale), False
        self.bias = None if bias is None else constant(bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]; what is not finite makes its row so."""
        rows = x.flatten(0, -2).contiguous()  # the kernels take no other layout
        fuses = self.fused and not torch.compiler.is_compiling()  # then all is one pass anyway
        rows, scale = ROUND(rows) if fuses else round_rows(rows)
        out = torch._scaled_mm(
            rows, self.weight.t(), scale, self.scale.t(), self.bias, out_dtype=x.dtype, use_fast_accum=True
        )
        return out.unflatten(0, x.shape[:-1])


QuantizedLinear = Int8Linear | Fp8Linear
LAYERS: Mapping[WeightFormat, type[QuantizedLinear]] = {"int8": Int8Linear, "fp8": Fp8Linear}


def constant(values: Tensor) -> nn.Parameter:
    """A weight that is not trained."""
    return nn.Parameter(values, requires_grad=False)


def round_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows [N, C] in fp8, each as far as its largest value fills the range, and what they are to be multiplied by
    [N, 1], float32.

    They are stretched in their own type, which rounds far less than fp8 does.  A row with Inf or NaN becomes NaN.
    """
    largest = torch.linalg.vector_norm(x, float("inf"), -1, keepdim=True, dtype=torch.float32)
    stretch = (LARGEST / largest).clamp_max(torch.finfo(x.dtype).max).to(x.dtype)
    return (x * stretch).to(FP8), stretch.float().reciprocal()


ROUND = Compiled(round_rows)


def accepts(kind: WeightFormat, shape: torch.Size) -> bool:
    """Whether a matrix of a shape can be in a format."""
    return kind == "int8" or not any(side % MULTIPLE for side in shape)


def quantize(modules: Iterable[nn.Module], kind: WeightFormat, device: torch.device) -> None:
    """Have the matrices of linear layers, wherever they are in the modules, in 8 bits and on a device, one by one.

    Those that cannot be in the format stay as they are.
    """
    for module in modules:
        for name, layer in list(module.named_children()):
            if not isinstance(layer, nn.Linear):
                quantize([layer], kind, device)
            elif accepts(kind, layer.weight.shape):
                bias = None if layer.bias is None else layer.bias.data.to(device)
                setattr(module, name, LAYERS[kind](layer.weight.data.to(device), bias))


def fuse_rounding(network: nn.Module) -> None:
    """Have the inputs of layers in fp8 rounded in one compiled pass."""
    for layer in network.modules():
        if isinstance(layer, Fp8Linear):
            layer.fused = True


def fixed_weights(network: nn.Module) -> set[int]:
    """Ids of the weights whose type is that of their format, not of the run."""
    layers = (layer for layer in network.modules() if isinstance(layer, QuantizedLinear))
    return {id(weight) for layer in layers for weight in (layer.weight, layer.scale)}
