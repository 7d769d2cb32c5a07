import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vrx.media import signals
from vrx.media.signals import defer_signals

ROOT = Path(__file__).parent.parent.parent


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_waits_until_the_work_is_through() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), defer_signals():
        interrupt()
        done.append(1)
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_signal_does_not_wait() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), defer_signals():
        interrupt()
        interrupt()
        done.append(1)
    assert done == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("count", [1, 2])
def test_a_body_that_waits_is_released(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """After a while by one signal, at once by a second."""
    monkeypatch.setattr(signals, "GRACE_SECONDS", 0.05 if count == 1 else 60.0)
    released = threading.Event()
    with pytest.raises(KeyboardInterrupt), defer_signals(released.set):
        for _ in range(count):
            interrupt()
        assert released.wait(30)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_body_that_ends_in_time_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "GRACE_SECONDS", 0.05)
    released = threading.Event()
    with pytest.raises(KeyboardInterrupt), defer_signals(released.set):
        interrupt()
    assert not released.wait(0.2)


def test_a_signal_is_heard_even_where_the_work_fails() -> None:
    with pytest.raises(KeyboardInterrupt) as caught, defer_signals():
        interrupt()
        raise OSError("broken pipe")
    assert isinstance(caught.value.__context__, OSError)


def test_shields_nest() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), defer_signals():
        with defer_signals():
            interrupt()
        done.append(1)
    assert done == [1]


def test_what_is_ignored_stays_ignored() -> None:
    """As in the background jobs of a shell."""
    code = (
        "import os, signal; from vrx.media.signals import defer_signals\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "with defer_signals(): os.kill(os.getpid(), signal.SIGINT)\n"
        "print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "alive\n"


def test_other_threads_need_no_shield() -> None:
    done = []

    def work() -> None:
        with defer_signals():
            done.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [1]
