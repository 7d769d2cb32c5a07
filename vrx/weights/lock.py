"""One process at a time: a lock that the system releases when the process that holds it ends, however it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from vrx.errors import ModelError

POLL = 0.2  # seconds


@contextmanager
def hold(path: Path, progress: Callable[[], int], patience: float) -> Iterator[None]:
    """Hold the lock `path`; its file is deleted afterwards.

    Waits as long as `progress()` grows (bytes that the other process has received: it may need hours).
    Raises ModelError after `patience` seconds without growth.
    """
    guard: BaseFileLock = FileLock(path)
    seen, since = progress(), time.monotonic()
    while not guard.is_locked:
        try:
            guard.acquire(timeout=POLL)
        except Timeout:
            now = progress()
            if now != seen:
                seen, since = now, time.monotonic()
            if time.monotonic() - since > patience:
                raise ModelError(
                    f"another vrx process is downloading {path.stem} and makes no progress", "Stop it, or wait for it"
                ) from None
        except NotImplementedError:  # a file system without locks: the file's presence is the lock
            guard = SoftFileLock(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # before the release: a process that waits for it notices and takes a new one
        guard.release()


def is_free(path: Path) -> bool:
    """Whether no process holds the lock `path`; leaves no file behind."""
    if not path.exists():
        return True
    guard = FileLock(path)
    try:
        guard.acquire(timeout=0)
    except (Timeout, NotImplementedError, OSError):  # without locks of the system, the file's presence is the lock
        return False
    path.unlink(missing_ok=True)  # before the release, as in `hold`
    guard.release()
    return True
