"""Standard output and error as they may come: closed, full, or in an encoding that lacks letters.

Messages that cannot be written are dropped: no run ends for want of its log.  Results that cannot be
written are a failure like any other.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from vrx.errors import OutputError

STDIN, STDOUT, STDERR = 0, 1, 2


class Messages(io.FileIO):
    """A file whose failures go unnoticed."""

    def write(self, data: Any) -> int:
        """Write what can be written; the rest is dropped."""
        try:
            return super().write(data) or len(data)
        except OSError:
            return len(data)


class Results(io.FileIO):
    """Standard output as a file: failures are OutputError, except a broken pipe where the reader has exited."""

    def write(self, data: Any) -> int:
        """Write bytes.  Raises OutputError."""
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(
                f"cannot write standard output: {error.strerror}", "Redirect it to another file or device"
            ) from error


def prepare() -> None:
    """Make the standard streams safe to use.  Characters an encoding lacks are replaced."""
    fill_closed_streams()
    sys.stdout = open_text(Results(STDOUT, "wb", closefd=False), sys.stdout, "replace")
    sys.stderr = open_text(Messages(STDERR, "wb", closefd=False), sys.stderr, "backslashreplace")


def fill_closed_streams() -> None:
    """Open the null device for each closed stream; else the next opened file would get its number, and the log.

    Writing there fails, as it does on a closed stream, but nothing else is hit.
    """
    for number in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDONLY)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)


def open_text(raw: io.FileIO, before: Any, errors: str) -> io.TextIOWrapper:
    """A text stream over `raw` in the encoding of the one before it."""
    encoding = getattr(before, "encoding", None) or "utf-8"
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=raw.fileno() == STDERR)


def takes_bytes() -> bool:
    """Whether standard output can be written at all: it may have been closed."""
    try:
        os.write(STDOUT, b"")
    except OSError:
        return False
    return True


def flush() -> None:
    """Write out what is buffered.  Raises OutputError where standard output cannot take it."""
    sys.stderr.flush()
    sys.stdout.flush()


def discard_output() -> None:
    """Redirect standard output to the null device: what is still buffered is dropped."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, STDOUT)
    os.close(sink)
