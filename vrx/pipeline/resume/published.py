"""Publication record: recognizes a result of the same command whose run was killed before it cleaned up.

A run that joins segments records the finished file, by its hash, in its hidden folder just before the file
gets its name.  The record is the last thing in the folder that is removed.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from vrx.files import sync
from vrx.pipeline.resume.journal import Fingerprint, regular_file_size
from vrx.pipeline.resume.workspace import disk_errors, folder_of
from vrx.weights import hashes

NOTE = "published.json"
MAX_BYTES = 1 << 20  # of a record


@dataclass(frozen=True, kw_only=True)
class Publication:
    """A finished file, and the fingerprint of the run that made it."""

    fingerprint: Fingerprint
    frames: int
    scenes: int
    size: int
    sha256: str


def record(result: Path, finished: Path, fingerprint: Fingerprint, counts: tuple[int, int]) -> None:
    """Record that `finished` is about to become `result`; `counts` are its frames and scenes.  Raises OutputError."""
    folder = folder_of(result)
    frames, scenes = counts
    with disk_errors(folder):
        found = Publication(
            fingerprint=fingerprint,
            frames=frames,
            scenes=scenes,
            size=finished.stat().st_size,
            sha256=hashes.sha256(finished),
        )
        (folder / NOTE).write_text(json.dumps(asdict(found)))
        sync(folder / NOTE)


def find(result: Path) -> Publication | None:
    """The record of the file under the result's name; None where there is none, or one of another file."""
    place = folder_of(result) / NOTE
    try:
        if regular_file_size(place) > MAX_BYTES:
            return None
        found = Publication(**json.loads(place.read_text()))
        if not (isinstance(found.frames, int) and isinstance(found.scenes, int)):
            return None
        same = result.is_file() and result.stat().st_size == found.size and hashes.sha256(result) == found.sha256
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return found if same else None


def forget(result: Path) -> None:
    """Remove the record, and the folder if nothing else is in it."""
    folder = folder_of(result)
    with contextlib.suppress(OSError):
        (folder / NOTE).unlink()
        folder.rmdir()
