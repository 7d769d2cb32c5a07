"""Everything that can go wrong and be said in one line: what, where, what to do next, exit code."""

from __future__ import annotations

from enum import IntEnum


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
        return f"{self.message.rstrip('. ')}. {self.hint}" if self.hint else self.message


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
