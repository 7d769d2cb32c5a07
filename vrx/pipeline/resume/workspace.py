"""Workspace: the hidden folder beside a result, with the lock of its writer and the finished segments.

Anybody may have put files there.  A link, another user's folder, or a folder in place of a file is refused;
only files under vrx's own names are ever removed.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from vrx.errors import OutputError, VrxError
from vrx.media.atomic import write_error
from vrx.media.partial_files import TOKEN, clear_leftovers, shorten_name

LOCK, JOURNAL = "lock", "journal.json"
OWN_NAMES = re.compile(
    rf"lock|journal\.json|tail-\d+\.raw|state-\d+\.safetensors|\.(journal\.json|state-\d+\.safetensors)\.{TOKEN}\.part|"
    rf"\d{{6}}(-{TOKEN})?\.\w+|\.\d{{6}}(-{TOKEN})?\.{TOKEN}\.part\.\w+|parts\.ffconcat|(\.spans\.json\.{TOKEN}\.part|spans\.json)"
)
PRIVATE = 0o700
ATTEMPTS = 5  # a run that ends removes the folder; a run that opens it at that moment creates it again


def folder_of(result: Path) -> Path:
    """The path of a result's workspace."""
    return result.with_name(f".{shorten_name(result.name)}.vrx")


class Workspace:
    """The folder of one result, locked.  A context manager: leaving it removes the folder unless it holds segments.

    Raises OutputError where another process has locked it, where it is not safe to use, and where the disk fails;
    LockingUnavailableError where the file system has no locks.
    """

    def __init__(self, result: Path) -> None:
        self.folder = folder_of(result)
        # the system releases it for those who are killed; it may be released by another thread
        self._lock = FileLock(self.folder / LOCK, timeout=0, thread_local=False)
        with disk_errors(self.folder):
            self._acquire(result)
        clear_leftovers(result)

    def _acquire(self, result: Path) -> None:
        for attempt in range(ATTEMPTS):
            make_private(self.folder)
            refuse_unless_file(self.folder / LOCK)
            try:
                self._lock.acquire()
                return
            except Timeout:
                raise OutputError(
                    f"another vrx is writing {result}", "Wait for it, or choose another name with -o"
                ) from None
            except NotImplementedError as error:
                self.remove()
                raise LockingUnavailableError(
                    f"cannot lock files in {self.folder.parent}", "Use --no-resume there"
                ) from error
            except FileNotFoundError:
                if attempt == ATTEMPTS - 1:
                    raise

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock, and remove the folder unless it holds segments."""
        if not self.has_segments():
            self.remove()
        self._lock.release()

    def has_segments(self) -> bool:
        """Whether it holds work that a later run may continue."""
        return os.path.lexists(self.folder / JOURNAL)

    def clear(self, keep: Collection[str] = ()) -> None:
        """Remove files under vrx's own names but for those in `keep`.  Raises OutputError for a folder that has one."""
        for path in self.folder.iterdir():
            if path.name == LOCK or path.name in keep or not OWN_NAMES.fullmatch(path.name):
                continue
            if stat.S_ISDIR(path.lstat().st_mode):
                remove_empty(path)
            else:
                path.unlink()

    def discard(self) -> None:
        """Remove vrx's own files but for the lock, as far as that can be done.  No exception."""
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                if OWN_NAMES.fullmatch(path.name) and path.name != LOCK:
                    with contextlib.suppress(OSError):
                        path.unlink()

    def remove(self) -> None:
        """Remove all that is vrx's own, and the folder where nothing else is in it.  No exception."""
        self.discard()
        with contextlib.suppress(OSError):
            (self.folder / LOCK).unlink(missing_ok=True)
            self.folder.rmdir()


class LockingUnavailableError(OutputError):
    """The file system has no locks."""


@contextmanager
def claim(result: Path) -> Iterator[Workspace | None]:
    """The workspace of a result written at once; None where the file system has no locks.  Raises OutputError."""
    try:
        workspace = Workspace(result)
    except LockingUnavailableError:
        yield None
        return
    with workspace:
        yield workspace


def make_private(folder: Path) -> None:
    """Make a folder that only its owner can enter, or check an existing one.  Raises OutputError."""
    try:
        folder.mkdir(PRIVATE)
        return
    except FileExistsError:
        found = folder.lstat()
    advice = "Remove it, or choose another name with -o"
    if stat.S_ISLNK(found.st_mode):
        raise OutputError(f"refused to work in {folder}, which is a link", advice)
    if not stat.S_ISDIR(found.st_mode):
        raise OutputError(f"cannot work in {folder}, which is a file", advice)
    if hasattr(os, "geteuid") and found.st_uid not in (os.geteuid(), owner_of_new_files(folder.parent)):
        raise OutputError(f"refused to work in {folder}, which belongs to another user", advice)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise OutputError(f"cannot work in {folder}: Permission denied", advice)


def owner_of_new_files(folder: Path) -> int:
    """The user id of files made there: shared file systems may map it.  Raises OSError."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_uid


def refuse_unless_file(path: Path) -> None:
    """Refuse anything but a plain file without other names, or nothing.  Raises OutputError."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        raise OutputError(f"refused to use {path}, which is not a plain file", f"Remove it: {path}")


def remove_empty(folder: Path) -> None:
    """Remove an empty folder in place of a file.  Raises OutputError where something is in it."""
    try:
        folder.rmdir()
    except OSError as error:
        raise OutputError(f"{folder} is a folder, but vrx needs a file of that name", f"Remove it: {folder}") from error


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Failures of the disk as one line."""
    try:
        yield
    except OSError as error:
        if isinstance(error, VrxError):
            raise
        raise write_error(folder, error) from error
