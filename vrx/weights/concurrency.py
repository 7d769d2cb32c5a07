"""Some jobs at a time, ended at once by the first that fails or by Ctrl-C."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TypeVar

T = TypeVar("T")
AT_A_TIME = 4
LINGER = 2.0  # seconds that the others get to end by themselves


class Stopped(Exception):  # noqa: N818 - no error: how a job obeys
    """A job was told to end."""


def together(jobs: Sequence[Callable[[threading.Event], T]]) -> list[T]:
    """Results in order.  Each job gets the event that tells it to end; the first failure is raised at once.

    The threads are daemons: one that hangs on the network does not keep the program.
    """
    stop = threading.Event()
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, T | None, BaseException | None]] = queue.SimpleQueue()
    for number in range(len(jobs)):
        waiting.put(number)

    def work() -> None:
        while not stop.is_set():
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((number, jobs[number](stop), None))
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                done.put((number, None, error))
                return

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(AT_A_TIME, len(jobs)))]
    results: dict[int, T] = {}
    try:
        for thread in threads:
            thread.start()
        while len(results) < len(jobs):
            number, result, error = done.get()
            if error is not None:
                raise error
            results[number] = result  # type: ignore[assignment]
    finally:
        stop.set()
        until = monotonic() + LINGER
        for thread in threads:
            thread.join(max(0.0, until - monotonic()))
    return [results[number] for number in range(len(jobs))]


def within(seconds: float, job: Callable[[], T]) -> T:
    """A job's result, if it is there in time.  Raises TimeoutError: looking up a name has no time limit of its own."""
    done: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            done.put((job(), None))
        except BaseException as error:  # noqa: BLE001 - handed to the caller
            done.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        result, error = done.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer in {seconds:.0f} seconds") from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]
