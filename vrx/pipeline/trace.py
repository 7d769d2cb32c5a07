"""A trace of a run: what every thread did, and when, for chrome://tracing and ui.perfetto.dev.

It is in the JSON array form of the Trace Event Format, one event a line and written at once, so that it can be opened
whatever ended the run: of this form the closing bracket may be missing.  Times are microseconds since the trace began.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter_ns
from typing import TextIO, TypeVar

from vrx.errors import OutputError
from vrx.files import NotAFileError, check_file

HINT = "Name another file with --trace"
FIRST = '[\n{"name": "process_name", "ph": "M"'  # what a trace of vrx begins with
MICROSECOND = 1000  # nanoseconds

Item = TypeVar("Item")


class Trace:
    """Spans, marks and counts of all threads; nothing is recorded outside of `recording`, or without a path.

    `fault` is why the file is incomplete, empty while it is not: a trace that cannot be written ends, and the run
    goes on.  Safe to use from any thread.
    """

    def __init__(self, path: Path | None) -> None:
        self.path, self.fault = path, ""
        self._file: TextIO | None = None
        self._lock = threading.Lock()
        self._tracks: dict[str, int] = {}
        self._origin = perf_counter_ns()

    @property
    def active(self) -> bool:
        """Whether anything is recorded now."""
        return self._file is not None

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record into the file, an earlier trace is replaced.  Raises OutputError where it cannot be written."""
        if self.path is None:
            yield
            return
        self._file = open_file(self.path)
        self._origin = perf_counter_ns()
        self._write({"name": "process_name", "ph": "M", "pid": os.getpid(), "tid": 0, "args": {"name": "vrx"}})
        try:
            yield
        finally:
            self._send("end of the trace", "i", s="p", last=True)

    @contextmanager
    def span(self, name: str, **facts: object) -> Iterator[None]:
        """What this thread does in the body; one that was cut off has a beginning and no end."""
        if not self.active:
            yield
            return
        self._send(name, "B", args=facts)
        try:
            yield
        finally:
            self._send(name, "E")

    def each(self, name: str, items: Iterable[Item]) -> Generator[Item]:
        """The items, the making of each in a span; closes their source at the end, however it comes."""
        iterator = iter(items)
        try:
            while True:
                with self.span(name):
                    item = next(iterator, None)
                if item is None:
                    return
                yield item
        finally:
            close = getattr(iterator, "close", None)
            if close:
                close()

    def mark(self, name: str, **facts: object) -> None:
        """A moment, across all threads."""
        self._send(name, "i", s="p", args=facts)

    def count(self, name: str, values: Mapping[str, int]) -> None:
        """Numbers that change with time, drawn as areas."""
        self._send(name, "C", args=values)

    def flow(self, number: int, step: str) -> None:
        """An arrow through the spans that work on the same thing: `step` is s (start), t or f (finish).

        It belongs to the span that this thread is in.
        """
        self._send("chunk", step, id=number, cat="chunk", bp="e")

    def on_track(self, track: str, name: str, begin: int, end: int, **facts: object) -> None:
        """A span that belongs to no thread, such as a device's: from `begin` to `end` on the clock of `now`."""
        at, long = (begin - self._origin) / MICROSECOND, (end - begin) / MICROSECOND
        self._send(name, "X", track, ts=at, dur=long, args=facts)

    @staticmethod
    def now() -> int:
        """The time in nanoseconds, on the clock of all threads."""
        return perf_counter_ns()

    def _send(self, name: str, phase: str, track: str = "", last: bool = False, **more: object) -> None:
        if not self.active:
            return
        track = track or threading.current_thread().name
        with self._lock:
            event = {"name": name, "ph": phase, "ts": (perf_counter_ns() - self._origin) / MICROSECOND, **more}
            if track not in self._tracks:
                self._tracks[track] = len(self._tracks) + 1
                number = self._tracks[track]
                for kind, value in (("thread_name", {"name": track}), ("thread_sort_index", {"sort_index": number})):
                    self._write({"name": kind, "ph": "M", "pid": os.getpid(), "tid": number, "args": value})
            self._write(event | {"pid": os.getpid(), "tid": self._tracks[track]}, last)

    def _write(self, event: Mapping[str, object], last: bool = False) -> None:
        """Add an event, a line of the file; the first failure ends the trace."""
        if self._file is None:  # it failed meanwhile
            return
        try:
            self._file.write(json.dumps(event, default=str) + ("\n]\n" if last else ",\n"))
            if last:
                self._file.close()
        except OSError as error:
            self.fault, last = error.strerror or str(error), True
            with suppress(OSError):  # the same again
                self._file.close()
        if last:
            self._file = None


def open_file(path: Path) -> TextIO:
    """A new file for a trace; one that exists is replaced if it is a trace.  Raises OutputError."""
    try:
        if os.path.lexists(path) and check_file(path).st_size:
            with path.open(encoding="utf-8", errors="replace") as earlier:
                if earlier.read(len(FIRST)) != FIRST:
                    raise OutputError(f"cannot replace {path}, which is not a trace of vrx", HINT)
        file = path.open("w", encoding="utf-8", buffering=1)  # a line at a time
        file.write("[\n")
    except NotAFileError as error:
        raise OutputError(f"cannot write the trace {path}: {error.strerror}", HINT) from error
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"cannot write the trace {path}: {error.strerror}", HINT) from error
    return file
