"""The file of --log: everything that a run says, each line with its time, without progress bars."""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

from vrx.errors import OutputError

TRANSCRIPT = logging.getLogger("vrx.transcript")  # what is printed for people goes here too
TRANSCRIPT.propagate = False  # it is on standard error already
TIME = "%Y-%m-%d %H:%M:%S"
BEGINNING = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")


class LogFile(logging.FileHandler):
    """A file that lines are added to; the first failure is said, and ends it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", TIME))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say once that the log ends here; the run goes on."""
        error = sys.exc_info()[1]
        reason = getattr(error, "strerror", None) or str(error)
        sys.stderr.write(f"vrx: cannot write the log {self.baseFilename}: {reason}. The run continues without it\n")
        close()


def open_log(path: Path, debug: bool) -> None:
    """Add to a file from here on what is said; with `debug` also what --debug shows.

    Raises OutputError for a file that cannot be written, and for one that is something else than a log.
    """
    try:
        refuse_other_files(path)
        refuse_unread_pipe(path)
        handler = LogFile(path)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"cannot write the log {path}: {error.strerror}", "Name another file with --log") from error
    TRANSCRIPT.setLevel(logging.INFO)
    TRANSCRIPT.addHandler(handler)
    if debug:
        logging.getLogger("vrx").addHandler(handler)


def refuse_other_files(path: Path) -> None:
    """Refuse to add to a video, a mask or anything else that is no log.  Raises OutputError and OSError."""
    if not path.is_file() or not path.stat().st_size:
        return
    with path.open("rb") as file:
        if not BEGINNING.match(file.read(32)):
            raise OutputError(f"cannot add to {path}, which is not a log of vrx", "Name another file with --log")


def refuse_unread_pipe(path: Path) -> None:
    """Refuse a named pipe that nobody reads: opening it would wait for ever.  Raises OutputError and OSError."""
    if not path.is_fifo():
        return
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise OutputError(f"cannot write the log {path}: nothing reads this pipe", "Begin to read it first") from error


def active() -> bool:
    """Whether a log is open."""
    return any(isinstance(handler, LogFile) for handler in TRANSCRIPT.handlers)


def close() -> None:
    """Close the log, if there is one."""
    for handler in [handler for handler in TRANSCRIPT.handlers if isinstance(handler, LogFile)]:
        TRANSCRIPT.removeHandler(handler)
        logging.getLogger("vrx").removeHandler(handler)
        with suppress(OSError):  # the disk is full, and that was said
            handler.close()
    TRANSCRIPT.setLevel(logging.NOTSET)
