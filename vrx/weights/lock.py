"""One process at a time: a lock that the system lets go of when its holder ends, however it ends."""

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
    """Hold the lock `path`, which is gone afterwards.

    Waits as long as `progress()` (bytes that its holder has) grows.  Raises ModelError once it has stood
    still for `patience` seconds.
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
                    f"another vrx is downloading {path.stem} and gets no further", "Stop it, or wait for it"
                ) from None
        except NotImplementedError:  # a file system without locks: the file's presence is one
            guard = SoftFileLock(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held; who waits for it notices and takes a new one
        guard.release()


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock `path`; nothing is left of the question."""
    if not path.exists():
        return True
    guard = FileLock(path)
    try:
        guard.acquire(timeout=0)
    except (Timeout, NotImplementedError, OSError):  # without locks of the system, the file's presence is one
        return False
    path.unlink(missing_ok=True)  # while it is held, as in `held`
    guard.release()
    return True
