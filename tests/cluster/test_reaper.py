"""A local cluster is gone with the process that started it, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from time import monotonic, sleep

import pytest

from vrx.cluster import reaper
from vrx.cluster.join import MARK, environment_of_workers, marked_to_end

pytestmark = pytest.mark.skipif(not reaper.PROCESSES.exists(), reason="needs Linux")
SLEEP = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]
DRIVER = f"""
import subprocess, time
from vrx.cluster.join import environment_of_workers, marked_to_end
with marked_to_end() as mark:
    with environment_of_workers(mark=mark):
        marked = subprocess.Popen({SLEEP}, start_new_session=True)
    other = subprocess.Popen({SLEEP}, start_new_session=True)
    print(marked.pid, other.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def driver() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", DRIVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        yield process
        with suppress(ProcessLookupError):
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_driver_that_is_killed_leaves_nothing_of_its_cluster(driver: subprocess.Popen[str], number: int) -> None:
    assert driver.stdout is not None
    marked, other = map(int, driver.stdout.readline().split())
    os.killpg(driver.pid, number)  # as a terminal's Ctrl-C, which others of its session get, too
    driver.wait(10)
    try:
        wait_for_end(marked)
        os.kill(other, 0)  # not of the cluster: it goes on
    finally:
        os.kill(other, signal.SIGKILL)


def wait_for_end(process: int) -> None:
    """Wait until a process has ended; nobody may have asked for how."""
    end = monotonic() + 10
    while monotonic() < end:
        try:
            if (reaper.PROCESSES / str(process) / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except OSError:
            return
        sleep(0.02)
    pytest.fail(f"process {process} is still there")


def test_what_is_left_at_the_end_is_ended() -> None:
    with marked_to_end() as mark:
        with environment_of_workers(mark=mark):
            assert os.environ[MARK] == mark
            left = subprocess.Popen(SLEEP)
        assert MARK not in os.environ
        while reaper.find(f"{MARK}={mark}") != [left.pid]:  # it is not yet the program that it becomes
            sleep(0.01)
    assert left.wait(10) == -signal.SIGKILL


def test_what_lost_the_mark_is_ended_with_the_process_that_started_it() -> None:
    starter = f"import subprocess; print(subprocess.Popen({SLEEP}, env={{}}).pid, flush=True); input()"
    command = [sys.executable, "-I", "-S", "-c", starter]
    with subprocess.Popen(
        command, env={"NAME": "value"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert reaper.find("NAME=value") == [process.pid, child]
        reaper.end("NAME=value")
        wait_for_end(child)
        assert reaper.find("NAME=value") == []  # although nobody has asked for its end
    assert process.returncode == -signal.SIGKILL


def test_what_cannot_be_ended_is_tried_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []
    monkeypatch.setattr(reaper, "find", lambda _: [2**30])  # which no process has as its number
    monkeypatch.setattr("vrx.cluster.reaper.time.sleep", looks.append)
    reaper.end("NAME=value")
    assert looks == [0.05] * 20
