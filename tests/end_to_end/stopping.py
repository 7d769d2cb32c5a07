"""Stop a child process of vrx at a place that it can continue from."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import AnyStr

from tests.conftest import ROOT
from tests.held import HeldEncoder


def launch(folder: Path, *words: object, held: HeldEncoder) -> subprocess.Popen[bytes]:
    """The command, in a session of its own; it waits for its encoder."""
    return subprocess.Popen(
        [sys.executable, "-m", "vrx", *map(str, words)],
        cwd=folder,
        env={**os.environ, **held.env, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def stop_once_saved(
    child: "subprocess.Popen[AnyStr]", workspace: Path, seconds: float, number: signal.Signals = signal.SIGINT
) -> AnyStr:
    """Send a signal to a run whose workspace has a journal, which must be within `seconds`; what it said at its end.

    The encoder of the next part must be held, or the run may end first.  An interrupted run ends with 130.
    """
    deadline = time.monotonic() + seconds
    while not (workspace / "journal.json").exists():
        if child.poll() is not None or time.monotonic() > deadline:
            child.kill()  # or it would wait for its encoder
            raise AssertionError(child.communicate())
        time.sleep(0.01)
    child.send_signal(number)
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == (130 if number is signal.SIGINT else -number), stderr
    return stderr
