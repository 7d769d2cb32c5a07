"""What ends a run that no orderly way ends."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT
from vrx.cli import signals
from vrx.errors import Exit

STUCK = """
import os, signal, time
from vrx.cli import signals
signals.LAST_RESORT = 0.2
signals.install()
signal.signal(signal.{name}, lambda *_: None)  # as a main thread that never comes to it
os.kill(os.getpid(), signal.{name})
time.sleep(60)
"""


@pytest.mark.parametrize(("name", "status"), [("SIGINT", Exit.INTERRUPTED), ("SIGTERM", Exit.TERMINATED)])
def test_a_run_that_does_not_answer_is_left(name: str, status: Exit) -> None:
    code = STUCK.format(name=name)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, cwd=ROOT)
    assert done.returncode == status
    assert "after waiting 0.2 s" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_step_gets_ten_seconds_to_end() -> None:
    assert signals.LAST_RESORT == 10.0  # seconds; all orderly ways to stop take less


def test_what_is_ignored_stays_ignored() -> None:
    code = (
        "import os, signal; from vrx.cli import signals\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN); signals.install()\n"
        "os.kill(os.getpid(), signal.SIGHUP); print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, cwd=ROOT)
    assert done.stdout == "alive\n"
