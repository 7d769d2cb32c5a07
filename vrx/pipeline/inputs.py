"""The words of a command line to inputs: files, numbered pictures, and what folders and globs hold."""

from __future__ import annotations

import glob
from pathlib import Path

from vrx.errors import InputError
from vrx.media.stills import is_media, is_pattern


def expand_inputs(words: list[str]) -> list[str]:
    """Files of folders, globs and names; a pattern of numbered pictures stays one input.

    The results of earlier runs inside a folder are left out.  Raises InputError for a folder or glob
    that holds nothing.
    """
    found: list[str] = []
    for word in words:
        path = Path(word)
        if word == "-" or is_pattern(path) or path.is_file():
            found.append(word)
        elif path.is_dir():
            members = sorted(p for p in path.iterdir() if p.is_file() and is_media(p) and not p.name.startswith("."))
            members = [p for p in members if not is_result(p)]
            if not members:
                raise InputError(f"cannot read {word}: the folder holds no videos or pictures")
            found += [str(p) for p in members]
        elif glob.has_magic(word):
            members = sorted(Path(name) for name in glob.iglob(word))  # noqa: PTH207 - a pattern may be absolute
            if not members:
                raise InputError(f"cannot read {word}: nothing matches")
            found += [str(p) for p in members if p.is_file()]
        else:
            found.append(word)
    return found


def is_result(path: Path) -> bool:
    """Whether a name is one that vrx gives."""
    marks = {".x2", ".x3", ".x4", ".deblur", ".inpaint"}
    return Path(path.stem).suffix in marks
