"""Jobs in daemon threads, as futures: one that hangs on the network does not keep the program from ending.

`concurrent.futures.ThreadPoolExecutor` waits for its threads when the program ends; nothing else differs.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from functools import partial
from typing import TypeVar

T = TypeVar("T")
MAX_THREADS = 4
GRACE = 2.0  # seconds that the other jobs have to end after a failure


class Cancelled(Exception):  # noqa: N818 - not an error: how a job ends when it is asked to
    """The job was canceled."""


def run_concurrently(jobs: Sequence[Callable[[threading.Event], T]]) -> list[T]:
    """Results in order.  Each job receives the event that cancels it; the first failure is raised at once."""
    cancel = threading.Event()
    pending: queue.SimpleQueue[tuple[Future[T], Callable[[threading.Event], T]]] = queue.SimpleQueue()
    futures: list[Future[T]] = [Future() for _ in jobs]
    for item in zip(futures, jobs, strict=True):
        pending.put(item)

    def work() -> None:
        while not cancel.is_set():
            try:
                future, job = pending.get_nowait()
            except queue.Empty:
                return
            run_into(future, partial(job, cancel))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(MAX_THREADS, len(jobs)))]
    try:
        for thread in threads:
            thread.start()
        done = wait(futures, return_when=FIRST_EXCEPTION).done
        for future in filter(done.__contains__, futures):
            future.result()  # raises the failure
        return [future.result() for future in futures]
    finally:
        cancel.set()
        wait([future for future in futures if future.running()], timeout=GRACE)


def run_with_timeout(seconds: float, job: Callable[[], T]) -> T:
    """A job's result.  Raises TimeoutError after `seconds`: looking up a host name has no time limit of its own."""
    future: Future[T] = Future()
    threading.Thread(target=run_into, args=(future, job), daemon=True).start()
    try:
        return future.result(timeout=seconds)
    except TimeoutError:
        if future.done():
            raise
        raise TimeoutError(f"no answer in {seconds:.0f} seconds") from None


def run_into(future: Future[T], job: Callable[[], T]) -> None:
    """Run a job; its result or failure becomes that of the future."""
    future.set_running_or_notify_cancel()
    try:
        result = job()
    except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
        future.set_exception(error)
    else:
        future.set_result(result)
