"""Everything that can go wrong and be said in one line: what, where, what to do next, exit code."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

OUT_OF_MEMORY = (  # what torch, CUDA's libraries, oneDNN, C++, OpenCV, the loader and ffmpeg say
    *("out of memory", "not enough memory", "allocate memory", "bad_alloc", "out_of_memory", "insufficient memory"),
    *("could not create a primitive", "could not create a memory", "failed to map segment", "start new thread"),
    *("unable to allocate", "malloc of size", "status_alloc_failed"),
)
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Exit(IntEnum):
    """Exit statuses of the command line."""

    DONE = 0
    FAULT = 1
    USAGE = 2
    INPUT = 3
    MODEL = 4
    MEMORY = 5
    OUTPUT = 6
    BATCH = 7
    INTERRUPTED = 130
    TERMINATED = 143


class VrxError(Exception):
    """A failure with a message for people and, where there is one, a hint what to do next."""

    exit_code: Exit = Exit.FAULT

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint

    def __str__(self) -> str:
        if not self.hint:
            return self.message
        ended = self.message if self.message.endswith("...") else f"{self.message.rstrip('. ')}."
        return f"{ended} {self.hint}"


class UsageError(VrxError, ValueError):
    """Options that make no sense, alone or together."""

    exit_code = Exit.USAGE


class InputError(VrxError):
    """A source that cannot be read."""

    exit_code = Exit.INPUT


class ModelError(VrxError):
    """A model that is unknown, or a checkpoint that is missing, damaged or of another network."""

    exit_code = Exit.MODEL


class DeviceError(VrxError):
    """A device that is not there, or memory that is not enough."""

    exit_code = Exit.MEMORY


class OutputError(VrxError, OSError):
    """A result that cannot be written; whatever stood under its name still stands."""

    exit_code = Exit.OUTPUT

    def __str__(self) -> str:
        return VrxError.__str__(self)


class StoppedError(VrxError):
    """The user or the system ended the run."""

    exit_code = Exit.INTERRUPTED


class TerminatedError(StoppedError):
    """The system asked the run to end (SIGTERM)."""

    exit_code = Exit.TERMINATED


def out_of_memory(error: BaseException) -> bool:
    """Whether memory that ran out is what failed, here or in what caused it.

    Libraries have no common exception for it: many raise a RuntimeError of some words.  Words of errors that
    may repeat a file's name are not looked at.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError) or getattr(cause, "errno", None) == errno.ENOMEM:
            return True
        if not isinstance(cause, VrxError | OSError | ValueError) and speaks_of_memory(str(cause)):
            return True
        cause = cause.__cause__
    return False


def speaks_of_memory(text: str) -> bool:
    """Whether a library's message says that memory ran out."""
    return any(words in text.lower() for words in OUT_OF_MEMORY)


@contextmanager
def resource_errors(device: str = "") -> Iterator[None]:
    """What the machine lacks, where nothing nearer has said so: memory, space on a disk, room for a name.

    Raises DeviceError for memory that runs out inside, in whatever words, OutputError for a full disk and
    InputError for names too long; everything else passes.
    """
    try:
        yield
    except DeviceError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise exhausted(device) from error
        if isinstance(error, OSError) and not isinstance(error, VrxError):
            name, reason = error.filename or "a file", error.strerror
            if error.errno in DISK_FULL:
                hint = "Free some space and run the same command again"
                raise OutputError(f"cannot write {name}: {reason}", hint) from error
            if error.errno == errno.ENAMETOOLONG:
                raise InputError(f"cannot read {name}: {reason}") from error
        raise


def exhausted(device: str) -> DeviceError:
    """A device, or the machine where none is named, that ran out of memory."""
    if device.startswith("cuda"):
        hint = "Use --device cpu, or --model embedded; large models also take --tile 512 and --decoder tiny"
        return DeviceError(f"{device} ran out of memory", hint)
    return DeviceError("memory ran out", "Use a smaller video or --scale, or a machine with more memory")
