"""The tree of errors: each is one line for the user (what, where, why), a hint what to do next, and an exit code."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from enum import IntEnum

OUT_OF_MEMORY = (  # messages of torch, CUDA's libraries, oneDNN, C++, OpenCV, the loader and ffmpeg
    *("out of memory", "not enough memory", "allocate memory", "bad_alloc", "out_of_memory", "insufficient memory"),
    *("could not create a primitive", "could not create a memory", "failed to map segment", "start new thread"),
    *("unable to allocate", "malloc of size", "alloc_failed"),
    # what cuBLAS and cuDNN say where no memory is left for a handle or a workspace
    *("cublas_status_not_initialized", "cudnn_status_not_initialized", "unable to find an engine to execute"),
    "unable to find a valid cudnn algorithm",
)
SMALLER = "Use a smaller video or --scale, or a machine with more memory"  # where memory is short
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Exit(IntEnum):
    """Exit statuses of the command line."""

    DONE = 0
    FAULT = 1
    USAGE = 2
    INPUT = 3
    MODEL = 4
    DEVICE = 5
    OUTPUT = 6
    BATCH = 7
    INTERRUPTED = 130
    BROKEN_PIPE = 141  # the reader of standard output has exited: as a shell reports those whom SIGPIPE ends
    TERMINATED = 143


class VrxError(Exception):
    """An error with a message for people and, if there is one, a hint what to do next."""

    exit_code: Exit = Exit.FAULT

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        """How it passes from one process to another."""
        return type(self), (self.message, self.hint)

    def __str__(self) -> str:
        if not self.hint:
            return self.message
        ended = self.message if self.message.endswith("...") else f"{self.message.rstrip('. ')}."
        return f"{ended} {self.hint}"


class UsageError(VrxError, ValueError):
    """An option with an invalid value, or options that exclude each other."""

    exit_code = Exit.USAGE


class InputError(VrxError):
    """An input that cannot be read."""

    exit_code = Exit.INPUT


class ModelError(VrxError):
    """A model that is unknown, or a checkpoint that is missing, damaged or of another network."""

    exit_code = Exit.MODEL


class DeviceError(VrxError):
    """A device that does not exist, or that has not enough memory."""

    exit_code = Exit.DEVICE


class MemoryExhaustedError(DeviceError):
    """A device, or the machine, whose memory ran out in the middle of a run."""


class OverflowedError(VrxError):
    """A model that gave NaN or Inf."""


class OutputError(VrxError, OSError):
    """A result that cannot be written; an earlier file of its name is unchanged."""

    exit_code = Exit.OUTPUT

    def __str__(self) -> str:
        return VrxError.__str__(self)


class ExistsError(OutputError):
    """A result whose name is taken."""


class ReaderGoneError(OutputError):
    """A result on standard output, whose reader has exited."""

    exit_code = Exit.BROKEN_PIPE

    def __init__(self, message: str = "cannot write standard output: its reader has exited", hint: str = "") -> None:
        super().__init__(message, hint)


class FailedInputsError(VrxError):
    """Inputs that failed together, each with the word that names it; `failures` of one or more."""

    def __init__(self, failures: Sequence[tuple[str, VrxError]], exit_code: Exit) -> None:
        super().__init__("; ".join(error.message for _, error in failures))
        self.failures, self.exit_code = tuple(failures), exit_code

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), (self.failures, self.exit_code)


class StoppedError(VrxError):
    """The run was ended by the user (Ctrl-C) or by the system."""

    exit_code = Exit.INTERRUPTED


class TerminatedError(StoppedError):
    """The run was ended by the system (SIGTERM, SIGHUP)."""

    exit_code = Exit.TERMINATED


def choice_of(values: Iterable[object]) -> str:
    """`auto, on or off`."""
    *most, last = map(str, values)
    return f"{', '.join(most)} or {last}" if most else last


def did_you_mean(word: str, known: Iterable[str], form: str = "{}") -> str:
    """`Did you mean infvsr? `, whatever the case of the word, or nothing; `form` is how a name is written."""
    names = {name.lower(): name for name in known}
    found = get_close_matches(word.lower(), names, n=2)
    return f"Did you mean {choice_of(form.format(names[name]) for name in found)}? " if found else ""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error, or a cause of it, means that memory ran out.

    Libraries have no common exception for it: many raise a RuntimeError with a message.  Messages of errors
    that may contain a file's name are not searched.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError) or getattr(cause, "errno", None) == errno.ENOMEM:
            return True
        if not isinstance(cause, VrxError | OSError | ValueError) and mentions_memory(str(cause)):
            return True
        cause = cause.__cause__
    return False


def mentions_memory(text: str) -> bool:
    """Whether a library's message means that memory ran out."""
    return any(words in text.lower() for words in OUT_OF_MEMORY)


@contextmanager
def resource_errors(device: str = "") -> Iterator[None]:
    """Turn errors about the machine's resources into vrx's own: memory, disk space, length of names.

    Raises DeviceError if memory runs out inside, whatever the library's message, OutputError for a full disk
    and InputError for names that are too long; every other error passes unchanged.
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
                hint = "Free some space and rerun the same command"
                raise OutputError(f"cannot write {name}: {reason}", hint) from error
            if error.errno == errno.ENAMETOOLONG:
                raise InputError(f"cannot read {name}: {reason}") from error
        raise


def exhausted(device: str, tried: Sequence[str] = (), hint: str = SMALLER) -> MemoryExhaustedError:
    """The error for a device, or without a name the machine, that ran out of memory; `tried`: what did not help.

    `hint`: what to do on a processor.
    """
    after = f" (tried: {', '.join(tried)})" if tried else ""
    if device.startswith("cuda"):
        other = "Use --device cpu, or --model embedded; large models also take --tile 512 and --decoder tiny"
        return MemoryExhaustedError(f"{device} ran out of memory{after}", other)
    return MemoryExhaustedError(f"out of memory{after}", hint)
