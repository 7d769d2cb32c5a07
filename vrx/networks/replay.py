"""Steps of a network recorded once as a CUDA graph and replayed: one launch in place of a hundred.

A graph works on the memory that it was recorded with: inputs are copied there, results from there.  Small networks wait
for the host otherwise.  Without CUDA, and after any failure, the function itself runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

import torch
from torch import Tensor

from vrx.networks.fusion import report_failure

WARM = 2  # calls of a shape before it is recorded: libraries choose their kernels in the first ones
MOST = 8  # shapes that are recorded

TURN: SimpleQueue[None] = SimpleQueue()  # whoever has what is in it records: one at a time in the process
TURN.put(None)

Function = Callable[..., tuple[Tensor, ...]]
Inputs = tuple[Tensor | None, ...]
Key = tuple[tuple[object, ...] | None, ...]


class Tape(Protocol):
    """A recorded call; `outputs` are in the memory that every replay writes to."""

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """What the latest replay gave."""

    def replay(self) -> None:
        """Do it again with what is in the inputs now."""


Record = Callable[[Function, Inputs], Tape]


@dataclass(frozen=True)
class Graph:
    """A CUDA graph, and what it writes to."""

    graph: torch.cuda.CUDAGraph
    outputs: tuple[Tensor, ...]

    def replay(self) -> None:
        """In the current stream."""
        self.graph.replay()


def record_graph(function: Function, inputs: Inputs) -> Graph:
    """Record a call in a stream of its own.  What other threads ask of the device meanwhile does not spoil it."""
    graph, device = torch.cuda.CUDAGraph(), next(x.device for x in inputs if x is not None)
    stream = torch.cuda.Stream(device)
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        outputs = function(*inputs)
    return Graph(graph, outputs)


@dataclass(frozen=True)
class Recorded:
    """A tape and its inputs."""

    inputs: Inputs
    tape: Tape

    def run(self, tensors: Inputs) -> tuple[Tensor, ...]:
        """The outputs for other inputs, independent of later runs."""
        for place, tensor in zip(self.inputs, tensors, strict=True):
            if place is not None and tensor is not None:
                place.copy_(tensor)
        self.tape.replay()
        return tuple(output.clone() for output in self.tape.outputs)


class Replayed:
    """A function of tensors, some of which may be missing, recorded by shape; for one thread at a time.

    A recording is used only if its first replay gives to the bit what the function gave.  Otherwise, and from the first
    failure on, the function runs, and that is reported once.
    """

    def __init__(self, function: Function, record: Record = record_graph) -> None:
        self._function, self._record = function, record
        self._calls: dict[Key, int] = {}
        self._recorded: dict[Key, Recorded] = {}
        self._fails = False

    def __call__(self, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        """What the function gives."""
        key = tuple(None if x is None else (x.shape, x.stride(), x.dtype, x.device) for x in tensors)
        if key in self._recorded:
            return self._recorded[key].run(tensors)
        found = self._function(*tensors)
        if not self._fails and (key in self._calls or len(self._calls) < MOST):
            self._calls[key] = self._calls.get(key, 0) + 1
            if self._calls[key] > WARM:
                self._try_to_record(key, tensors, found)
        return found

    def _try_to_record(self, key: Key, tensors: Inputs, expected: tuple[Tensor, ...]) -> None:
        try:
            inputs = tuple(None if tensor is None else tensor.clone() for tensor in tensors)
            turn = TURN.get()
            try:
                recorded = Recorded(inputs, self._record(self._function, inputs))
            finally:
                TURN.put(turn)
            found = recorded.run(tensors)
            if not all(torch.equal(a, b) for a, b in zip(found, expected, strict=True)):
                raise RuntimeError("a replay gives other results")
        except Exception as error:  # noqa: BLE001 - recording fails in many ways, none of them fatal
            self._fails = True
            self._recorded.clear()
            report_failure("not-recorded", "frames are restored without a recorded graph", error)
        else:
            self._recorded[key] = recorded
