"""Jobs side by side: in order, canceled by the first failure, and never waited for without end."""

import threading
import time
from functools import partial

import pytest

from vrx.weights.concurrency import MAX_THREADS, run_concurrently, run_with_timeout


def test_results_come_in_the_order_of_the_jobs() -> None:
    def job(number: int, cancel: threading.Event) -> int:
        time.sleep(0.02 * (10 - number) / 10)
        return number

    assert run_concurrently([partial(job, number) for number in range(10)]) == list(range(10))
    assert run_concurrently([]) == []


def test_only_some_run_at_a_time() -> None:
    running, most, guard = [0], [0], threading.Lock()

    def job(cancel: threading.Event) -> None:
        with guard:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.01)
        with guard:
            running[0] -= 1

    run_concurrently([job] * 12)
    assert most == [MAX_THREADS] == [4]


def test_the_first_failure_is_raised_and_cancels_the_others() -> None:
    canceled, started = [], []

    def wait(cancel: threading.Event) -> None:
        started.append(1)
        canceled.append(cancel.wait(20))

    def fail(cancel: threading.Event) -> None:
        raise ValueError("broken")

    begin = time.monotonic()
    with pytest.raises(ValueError, match="broken"):
        run_concurrently([wait, wait, fail, wait, wait, wait, wait])
    assert time.monotonic() - begin < 10
    assert all(canceled)
    assert len(started) < 6  # those that had not begun never do


def test_a_job_that_takes_too_long_is_left_alone() -> None:
    release = threading.Event()
    with pytest.raises(TimeoutError, match="no answer in 0 seconds"):
        run_with_timeout(0.05, partial(release.wait, 20))
    release.set()
    assert run_with_timeout(20, lambda: 3) == 3


@pytest.mark.parametrize("error", [OSError("refused"), TimeoutError("the server took too long")])
def test_a_failure_within_the_time_is_the_jobs_own(error: Exception) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error), match=str(error)):
        run_with_timeout(20, fail)
