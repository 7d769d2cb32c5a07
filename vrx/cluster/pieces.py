"""Results that workers send back, in pieces: where these are put together on the driver's machine."""

from __future__ import annotations

from pathlib import Path

from vrx.cluster.crew import Worker
from vrx.cluster.files import Task
from vrx.cluster.units import Piece, SpanUnit
from vrx.errors import OutputError
from vrx.media.atomic import write_error


def piece_prefix(worker: Worker) -> str:
    """What the names of files begin with while a worker sends them."""
    return f".{worker.name.replace(' ', '-')}."


def folder_of(task: Task) -> Path:
    """Where what a task makes is to be on the driver's machine."""
    if isinstance(task.unit, SpanUnit):
        return task.unit.folder
    assert task.file.staging is not None
    return task.file.staging


def take_in(folder: Path, prefix: str, piece: Piece) -> None:
    """Write a piece of a file that is sent back; the first replaces what was sent before.  Raises OutputError."""
    if Path(piece.name).name != piece.name:
        raise OutputError(f"refused to write {piece.name}")
    path = folder / f"{prefix}{piece.name}"
    try:
        with path.open("wb" if piece.first else "ab") as file:
            file.write(piece.content)
    except OSError as error:
        raise write_error(path, error) from error
