"""A stream on the GPU for every stage, so that their work overlaps there as it does in their threads.

What a stage gives is handed over by an event: the next one's stream waits for it, the host does not.  Memory that was
taken in one stream and is used in another is marked, or it would be given away while it is still read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor

from vrx.networks.fusion import report_failure
from vrx.switches import Switches


class Stream(Protocol):
    """What is used of a `torch.Stream`."""

    def record_event(self) -> Any:
        """A mark behind the work that was asked for until now."""

    def wait_event(self, event: Any) -> None:
        """Begin later work once a mark of another stream is reached."""

    def wait_stream(self, stream: Any) -> None:
        """Begin later work once all that was asked of another stream is done."""

    def synchronize(self) -> None:
        """Wait here until all is done."""


class StageStream:
    """The order of one stage's work on a device; called in the stage's thread, `follow` and `precede` in another."""

    def __init__(self, stream: Stream, device: torch.device) -> None:
        self._stream, self._device = stream, device

    @contextmanager
    def current(self) -> Iterator[None]:
        """What is asked of the device in the body is asked in this order."""
        before = torch.accelerator.current_stream(self._device)
        torch.accelerator.set_stream(self._stream)  # type: ignore[arg-type]
        try:
            yield
        finally:
            torch.accelerator.set_stream(before)

    def receive(self, ready: object, values: Iterable[object]) -> None:
        """Take over what an earlier stage gave, which is there from the mark `ready` on (None: it is from the host)."""
        if ready is None:
            return
        self._stream.wait_event(ready)
        for tensor in tensors_in(values):
            self.mark(tensor)

    def mark(self, tensor: Tensor) -> None:
        """Memory of a tensor is not reused before this stage's work on it is done."""
        if tensor.device.type != "cpu":
            tensor.record_stream(self._stream)  # type: ignore[arg-type]

    def hand_over(self) -> object:
        """The mark from which on later stages may use what was asked for."""
        return self._stream.record_event()

    def finish(self) -> None:
        """Wait until everything is done: for what other threads read from the host."""
        self._stream.synchronize()

    def follow(self) -> None:
        """Begin once what the calling thread asked of the device is done, as loading the weights."""
        self._stream.wait_stream(torch.accelerator.current_stream(self._device))

    def precede(self) -> None:
        """What the calling thread asks of the device from now on begins once this stage's work is done."""
        with suppress(RuntimeError):  # of a device that failed, which the stage has raised
            torch.accelerator.current_stream(self._device).wait_stream(self._stream)  # type: ignore[arg-type]


def stage_streams(device: torch.device, stages: Iterable[str]) -> dict[str, StageStream]:
    """A stream for each stage by its name; none on a processor, where switched off, or where they cannot be made."""
    if device.type != "cuda" or not Switches.read().streams:
        return {}
    try:
        return {name: StageStream(nth_stream(device, number), device) for number, name in enumerate(stages)}
    except RuntimeError as error:
        report_failure("stages-in-turn", f"all stages share a stream of {device}", error)
        return {}


@cache
def nth_stream(device: torch.device, number: int) -> torch.Stream:
    """The same ones for all runs: memory that was taken in a stream is reused in that one."""
    return torch.Stream(device)


def tensors_in(value: object) -> Iterator[Tensor]:
    """Every tensor of the values that stages hand each other."""
    if isinstance(value, Tensor):
        yield value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from tensors_in(getattr(value, field.name))
    elif isinstance(value, Mapping):
        yield from tensors_in(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_in(part)
