"""Files that travel through Ray's object store, for nodes that do not see the driver's disks.

What a job reads is put there in blocks, once; each node writes it to its own disk, once, whatever the number of its
workers, and removes it when the job is done.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock

from vrx.errors import InputError
from vrx.media.file_types import is_media, is_pattern, sequence_members
from vrx.settings import Job

BLOCK = 32 << 20  # bytes of an object
FOLDER = "vrx-shipped"  # in the temporary folder of a node


@dataclass(frozen=True)
class Shipment:
    """What a job of the driver reads at `path`: a file, a folder of pictures or a numbered pattern.

    `members` are the names and sizes of its files, `blocks` their bytes, one file after the other, as references to
    objects.  `key` names it on every node; other jobs have other keys for the same content.
    """

    path: str
    folder: bool
    members: tuple[tuple[str, int], ...]
    blocks: tuple[Any, ...]
    key: str


def paths_of(job: Job) -> list[Path]:
    """What a job reads, its checkpoint apart."""
    found = [Path(job.source)]
    found += [] if job.restore.mask is None else [job.restore.mask]
    return found + ([] if job.selection.scenes in ("auto", "off") else [Path(job.selection.scenes)])


def members_of(path: Path) -> list[Path]:
    """The files of what a job reads: of a folder its pictures and videos, of a pattern the numbered ones."""
    if path.is_dir():
        return sorted(p for p in path.iterdir() if is_media(p) and p.is_file())
    return sequence_members(path) if is_pattern(path) else [path]


def size_of(job: Job) -> int:
    """Bytes that are shipped for a job; what does not exist has none."""
    return sum(map(bytes_at, paths_of(job)))


def source_size(job: Job) -> int:
    """Bytes of a job's source, of all pictures of a pattern; 0 where there is none."""
    return bytes_at(Path(job.source))


def bytes_at(path: Path) -> int:
    """Bytes of the files of what a job reads."""
    return sum(member.stat().st_size for member in members_of(path) if member.is_file())


def ship(job: Job, number: int) -> tuple[Shipment, ...]:
    """Put what the job of a number reads into the object store.  Raises InputError."""
    return tuple(put(path, number) for path in paths_of(job))


def put(path: Path, number: int) -> Shipment:
    """Put a file, a folder or a pattern of a job into the object store.  Raises InputError."""
    import ray

    files = members_of(path)
    if not files:
        raise InputError(f"cannot read {path}: no such files")
    members: list[tuple[str, int]] = []
    digest, blocks = sha256(f"{number} {path}".encode()), []
    for block in join_blocks(read_members(files, members)):
        digest.update(block)
        blocks.append(ray.put(block))
    digest.update(repr(members).encode())
    return Shipment(str(path), path.is_dir(), tuple(members), tuple(blocks), digest.hexdigest())


def read_members(files: Iterable[Path], members: list[tuple[str, int]]) -> Iterator[bytes]:
    """The content of files in pieces; what was read of each goes to `members`.  Raises InputError."""
    for file in files:
        size = 0
        try:
            for piece in read_pieces(file):
                size += len(piece)
                yield piece
        except OSError as error:
            raise InputError(f"cannot read {file}: {error.strerror}") from error
        members.append((file.name, size))


def join_blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces joined to blocks: an object for each of many small files would take longer than its bytes."""
    held = bytearray()
    for piece in pieces:
        if held and len(held) + len(piece) > BLOCK:
            yield bytes(held)
            held.clear()
        held += piece
    if held:
        yield bytes(held)


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
    """This node's copy of what was shipped, written by the first that asks for it."""
    import ray

    top = Path(tempfile.gettempdir()) / FOLDER
    top.mkdir(parents=True, exist_ok=True)
    folder = top / shipment.key
    with FileLock(top / f"{shipment.key}.lock"):
        if not folder.exists():
            partial = Path(tempfile.mkdtemp(prefix=f".{shipment.key}.", dir=top))
            try:
                write_members(shipment, (ray.get(block) for block in shipment.blocks), partial)
                partial.rename(folder)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
    return copy_of(shipment)


def copy_of(shipment: Shipment) -> Path:
    """Where a node has its copy of what was shipped."""
    folder = Path(tempfile.gettempdir()) / FOLDER / shipment.key
    return folder if shipment.folder else folder / Path(shipment.path).name


def name_originals(text: str, shipments: Iterable[Shipment]) -> str:
    """A text in which copies have the names of what they are copies of."""
    for shipment in shipments:
        text = text.replace(str(copy_of(shipment)), shipment.path)
    return text


def write_members(shipment: Shipment, blocks: Iterator[bytes], folder: Path) -> None:
    """Write the files of a shipment from its blocks."""
    block = memoryview(b"")
    for name, size in shipment.members:
        with (folder / name).open("wb") as file:
            while size:
                block = block or memoryview(next(blocks))
                part, block = block[:size], block[size:]
                size -= file.write(part)


def forget(keys: Iterable[str]) -> None:
    """Remove this node's copies of what was shipped, if it has any."""
    top = Path(tempfile.gettempdir()) / FOLDER
    for key in keys:
        shutil.rmtree(top / key, ignore_errors=True)
        (top / f"{key}.lock").unlink(missing_ok=True)


def read_pieces(path: Path) -> Iterator[bytes]:
    """The content of a file in blocks."""
    with path.open("rb") as file:
        yield from iter(lambda: file.read(BLOCK), b"")
