"""Signals of the command line: each ends the run once, and a run that cannot end is ended all the same."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

from vrx import api
from vrx.cli import output
from vrx.errors import Exit, TerminatedError

TERMINATING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
LAST_RESORT = 10.0  # seconds after the first signal; all orderly ways to stop take less
STATUS: dict[int, Exit] = {signal.SIGINT: Exit.INTERRUPTED} | dict.fromkeys(TERMINATING, Exit.TERMINATED)


def on_terminate(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM as an exception, so that everything open is closed."""
    raise TerminatedError("terminated")


def install() -> None:
    """Turn signals into exceptions, and watch that they end the run.  What is ignored (nohup) stays ignored."""
    for number in TERMINATING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, on_terminate)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=watch, args=(reading,), name="signals", daemon=True).start()


def watch(reading: int) -> None:
    """Exit LAST_RESORT seconds after the first signal, whatever blocks the main thread."""
    status = None
    while status is None:
        status = STATUS.get(os.read(reading, 1)[0])
    time.sleep(LAST_RESORT)
    sys.stderr.write(
        f"vrx: stopped after waiting {LAST_RESORT:g} s for a step that did not end."
        " The next run of the command cleans up\n"
    )
    api.kill_encoders()
    os._exit(status)


def exit_process(status: int) -> NoReturn:
    """Exit; the interpreter's end can no longer be garbled, and steps that a stop left under way do not hold it up."""
    for number in STATUS:
        signal.signal(number, signal.SIG_IGN)
    try:
        output.flush()
    except OSError:  # reported already, or standard output is closed
        output.discard_output()
    if any(thread.name.startswith(api.THREADS) for thread in threading.enumerate()):
        os._exit(status)
    sys.exit(status)
