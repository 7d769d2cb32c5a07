"""Functions run in a new process, so that memory they take is measured apart."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TypeVar

from vrx.errors import VrxError

Result = TypeVar("Result")


def run_in_subprocess(function: Callable[..., Result], *arguments: object) -> Result:
    """The function's result, or what it raised; the process is gone afterwards, however this one ends.

    Function, arguments and result must be picklable.  Raises VrxError where the process ends without a result.
    """
    context = multiprocessing.get_context("spawn")  # a copy of this process would begin with its memory
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=answer, args=(there, function, arguments), daemon=True)
    process.start()
    there.close()
    try:
        good, result = here.recv()
    except EOFError:
        process.join()
        raise VrxError(
            f"a measurement ended without a result (status {process.exitcode})",
            'Free some memory; in a script, call this below: if __name__ == "__main__"',
        ) from None
    finally:
        here.close()
        process.terminate()
        process.join()
    if good:
        return result  # type: ignore[no-any-return]
    raise result


def answer(there: Connection, function: Callable[..., object], arguments: tuple[object, ...]) -> None:
    """In the new process: call the function and send its result or exception."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to both; the other one ends this
    try:
        there.send((True, function(*arguments)))
    except Exception as error:  # noqa: BLE001 - raised again by the caller
        there.send((False, error))
