"""A program that ends the processes of a mark once its standard input ends: when whoever started it is done, or gone.

Ray's own processes are the case: where their starter is killed, two of them wait for a minute to tell it so.  It is
run without the package, as it waits beside every local cluster: `python -I -S reaper.py NAME=VALUE`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

PROCESSES = Path("/proc")
ROUNDS = 20  # looks at all processes, at most: what was being started meanwhile is found by a later one
PAUSE = 0.05  # seconds between two of them


def end(mark: str) -> None:
    """Kill all processes whose environment has the mark, until there are none."""
    for _ in range(ROUNDS):
        found = find(mark)
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if not found:
            return
        time.sleep(PAUSE)


def find(mark: str) -> list[int]:
    """The processes that run with a mark, by their number; the environment of one that has ended is empty."""
    found = []
    for file in PROCESSES.glob("[0-9]*/environ"):
        with suppress(OSError):  # gone meanwhile, or another user's
            if mark.encode() in file.read_bytes().split(b"\0"):
                found.append(int(file.parent.name))
    return found


if __name__ == "__main__":
    sys.stdin.read()
    end(sys.argv[1])
