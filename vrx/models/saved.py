"""Tensors of several values in one saved state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor


def pack(groups: Iterable[tuple[str, Mapping[str, Tensor]]]) -> dict[str, Tensor]:
    """Tensors of several values as one dictionary, each value's under a name of its own."""
    return {f"{name}.{key}": tensor for name, tensors in groups for key, tensor in tensors.items()}


def unpack(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that `pack` put under a name."""
    return {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}
