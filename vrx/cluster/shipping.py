"""Files that travel through Ray's object store, for nodes that do not see the driver's disks.

A file is put there in blocks, once; each node writes it to its own disk, once, whatever the number of its workers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock

from vrx.errors import InputError, UsageError
from vrx.files import replace_file
from vrx.media.file_types import is_pattern
from vrx.settings import Job

BLOCK = 32 << 20  # bytes of an object
FOLDER = "vrx-shipped"  # in the temporary folder of a node


@dataclass(frozen=True)
class Shipment:
    """A file of the driver at `path`: its bytes as references to objects, and their hash."""

    path: str
    size: int
    sha256: str
    blocks: tuple[Any, ...]


def files_of(job: Job) -> list[Path]:
    """The files that a job reads, its checkpoint apart.  Raises UsageError for folders and patterns."""
    found = [Path(job.source)]
    found += [] if job.restore.mask is None else [job.restore.mask]
    found += [] if job.selection.scenes in ("auto", "off") else [Path(job.selection.scenes)]
    for path in found:
        if path.is_dir() or is_pattern(path):
            raise UsageError(
                f"--ship sends single files, and {path} is many", "Put it on a file system that all nodes see"
            )
    return found


def size_of(job: Job) -> int:
    """Bytes that are shipped for a job."""
    return sum(path.stat().st_size for path in files_of(job) if path.is_file())


def ship(job: Job) -> tuple[Shipment, ...]:
    """Put the files of a job into the object store."""
    return tuple(map(put, files_of(job)))


def put(path: Path) -> Shipment:
    """Put a file into the object store.  Raises InputError."""
    import ray

    digest, blocks = sha256(), []
    try:
        with path.open("rb") as file:
            for block in iter(lambda: file.read(BLOCK), b""):
                digest.update(block)
                blocks.append(ray.put(block))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    return Shipment(str(path), path.stat().st_size, digest.hexdigest(), tuple(blocks))


def unpack(job: Job, shipments: tuple[Shipment, ...]) -> Job:
    """A job that reads this node's copies of what was shipped."""
    if not shipments:
        return job
    places = {shipment.path: receive(shipment) for shipment in shipments}
    mask = job.restore.mask
    scenes = places.get(job.selection.scenes)
    return replace(
        job,
        source=str(places[job.source]),
        restore=job.restore if mask is None else replace(job.restore, mask=places[str(mask)]),
        selection=job.selection if scenes is None else replace(job.selection, scenes=str(scenes)),
    )


def receive(shipment: Shipment) -> Path:
    """This node's copy of a file, written by the first that asks for it."""
    import ray

    folder = Path(tempfile.gettempdir()) / FOLDER / shipment.sha256
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / Path(shipment.path).name
    with FileLock(folder / ".lock"):
        if not path.exists():
            with replace_file(path) as partial, partial.open("wb") as file:
                file.writelines(ray.get(block) for block in shipment.blocks)
    return path


def read_pieces(path: Path) -> Iterator[bytes]:
    """The content of a file in blocks."""
    with path.open("rb") as file:
        yield from iter(lambda: file.read(BLOCK), b"")
