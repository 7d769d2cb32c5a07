"""A lock in the file system with its owner's process number, for one download at a time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vrx.errors import ModelError

POLL = 0.2  # seconds


def alive(process: int) -> bool:
    """Whether a process of this machine still runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def owner(path: Path) -> int | None:
    """The process that holds a lock, None where nobody (any more) does."""
    try:
        process = int(path.read_text())
    except (OSError, ValueError):
        return None
    return process if process > 0 and alive(process) else None


@contextmanager
def held(path: Path, progress: Callable[[], int], patience: float) -> Iterator[None]:
    """Hold a lock; a dead owner's is taken over.

    Waits as long as `progress()` (bytes that the owner has) grows.  Raises ModelError once it has stood
    still for `patience` seconds.
    """
    seen, since = progress(), time.monotonic()
    while not taken(path):
        process = owner(path)
        if process is None:
            clear(path)
            continue
        now = progress()
        if now != seen:
            seen, since = now, time.monotonic()
        if time.monotonic() - since > patience:
            raise ModelError(
                f"another vrx (process {process}) is downloading {path.stem} and gets no further",
                "Stop it, or wait for it",
            )
        time.sleep(POLL)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def clear(path: Path) -> None:
    """Take a dead owner's lock away; one that a living process took in between is put back."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.old")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    if owner(aside) is not None:
        with suppress(FileExistsError):
            os.link(aside, path)
    aside.unlink(missing_ok=True)


def taken(path: Path) -> bool:
    """Try to become the owner; the lock appears with its owner in it or not at all."""
    mine = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    mine.write_text(str(os.getpid()))
    try:
        os.link(mine, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without links
        return created(path)
    finally:
        mine.unlink(missing_ok=True)
    return True


def created(path: Path) -> bool:
    """Become the owner by being the one who creates the lock."""
    try:
        with path.open("x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        return False
    return True
