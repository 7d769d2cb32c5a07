"""Layers whose weights wait on the host: while one computes, the next one's arrive on a stream of their own.

For networks that are larger than a GPU.  Two slots of device memory take turns, so what is taken does not depend on
how many layers there are, nor on how far the processor runs ahead of the GPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

ALIGNMENT = 256  # bytes between the beginnings of two weights
SLOTS = 2  # layers on the device: one computes, one arrives

Layer = Sequence[nn.Module]  # modules that travel together, the first of them runs first


@dataclass(frozen=True)
class HostLayer:
    """A layer's weights: their bytes on the host in one piece, and where each parameter is in them."""

    host: Tensor
    places: tuple[tuple[nn.Parameter, int], ...]

    @classmethod
    def of(cls, layer: Layer, pinned: bool) -> HostLayer:
        """The weights of a layer, moved into one piece of memory, where its parameters point from now on."""
        parameters = list(dict.fromkeys(p for module in layer for p in module.parameters()))
        offsets, end = [], 0
        for parameter in parameters:
            offsets.append(end)
            end += -(-parameter.nbytes // ALIGNMENT) * ALIGNMENT
        host = torch.empty(end, dtype=torch.uint8, pin_memory=pinned)
        found = cls(host, tuple(zip(parameters, offsets, strict=True)))
        for parameter, place in found.views(host):
            place.copy_(parameter.data)
            parameter.data = place
        return found

    def views(self, memory: Tensor) -> list[tuple[nn.Parameter, Tensor]]:
        """Every parameter, and its place in a piece of memory that holds the layer."""
        return [
            (parameter, memory[begin : begin + parameter.nbytes].view(parameter.dtype).view(parameter.shape))
            for parameter, begin in self.places
        ]

    def point_to(self, memory: Tensor) -> None:
        """Let the parameters be those in a piece of memory."""
        for parameter, place in self.views(memory):
            parameter.data = place


class CopyStream:
    """Copies from the host beside the computation.  On a processor there is only one order of work."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.Stream(device) if device.type == "cuda" else None
        self._device = device
        self.arrived: dict[int, torch.Event] = {}  # by layer

    def copy(self, layer: int, source: Tensor, target: Tensor) -> None:
        """Begin to copy a layer, once all work that was asked for until now is done with the target."""
        if self._stream is None:
            target.copy_(source)
            return
        computing = torch.accelerator.current_stream(self._device)
        self._stream.wait_stream(computing)
        torch.accelerator.set_stream(self._stream)
        try:
            target.copy_(source, non_blocking=True)
        finally:
            torch.accelerator.set_stream(computing)
        self.arrived[layer] = self._stream.record_event()

    def wait(self, layer: int) -> None:
        """Let the computation wait for a layer."""
        event = self.arrived.pop(layer, None)
        if event is not None:
            torch.accelerator.current_stream(self._device).wait_event(event)


@dataclass(eq=False)
class Offload:
    """A ring of layers that run in their order, again and again; `attach` makes one of modules."""

    layers: tuple[HostLayer, ...]
    slots: tuple[Tensor, ...]
    copies: CopyStream
    residents: list[int | None] = field(default_factory=lambda: [None] * SLOTS)  # the layer in each slot

    @classmethod
    def attach(cls, layers: Sequence[Layer], device: torch.device) -> Offload:
        """Move the weights of layers to the host; from now on each is on the device while it runs.

        A layer runs where its first module is called.  Modules must not have weights in common.
        """
        on_host = tuple(HostLayer.of(layer, pinned=device.type == "cuda") for layer in layers)
        largest = max(layer.host.numel() for layer in on_host)
        slots = tuple(torch.empty(largest, dtype=torch.uint8, device=device) for _ in range(SLOTS))
        ring = cls(on_host, slots, CopyStream(device))
        for number, layer in enumerate(layers):
            layer[0].register_forward_pre_hook(partial(ring.enter, number))
        return ring

    def enter(self, number: int, *_: object) -> None:
        """Before a layer runs: have its weights on the device, and the next one's on their way."""
        if number not in self.residents:
            self._bring(number, self._other(None))
        self.copies.wait(number)
        following = (number + 1) % len(self.layers)
        if following not in self.residents:
            self._bring(following, self._other(number))

    def _other(self, number: int | None) -> int:
        """A slot that does not hold a layer."""
        return next(slot for slot, resident in enumerate(self.residents) if resident != number or resident is None)

    def _bring(self, number: int, slot: int) -> None:
        """Fill a slot with a layer; the one in it is on the host again."""
        resident = self.residents[slot]
        if resident is not None:
            self.copies.wait(resident)
            self.layers[resident].point_to(self.layers[resident].host)
        layer = self.layers[number]
        memory = self.slots[slot][: layer.host.numel()]
        self.copies.copy(number, layer.host, memory)
        layer.point_to(memory)
        self.residents[slot] = number


def offload(network: nn.Module, layers: Sequence[Layer], device: torch.device) -> Offload:
    """Let layers of a network wait on the host, and have all else of it on a device."""
    ring = Offload.attach(layers, device)
    move_rest(network, layers, device)
    return ring


def move_rest(network: nn.Module, layers: Iterable[Layer], device: torch.device) -> None:
    """Move the weights of a network to a device, but for those of some layers."""
    elsewhere = {id(p) for layer in layers for module in layer for p in module.parameters()}
    for weight in (*network.parameters(), *network.buffers()):
        if id(weight) not in elsewhere:
            weight.data = weight.data.to(device)
