"""Atomic output files: written beside the final name, checked, synced and renamed."""

from __future__ import annotations

import os
from pathlib import Path

import av
import av.error

from vrx.errors import DISK_FULL, OutputError
from vrx.files import sync


def make_folder(path: Path) -> None:
    """Make a folder.  Raises OutputError."""
    try:
        path.mkdir()
    except OSError as error:
        raise write_error(path, error) from error


def write_error(path: Path, error: OSError) -> OutputError:
    """A disk error as one line, with a hint where the disk is full."""
    hint = "Free some space and run the same command again" if error.errno in DISK_FULL else ""
    return OutputError(f"cannot write {path}: {error.strerror}", hint)


def count_frames(path: Path) -> int:
    """Video packets of a finished file: one per displayed frame with every encoder vrx runs."""
    try:
        with av.open(f"file:{path}") as box:
            stream = box.streams.video[0]
            return sum(1 for packet in box.demux(stream) if packet.size)
    except (av.error.FFmpegError, OSError, IndexError):
        return 0


def commit(partial: Path, path: Path, overwrite: bool) -> None:
    """Sync a finished file and rename it to `path`; replace an existing file only if `overwrite`."""
    try:
        sync(partial)
        if overwrite:
            partial.replace(path)
        else:
            try:
                os.link(partial, path)  # fails where the name was taken meanwhile, as rename does not
            except FileExistsError:
                raise OutputError(f"{path} was created by someone else meanwhile", "Add -y to replace it") from None
            except OSError:
                partial.replace(path)  # a file system without links
            else:
                partial.unlink()
        sync(path.parent)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise write_error(path, error) from error
