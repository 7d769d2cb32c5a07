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
ENDED = b"Z"  # the state of a process whose starter has not asked for its end yet
ROUNDS = 20  # looks at all processes, at most: what was being started meanwhile is found by a later one
PAUSE = 0.05  # seconds between two of them


def end(mark: str) -> None:
    """Kill all processes that `find` tells, until there are none."""
    for _ in range(ROUNDS):
        found = find(mark)
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if not found:
            return
        time.sleep(PAUSE)


def find(mark: str) -> list[int]:
    """The processes that run with a mark, and all that these started, by their number.

    A process that names itself, as Ray's agents do, may write over the mark in its environment.
    """
    marked, started = [], dict[int, list[int]]()
    for folder in PROCESSES.glob("[0-9]*"):
        number = int(folder.name)
        with suppress(OSError):  # gone meanwhile, or another user's
            state, parent = (folder / "stat").read_bytes().rpartition(b")")[2].split()[:2]
            if state == ENDED:
                continue
            started.setdefault(int(parent), []).append(number)
            if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                marked.append(number)
    found = dict.fromkeys(marked)
    while marked:
        more = [child for child in started.get(marked.pop(), ()) if child not in found]
        found.update(dict.fromkeys(more))
        marked += more
    return list(found)


if __name__ == "__main__":
    sys.stdin.read()
    end(sys.argv[1])
