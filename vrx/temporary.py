"""Temporary folders: removed afterwards, and by a later run where the process that made one was killed."""

from __future__ import annotations

import os
import shutil
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
    try:
        found = [entry for entry in os.scandir(parent) if entry.name.startswith(PREFIX)]
    except OSError:
        return
    for entry in found:
        folder = Path(entry.path)
        if entry.is_dir(follow_symlinks=False) and is_own(folder) and (folder / LOCK).is_file():
            remove_unless_used(folder)


def is_own(folder: Path) -> bool:
    """Whether a folder belongs to this user; True on systems that do not tell."""
    return not hasattr(os, "geteuid") or folder.stat().st_uid == os.geteuid()


def remove_unless_used(folder: Path) -> None:
    """Remove a folder whose lock nobody holds."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except (Timeout, NotImplementedError, OSError):
        return
    if os.name == "nt":
        lock.release()
    shutil.rmtree(folder, ignore_errors=True)
    lock.release()
