"""Addresses (`https://...`) in place of files: vrx opens and writes none, and says what to do instead."""

from __future__ import annotations

import re
import shlex
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from vrx.errors import InputError, UsageError
from vrx.media.file_types import is_media, is_still

SCHEME = r"[A-Za-z][A-Za-z0-9+.-]+:"  # of two letters and more: one is a drive
ADDRESS = re.compile(f"{SCHEME}//")
PATH_OF_ADDRESS = re.compile(f"({SCHEME})/+")  # as pathlib has it
PAGES = {"http", "https"}
DOWNLOADABLE = PAGES | {"ftp", "ftps", "sftp"}  # what curl downloads, too
PLAYLISTS = {".m3u8", ".mpd"}  # of streams


def refuse_address(word: str, command: str | None = None) -> None:
    """Refuse an address as an input of a command; None where it reads no standard input.  Raises InputError."""
    if ADDRESS.match(word) and not Path(word).exists():
        raise InputError(f"cannot read {word}: vrx does not open addresses", address_hint(word, command))


def refuse_address_to_write(word: str, option: str = "-o") -> None:
    """Refuse an address as the name of a result, also one that became a path.  Raises UsageError."""
    if PATH_OF_ADDRESS.match(word) and not Path(word).parent.is_dir():
        word = PATH_OF_ADDRESS.sub(r"\1//", word, count=1)
        hint = f"Name a file with {option}, and upload it when it is done"
        raise UsageError(f"cannot write {word}: vrx does not write to addresses", hint)


def address_hint(address: str, command: str | None) -> str:
    """The line that brings what is at an address, a file, a stream, a page, to a command; without one, what to do."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "Download it first"
    path, scheme = PurePosixPath(unquote(parts.path)), parts.scheme.lower()
    if scheme == "file":
        return f"Name the file by its path: {path}"
    if command is None:
        return "Download it first"
    quoted, result = shlex.quote(address), "out.png" if is_still(Path(path.name)) else "out.mp4"
    if scheme in DOWNLOADABLE and is_media(Path(path.name)):
        source = f"curl -fL {quoted}"
    elif scheme in PAGES and path.suffix.lower() not in PLAYLISTS:
        source = f"yt-dlp -o - {quoted}"
    else:
        source = f"ffmpeg -i {quoted} -c copy -f nut -"
    return f"Pipe it in: {source} | vrx {command} - -o {result}"
