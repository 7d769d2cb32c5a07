"""Deferred signals for short critical sections."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

Handler = Callable[[int, FrameType | None], object]

GRACE_SECONDS = 2.0  # seconds before `release` is called


@contextmanager
def defer_signals(release: Callable[[], object] | None = None) -> Iterator[None]:
    """Defer signals until the body ends; their handlers, which may raise, are called then.

    Libraries that call back into Python lose an exception that a signal raises there, or take it for a
    failed write.  `release` ends what the body may be waiting for, such as an encoder that hangs;
    it is called once a signal has waited for GRACE seconds, and at once by a second signal.  Without it a
    second signal does not wait.  Handlers run in the main thread only, so elsewhere there is nothing to
    hold back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[int, Handler] = {}
    waiting: list[int] = []
    timer = threading.Timer(GRACE_SECONDS, release or (lambda: None))
    timer.daemon = True

    def record(number: int, frame: FrameType | None) -> None:
        waiting.append(number)
        if release is None:
            if len(waiting) > 1:
                handlers[number](number, frame)
        elif len(waiting) > 1:
            release()
        else:
            timer.start()

    try:
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler):
                handlers[number] = handler
                signal.signal(number, record)
        yield
    finally:
        timer.cancel()
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in waiting[:1]:
            handlers[number](number, None)
