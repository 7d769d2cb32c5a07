"""Bases of published networks: sizes read from its tensors, a tensor that identifies it, placement on a device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import nn

from vrx.networks.quantized import WeightFormat, fuse_rounding

Shapes = Mapping[str, tuple[int, ...]]  # of tensors, by name
Given = Mapping[str, Any]  # sizes that are known otherwise, by field
CONFIG_ERRORS = (TypeError, ValueError, IndexError, ArithmeticError, RuntimeError)  # what impossible sizes lead to
LARGEST = 1 << 20  # of any size: a vocabulary has 256,384
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}  # by a kernel's dimensions


class NetworkConfig(ABC):
    """Base of the sizes of a network, a frozen dataclass each; defaults are the published sizes.

    `COUNTS` are fields that count layers: a file holds at least as many tensors.  `LIMITS` are the largest
    values of fields that tensors do not bound.
    """

    COUNTS: ClassVar[frozenset[str]] = frozenset()
    LIMITS: ClassVar[Mapping[str, int]] = {}

    @classmethod
    @abstractmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> Self:
        """The sizes of the network that tensors of these shapes are; `given` ones win.

        Raises KeyError for a tensor that is missing, and CONFIG_ERRORS for sizes that cannot be.
        """

    @property
    def context_shape(self) -> tuple[int, int] | None:
        """Length and width of the guidance rows that the network takes; None where it takes none."""
        return None

    def validate(self, tensors: int) -> None:
        """Refuse sizes that no file of so many tensors can mean, before a network is built.  Raises ValueError."""
        for name, value in vars(self).items():
            most = tensors if name in self.COUNTS else self.LIMITS.get(name, LARGEST)
            for number in value if isinstance(value, tuple) else (value,):
                if isinstance(number, int | float) and not 0 <= number <= most:
                    raise ValueError(f"{name} is {number}")


class PublishedNetwork(nn.Module):
    """Base of networks whose weights come from a checkpoint.

    `CONFIG` reads their sizes; `SIGNATURE` is the name of a tensor that no other network has.
    """

    CONFIG: ClassVar[type[NetworkConfig]]
    SIGNATURE: ClassVar[str]

    def cast_weights(self, dtype: torch.dtype) -> None:
        """All weights in a type."""
        self.to(dtype)

    def place(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move to a device, in a type.

        Kernels of convolutions are stored channels last, and what they compute follows them: faster
        everywhere, and [B, C, T, H, W] as a batch of pictures is then a view.
        """
        self.to(device, dtype)
        store_channels_last(self)

    def quantize(self, kind: WeightFormat, device: torch.device) -> None:
        """Put most weights into 8 bits, on a device, where the network can work so; before it is placed."""

    def waiting_layers(self) -> list[list[nn.Module]]:
        """Layers whose weights may wait on the host for their turn, modules of each; the first of them is called first.

        They run in their order, each once a forward; none where the network has no such layers.
        """
        return []

    def fuse(self) -> None:
        """Compile chains of elementwise operations, where the network has such: it takes seconds.

        Here, the rounding to fp8.
        """
        fuse_rounding(self)

    def compile_layers(self) -> None:
        """Compile whole layers, where the network has such that gain: it takes up to half a minute."""


def store_channels_last(module: nn.Module) -> None:
    """Let all kernels of convolutions be stored channels last."""
    for parameter in module.parameters():
        if parameter.ndim in CHANNELS_LAST:
            parameter.data = parameter.data.contiguous(memory_format=CHANNELS_LAST[parameter.ndim])


def count_entries(shapes: Shapes, prefix: str) -> int:
    """How many numbered entries there are under a prefix."""
    return len({name.removeprefix(prefix).split(".")[0] for name in shapes if name.startswith(prefix)})


def check_required(given: Given, required: Mapping[str, Any]) -> None:
    """Refuse a published configuration that asks for another value than the only one known.  Raises ValueError."""
    for name, value in required.items():
        stated = given.get(name, value)
        if (list(stated) if isinstance(stated, tuple) else stated) != value:
            raise ValueError(f"{name} is {stated}, and only {value} is supported")
