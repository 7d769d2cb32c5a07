"""Names of partial files: hidden, beside the result, removed by the next run for it."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from hashlib import sha256
from pathlib import Path

# bytes of a result's name that hidden names repeat: with all they add they stay below 143, which is what
# encrypting file systems hold
MAX_NAME_BYTES = 80
TOKEN = r"[0-9a-f]{8}"


def shorten_name(name: str) -> str:
    """A name of at most MAX_NAME_BYTES bytes; a longer one is cut and ends with a hash."""
    if len(os.fsencode(name)) <= MAX_NAME_BYTES:
        return name
    digest = sha256(os.fsencode(name)).hexdigest()[:8]
    length = 0
    for place, character in enumerate(name):
        length += len(os.fsencode(character))
        if length > MAX_NAME_BYTES:
            return f"{name[:place]}-{digest}"
    return name


def partial_path(path: Path) -> Path:
    """An unused name beside `path` with its suffix."""
    return path.with_name(f".{shorten_name(path.stem)}.{secrets.token_hex(4)}.part{path.suffix}")


def partial_folder(path: Path) -> Path:
    """An unused name beside a pattern of numbered pictures for the folder they are gathered in."""
    return path.with_name(f".{partial_folder_stem(path)}.{secrets.token_hex(4)}.part")


def partial_folder_stem(path: Path) -> str:
    """A pattern's name without percent signs."""
    return shorten_name(path.stem).replace("%", "_")


def find_leftovers(path: Path) -> list[Path]:
    """Partial files that killed runs left beside the result `path`: names made by `partial_path` and `partial_folder`.

    Raises OSError where the folder cannot be listed.
    """
    file = re.compile(rf"\.{re.escape(shorten_name(path.stem))}\.{TOKEN}\.part{re.escape(path.suffix)}")
    folder = re.compile(rf"\.{re.escape(partial_folder_stem(path))}\.{TOKEN}\.part")
    found = []
    for entry in path.parent.iterdir():
        real_folder = entry.is_dir() and not entry.is_symlink()
        if (folder if real_folder else file).fullmatch(entry.name):
            found.append(entry)
    return found


def clear_leftovers(path: Path) -> None:
    """Remove partial files of killed runs for `path`; requires the result's lock."""
    with contextlib.suppress(OSError):  # leftovers do no harm
        for entry in find_leftovers(path):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
