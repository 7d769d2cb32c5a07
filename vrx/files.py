"""File access: user-named files read only if regular and within a limit; files replaced in one step, synced to disk.

Opening a pipe waits for a writer that may never come; a device may have no end.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def as_argument(name: str) -> str:
    """A file's name as it is typed in a command: one that begins with a dash would be read as an option."""
    return f"./{name}" if name.startswith("-") else name


class NotAFileError(OSError):
    """A pipe, device, socket or folder in place of a file, or a file larger than the limit."""


def path_exists(path: Path) -> bool:
    """Whether a path that a user typed exists; False also for names that no disk can have."""
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


def check_file(path: Path) -> os.stat_result:
    """The status of a regular file.  Raises OSError where there is none, NotAFileError for another kind."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise NotAFileError(0, f"it is {FILE_KINDS.get(stat.S_IFMT(status.st_mode), 'of an unknown kind')}, not a file")
    return status


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes.  Raises OSError."""
    check_file(path)
    with path.open("rb") as file:
        content = file.read(limit + 1)  # the size that the system states is 0 for files of /proc
    if len(content) > limit:
        raise NotAFileError(0, f"it is larger than {limit:,} bytes")
    return content


def read_text(path: Path, limit: int, encoding: str = "utf-8") -> str:
    """The text of a regular file of at most `limit` bytes.  Raises OSError, and UnicodeDecodeError."""
    return read_bytes(path, limit).decode(encoding)


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`: what the body writes there then replaces `path` in one step, synced to disk.

    A reader sees the old file or the new one, also after a power failure; where the body fails, nothing is
    left.  Raises OSError.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield partial
        sync(partial)
        partial.replace(path)
        sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flush a file or a folder to disk; does nothing for folders on Windows, which cannot.  Raises OSError."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def format_bytes(count: float | None) -> str:
    """A size for people, such as 1.5 GB; None is unknown."""
    if count is None:
        return "unknown"
    unit = "B"
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
