"""Cache of causal convolutions: the latest inputs of every layer of a network."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass
class ConvCache:
    """Last input frames of every layer that looks back, by the layer's name; empty at a scene's start.

    A step takes a `fork` and returns it, so that a step that failed half-way leaves the old value good.
    `inplace`: nobody needs the old value, and steps change the cache itself, which takes half the
    memory (gigabytes, for pictures of 1280x720).
    """

    store: dict[str, Tensor] = field(default_factory=dict)
    inplace: bool = False

    def fork(self) -> ConvCache:
        """A cache that can move on by itself; tensors are shared and never written into."""
        return self if self.inplace else ConvCache(dict(self.store))

    def swap(self, name: str, new: Tensor) -> Tensor | None:
        """The value under a name (None at a scene's start); `new` replaces it."""
        old = self.store.get(name)
        self.store[name] = new
        return old

    @property
    def nbytes(self) -> int:
        """Bytes of all of them."""
        return sum(x.nbytes for x in self.store.values())

    def tensors(self) -> dict[str, Tensor]:
        """All there is to save, by name."""
        return {name: x.contiguous() for name, x in self.store.items()}

    def to(self, device: torch.device) -> ConvCache:
        """The same elsewhere.

        Between a GPU and the host (in pinned memory) the copy is asynchronous: the GPU's own order of work keeps
        reads there correct, but a reader on the host must synchronize first.  One that changes in place and is there
        stays itself: a second one would keep the old tensors alive beside the new ones.
        """
        if self.inplace and all(x.device == device for x in self.store.values()):
            return self
        return ConvCache({name: x.to(device, non_blocking=True) for name, x in self.store.items()}, self.inplace)


def name_layers(network: nn.Module) -> None:
    """Set the `key` of every layer that looks back to its own name in the network."""
    for name, module in network.named_modules():
        if hasattr(module, "key"):
            module.key = name


def empty_like(x: Tensor, frames: int) -> Tensor:
    """Memory [B, C, frames, H, W] in the layout of `x`: channels last stays channels last, which `cat` may lose."""
    last = x.is_contiguous(memory_format=torch.channels_last_3d)
    layout = torch.channels_last_3d if last else torch.contiguous_format
    return torch.empty((*x.shape[:2], frames, *x.shape[3:]), dtype=x.dtype, device=x.device, memory_format=layout)


def join(*parts: Tensor) -> Tensor:
    """Frames [B, C, T, H, W] after one another, in the layout of the last."""
    counts = [part.shape[2] for part in parts]
    whole = empty_like(parts[-1], sum(counts))
    for place, part in zip(whole.split(counts, 2), parts, strict=True):
        place.copy_(part)
    return whole


class CausalConv3d(nn.Conv3d):
    """A convolution whose padding in time is wholly in front: zeros at first, then the frames before."""

    def __init__(self, inputs: int, outputs: int, kernel: int | tuple[int, int, int], groups: int = 1) -> None:
        sides = (kernel,) * 3 if isinstance(kernel, int) else kernel
        super().__init__(inputs, outputs, sides, padding=(0, sides[1] // 2, sides[2] // 2), groups=groups)
        self.back = sides[0] - 1  # frames it looks back
        self.key = ""

    def forward(self, x: Tensor, cache: ConvCache | None = None) -> Tensor:
        """[B, C, T, H, W] to the same length; without a cache `x` begins a scene."""
        if not self.back:
            return super().forward(x)
        buffer = self.buffer(x, cache)
        buffer[:, :, self.back :] = x
        return self.convolve(buffer, cache, self.bias)

    def buffer(self, x: Tensor, cache: ConvCache | None) -> Tensor:
        """Memory [B, C, back + T, H, W] for an input of the shape and layout of `x`.

        The frames before are written; those of the input itself are for the caller to write.
        """
        before = None if cache is None else cache.store.get(self.key)
        buffer = empty_like(x, self.back + x.shape[2])
        if before is None:
            buffer[:, :, : self.back].zero_()
        else:
            buffer[:, :, : self.back] = before
        return buffer

    def convolve(self, buffer: Tensor, cache: ConvCache | None, bias: Tensor | None) -> Tensor:
        """A whole `buffer` convolved; the cache keeps its end for the next step.  Without a bias it is still to add."""
        if cache is not None:
            cache.store[self.key] = buffer[:, :, -self.back :].clone()
        return self._conv_forward(buffer, self.weight, bias)
