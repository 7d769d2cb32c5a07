"""When the work of a stage ran on a GPU: by events in its stream, which no thread waits for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch

from vrx.pipeline.trace import Trace

MILLISECOND = 1_000_000  # nanoseconds


class Moment(Protocol):
    """A mark in a stream: what a `torch.Event` that takes times has; `elapsed_time` is in milliseconds."""

    def record(self) -> None:
        """Put it behind the work that was asked for until now."""

    def query(self) -> bool:
        """Whether the device has come to it."""

    def synchronize(self) -> None:
        """Wait until the device has."""

    @property
    def elapsed_time(self) -> Callable[[Any], float]:
        """From it to another that the device has come to."""


class DeviceClock:
    """Records spans of a stage on a device in a trace, one behind the other.

    Times of devices are differences only: each is told from the one before it, the first from a moment that is awaited.
    """

    def __init__(self, trace: Trace, track: str, make: Callable[[], Moment]) -> None:
        self._trace, self._track, self._make = trace, track, make
        self._waiting: deque[tuple[str, Moment, Moment]] = deque()
        self._known = make()
        self._known.record()
        self._known.synchronize()
        self._time = trace.now()  # of the known moment

    @classmethod
    def of(cls, trace: Trace, device: torch.device, stage: str) -> DeviceClock | None:
        """The clock of a stage; None where nothing is recorded, and on a processor, where the host's times are all."""
        if not trace.active or device.type != "cuda":
            return None
        return cls(trace, f"{device} {stage}", lambda: torch.Event(device=device, enable_timing=True))

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """The device's part of what is asked for in the body; earlier ones are recorded as far as they are done."""
        begin, end = self._make(), self._make()
        begin.record()
        yield
        end.record()
        self._waiting.append((name, begin, end))
        while self._waiting and self._waiting[0][2].query():
            self._record(*self._waiting.popleft())

    def finish(self) -> None:
        """Wait for what is left, and record it."""
        while self._waiting:
            self._waiting[0][2].synchronize()
            self._record(*self._waiting.popleft())

    def _record(self, name: str, begin: Moment, end: Moment) -> None:
        start = self._time + round(self._known.elapsed_time(begin) * MILLISECOND)
        self._known, self._time = begin, start
        self._trace.on_track(self._track, name, start, start + round(begin.elapsed_time(end) * MILLISECOND))
