"""Convolutions of the enlarging network in 8 bits, for processors that multiply these several times as fast.

Weights have a step for each output channel, inputs one for each input channel, as wide as training material needs
(`Peaks`); what is beyond it saturates.  Sums stay exact, and what blocks add to keeps its type.  The steps of the
inputs are part of the weights, so that only whole numbers are multiplied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks.embedded.recurrent import SLOPE, Block, Propagation, RecurrentNetwork, rows_at_once

WEIGHTS = 127  # steps from zero to the largest weight
SHARE = 0.5  # of a peak that has steps: the few values beyond it cost less than wider steps for all
MIDDLE = 128  # stands for zero where both signs are alike
LOW = 24  # stands for zero behind an activation, which leaves a tenth of what is negative
HIGHEST = 255
LEAST = 1e-3  # of a network's largest peak that a channel counts with


@dataclass(frozen=True)
class Peaks:
    """The largest values by channel that a `Propagation` has met in training material.

    `stream` [B, C]: of either sign, what goes into each of its B blocks.  `raised` and `lowered` [B, C]: positive and
    negative ones behind a block's activation, both as positive numbers.  `features` [C]: of either sign.
    """

    stream: Tensor
    raised: Tensor
    lowered: Tensor
    features: Tensor

    @classmethod
    def zero(cls, network: Propagation) -> Self:
        """Of a network that has met nothing yet."""
        blocks = torch.zeros(len(network.blocks), network.channels)
        return cls(blocks, blocks.clone(), blocks.clone(), torch.zeros(network.channels))

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], prefix: str) -> Self:
        """Those under a prefix.  Raises KeyError."""
        return cls(*(tensors[f"{prefix}{field.name}"] for field in fields(cls)))

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """By name, under a prefix."""
        return {f"{prefix}{name}": tensor for name, tensor in vars(self).items()}


class Int8Conv2d(nn.Module):
    """A convolution of 3 x 3 positions over inputs in steps; `peak` [C] is the largest that an input should get.

    `zero` stands for zero in the input.  Results are in units of `unit` [O].
    """

    def __init__(self, layer: nn.Conv2d, peak: Tensor, zero: int = MIDDLE, unit: Tensor | None = None) -> None:
        super().__init__()
        steps = as_steps(peak, HIGHEST - zero)
        weight = layer.weight.detach().float() * steps[:, None, None]
        bias = None if layer.bias is None else layer.bias.detach().float()
        if unit is not None:
            weight = weight / unit[:, None, None, None]
            bias = None if bias is None else bias / unit
        self.zero, self.bias = zero, bias
        self.per_step = (1 / steps)[:, None, None]
        self.scale = weight.abs().amax((1, 2, 3)).clamp_min(torch.finfo(torch.float32).tiny) / WEIGHTS
        self.zeros = torch.zeros(len(weight), dtype=torch.int32)
        whole = (weight / self.scale[:, None, None, None]).round_().to(torch.int8)
        self.packed = torch.ops.onednn.qconv_prepack(whole, self.scale, 1.0, zero, [1, 1], [1, 1], [1, 1], 1, None)

    def forward(self, x: Tensor) -> Tensor:
        """[1, C, H, W] to [1, O, H, W], of the same type."""
        return self.multiply(self.narrow(x), self.bias, x.dtype)

    def narrow(self, x: Tensor) -> Tensor:
        """Numbers [1, C, H, W] as whole steps."""
        return to_bytes(x, self.zero, lambda band: band.float() * self.per_step)

    def multiply(self, steps: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
        """Whole steps [1, C, H, W] to [1, O, H, W] in a type."""
        given = (steps, 1.0, self.zero, self.packed, self.scale, self.zeros)
        shape = ([1, 1], [1, 1], [1, 1], 1)  # stride, padding, dilation, groups
        return cast(Tensor, torch.ops.onednn.qconv2d_pointwise(*given, bias, *shape, 1.0, 0, dtype, "none", [], ""))

    def add_to(self, total: Tensor, steps: Tensor) -> Tensor:
        """The products of whole steps [1, C, H, W] added to [1, O, H, W], which may be changed, in its type."""
        total = total.contiguous(memory_format=torch.channels_last)
        given = (steps, 1.0, self.zero, self.packed, self.scale, self.zeros, total, self.bias)
        shape = ([1, 1], [1, 1], [1, 1], 1)
        summed = torch.ops.onednn.qconv2d_pointwise.binary(
            *given, *shape, 1.0, 0, total.dtype, 1.0, 0, "sum", 1.0, "none", [], ""
        )
        return cast(Tensor, summed)


class Int8Block(nn.Module):
    """A `Block` in 8 bits; its inputs and results are as they were."""

    def __init__(self, block: Block, stream: Tensor, raised: Tensor, lowered: Tensor) -> None:
        """Peaks [C] of what goes in, and of what is between its convolutions."""
        super().__init__()
        between = torch.maximum(raised, lowered * ((HIGHEST - LOW) / LOW))
        self.unit = as_steps(between, HIGHEST - LOW)
        self.first = Int8Conv2d(block.first, stream, unit=self.unit)
        self.second = Int8Conv2d(block.second, between, LOW)

    def forward(self, x: Tensor, shift: Tensor) -> Tensor:
        """[1, C, H, W] to the same; `shift` [1, C]."""
        bias = self.first.bias
        assert bias is not None
        # steps of up to 256 keep whole numbers in this type, and it is written in less time
        hidden = self.first.multiply(self.first.narrow(x), bias + shift[0].float() / self.unit, torch.bfloat16)
        return self.second.add_to(x, to_bytes(hidden, LOW, lambda band: F.leaky_relu_(band.float(), SLOPE)))


def as_steps(peak: Tensor, count: int) -> Tensor:
    """The width of a step [C] of which so many lead to SHARE of the peak [C]; where that is zero, a narrow one."""
    return torch.maximum(peak, peak.amax() * LEAST).clamp_min(LEAST) * (SHARE / count)


def to_bytes(x: Tensor, zero: int, prepare: Callable[[Tensor], Tensor]) -> Tensor:
    """The nearest whole numbers to what `prepare` makes of [1, C, H, W], saturating; `zero` stands for zero.

    In bands of rows that stay in a core's cache from one step to the next, and by way of signed bytes, as there is no
    fast way to unsigned ones.  What `prepare` returns, float32, is written over.
    """
    whole = torch.empty_like(x, dtype=torch.int8)
    rows = rows_at_once(x)
    for band, target in zip(x.split(rows, 2), whole.split(rows, 2), strict=True):
        steps = prepare(band).round_().clamp_(-zero, HIGHEST - zero)
        target.copy_(steps.sub_(MIDDLE - zero) if zero != MIDDLE else steps)
    return whole.bitwise_xor_(-MIDDLE).view(torch.uint8)


def narrow_network(network: RecurrentNetwork, peaks: Peaks, later: Peaks | None) -> None:
    """Have all convolutions but the first ones in 8 bits, on a processor, once the network is placed there.

    `peaks` of the trunk, and of its branch for later frames, which a network without one does without.
    """
    narrow_propagation(network, peaks)
    for scale, head in network.heads.items():
        network.heads[scale] = Int8Conv2d(cast(nn.Conv2d, head), peaks.features)
    if network.later is not None and network.combine is not None and later is not None:
        narrow_propagation(network.later, later)
        network.register_module("combine", Int8Conv2d(network.combine, later.features))


def narrow_propagation(network: Propagation, peaks: Peaks) -> None:
    """The same of one direction."""
    network.register_module("recall", Int8Conv2d(network.recall, peaks.features))
    rows = zip(network.blocks, peaks.stream, peaks.raised, peaks.lowered, strict=True)
    network.blocks = nn.ModuleList(Int8Block(cast(Block, block), *row) for block, *row in rows)


@cache
def multiplies_rightly() -> bool:
    """Whether a convolution in 8 bits gives, in whole numbers, what it should."""
    layer = nn.Conv2d(16, 16, 3, padding=1, bias=False).requires_grad_(False)
    x = (torch.arange(16 * 64).view(1, 16, 8, 8) % 7 - 3.0).contiguous(memory_format=torch.channels_last)
    layer.weight.data = (torch.arange(16 * 16 * 9).view(16, 16, 3, 3) % 3 - 1.0) * WEIGHTS
    expected = layer(x)
    try:
        narrow = Int8Conv2d(layer, torch.full((16,), WEIGHTS / SHARE))  # steps of 1
        added = narrow.add_to(x.clone(), narrow.narrow(x))
    except (RuntimeError, AttributeError, TypeError):  # another torch has no such operation, or another form of it
        return False
    return torch.allclose(added, expected + x, rtol=1e-3, atol=1e-2)
