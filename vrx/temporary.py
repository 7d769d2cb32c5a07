"""Temporary folders: removed afterwards, and by a later run where the process that made one was killed."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "vrx-"
LOCK = ".lock"  # in the folder: held, it says that the folder is in use; the system releases those of dead processes


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is removed afterwards.  Raises OSError where none can be made."""
    remove_abandoned(Path(tempfile.gettempdir()))
    folder, lock = make_folder()
    try:
        yield folder
    finally:
        if lock is not None:
            lock.release()  # Windows removes no open file
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def spare_folder() -> Iterator[Path | None]:
    """The same; None where none can be made."""
    with ExitStack() as stack:
        folder = None
        with suppress(OSError):
            folder = stack.enter_context(temporary_folder())
        yield folder


def make_folder() -> tuple[Path, FileLock | None]:
    """A new folder, and the lock that says it is in use; None where the file system has no locks."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = FileLock(folder / LOCK)
        try:
            private = folder.stat().st_mode
            lock.acquire()
            if (folder / LOCK).exists() and folder.stat().st_mode == private:
                return folder, lock
            lock.release()
        except NotImplementedError:
            (folder / LOCK).unlink(missing_ok=True)
            return folder, None
        except FileNotFoundError:
            pass
        shutil.rmtree(folder, ignore_errors=True)  # another process took it for abandoned, and filelock made it again


@cache  # once a process
def remove_abandoned(parent: Path) -> None:
    """Remove the temporary folders of processes that are no more; what cannot be removed stays."""
    found = []
    with suppress(OSError), os.scandir(parent) as entries:
        found = [Path(entry) for entry in entries if entry.name.startswith(PREFIX)]
    for folder in found:
        with suppress(OSError):  # another process may remove it just now
            if is_own_folder(folder) and (folder / LOCK).is_file():
                remove_unless_used(folder)


def is_own_folder(path: Path) -> bool:
    """Whether a path is a folder, no link to one, of this user's; of anybody's on systems that do not tell.

    Raises OSError where there is nothing.
    """
    found = path.lstat()
    return stat.S_ISDIR(found.st_mode) and (not hasattr(os, "geteuid") or found.st_uid == os.geteuid())


def remove_unless_used(folder: Path) -> None:
    """Remove a folder whose lock nobody holds.  Raises OSError."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except (Timeout, NotImplementedError):
        return
    if os.name == "nt":
        lock.release()
    shutil.rmtree(folder, ignore_errors=True)
    lock.release()
