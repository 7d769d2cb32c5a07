"""Standard input as a source."""

from __future__ import annotations

import sys
from pathlib import Path

from vrx.errors import InputError, UsageError
from vrx.media.file_types import detect_suffix

PIPE_NAME = "standard input"
SPOOL_BLOCK = 1 << 20  # bytes copied from standard input at a time


def spool_stdin(folder: Path) -> Path:
    """Standard input as a file in a folder: its header may be at the end, and its sound is read separately.

    Raises UsageError where there is none, InputError where it cannot be stored.
    """
    if sys.stdin is None:
        raise UsageError("standard input is closed", "Pipe a video into it, or name a file")
    if sys.stdin.isatty():
        raise UsageError("standard input is a terminal", "Pipe a video into it, or name a file")
    try:
        spool = folder / "stdin"
        with spool.open("wb") as file:
            while block := sys.stdin.buffer.read(SPOOL_BLOCK):
                file.write(block)
    except OSError as error:
        raise InputError(
            f"cannot store {PIPE_NAME}: {error.strerror}", "Set TMPDIR to a folder with enough space"
        ) from error
    with spool.open("rb") as file:
        suffix = detect_suffix(file.read(16))
    return spool.rename(spool.with_suffix(suffix)) if suffix else spool
