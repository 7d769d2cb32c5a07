"""Which paths of a repository or an index are safe to write to.  Pure."""

from __future__ import annotations

import os
from pathlib import PurePosixPath

MAX_NAME, MAX_PATH = 200, 1000  # bytes of a file's name, characters of a path


def is_safe_path(path: str) -> bool:
    """Whether a relative path stays in the folder it is meant for, and a disk can hold its names."""
    parts = PurePosixPath(path).parts
    stays = bool(parts) and not path.startswith("/") and ".." not in parts and "\\" not in path and ":" not in path
    fits = len(path) <= MAX_PATH and all(len(os.fsencode(part)) <= MAX_NAME for part in parts)
    return stays and fits and path.isprintable()
