"""Streams of a device that is not there: every operation of a stage is checked against those of the other stages.

What a stage reads or writes must have been done, by the marks that streams wait for, when it does so; and memory that
another stage took must be marked before it is used.  Everything runs on the processor.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vrx.pipeline.streams import StageStream

Clock = dict[str, int]  # by stage: how many of its operations are known to be done


@dataclass
class Memory:
    """Who took a piece of memory, wrote it last, and read it since; each with the number of that operation."""

    owner: str
    writer: tuple[str, int]
    readers: dict[str, int] = field(default_factory=dict)
    marked: set[str] = field(default_factory=set)


class Device:
    """All memory that stages took, and what they did wrong; weights, which are there before, are left out."""

    def __init__(self) -> None:
        self.memory: dict[int, Memory] = {}
        self.alive: list[object] = []  # all of it, so that no place is taken twice
        self.faults: list[str] = []
        self.lock = threading.Lock()


class Watch(TorchDispatchMode):
    """Notes the operations of a stage."""

    def __init__(self, stream: WatchedStream) -> None:
        super().__init__()
        self._stream = stream

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        given = [(arg.alias_info, value) for arg, value in zip(func._schema.arguments, args, strict=False)]
        named = {arg.name: arg.alias_info for arg in func._schema.arguments}
        given += [(named[name], value) for name, value in kwargs.items()]
        self._stream.note(str(func), given, result)
        return result


class WatchedStream(StageStream):
    """A stage's stream on such a device."""

    def __init__(self, name: str, device: Device) -> None:
        self.name, self.device, self.time = name, device, 0
        self.known: Clock = {}
        self.operations = 0

    @contextmanager
    def current(self) -> Iterator[None]:
        with Watch(self):
            yield

    def receive(self, ready: object, values: Any) -> None:
        if isinstance(ready, dict):
            self.known = {name: max(ready.get(name, 0), self.known.get(name, 0)) for name in {*ready, *self.known}}
        self._stream = self  # type: ignore[assignment]
        super().receive(ready, values)

    def wait_event(self, event: object) -> None:
        """Done by `receive`."""

    def mark(self, tensor: Tensor) -> None:
        if place := self.device.memory.get(place_of(tensor)):
            place.marked.add(self.name)

    def hand_over(self) -> object:
        return {**self.known, self.name: self.time}

    def finish(self) -> None:
        pass

    def follow(self) -> None:
        pass

    def precede(self) -> None:
        pass

    def note(self, what: str, given: list[tuple[Any, Any]], result: Any) -> None:
        """An operation with what it was given, and whether it writes there."""
        with self.device.lock:
            self.time += 1
            inputs = [(alias, t) for alias, value in given for t in tree_leaves(value) if isinstance(t, Tensor)]
            outputs = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
            places = {place_of(t) for _, t in inputs}
            if outputs and all(place_of(t) in places for t in outputs) and not any(a and a.is_write for a, _ in inputs):
                return  # a view
            for alias, tensor in inputs:
                self._touch(what, tensor, bool(alias and alias.is_write))
            for tensor in outputs:
                if place_of(tensor) not in places:
                    self.device.alive.append(tensor.untyped_storage())
                    self.device.memory[place_of(tensor)] = Memory(self.name, (self.name, self.time))

    def _touch(self, what: str, tensor: Tensor, writes: bool) -> None:
        place = self.device.memory.get(place_of(tensor))
        if place is None:
            return
        self.operations += 1
        for other, time in (place.writer, *(place.readers.items() if writes else ())):
            if other != self.name and self.known.get(other, 0) < time:
                self.device.faults.append(f"{self.name}: {what} before {other} was done")
        if place.owner != self.name and self.name not in place.marked:
            self.device.faults.append(f"{self.name}: {what} on memory of {place.owner} that is not marked")
        if writes:
            place.writer, place.readers = (self.name, self.time), {}
        else:
            place.readers[self.name] = self.time


def place_of(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
