"""What was seen of every checkpoint file: its hash, and the size and time that stand for having hashed it.

One JSON file beside the Hub's cache.  A file whose size and time are those noted is not hashed again.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from vrx.errors import ModelError
from vrx.weights import load

NAME = "vrx-seen.json"


class Ledger:
    """The notes of one cache folder; a file that cannot be kept only costs time."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        try:
            notes = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            notes = {}
        self._notes: dict[str, dict[str, object]] = {}
        if isinstance(notes, dict):
            self._notes = {key: note for key, note in notes.items() if isinstance(note, dict)}

    def check(self, key: str, path: Path, size: int | None, digest: str, force: bool = False) -> str:
        """Hash a file where it was not yet, and compare: with the catalogue, else with what was first seen.

        Returns the hash.  Raises ModelError; the file stays as it is.
        """
        try:
            held = path.stat()
        except OSError as error:
            raise ModelError(f"cannot read the checkpoint {path}: {error.strerror}") from error
        if size is not None and held.st_size != size:
            raise ModelError(f"the checkpoint {path} has {held.st_size} bytes, not {size}", remedy(key))
        note = self._notes.get(key, {})
        expected = digest or str(note.get("sha256", ""))
        fresh = note.get("size") == held.st_size and note.get("mtime_ns") == held.st_mtime_ns
        if fresh and not force and note.get("sha256") == expected:
            return expected
        found = load.sha256(path)
        if expected and found != expected:
            what = "the hash of the catalogue" if digest else "the hash it had when it was first seen"
            raise ModelError(f"the checkpoint {path} does not have {what}", remedy(key))
        self.note(key, found, held)
        return found

    def note(self, key: str, digest: str, held: os.stat_result) -> None:
        """Remember a file as hashed."""
        self._notes[key] = {"sha256": digest, "size": held.st_size, "mtime_ns": held.st_mtime_ns}
        self._keep()

    def forget(self, key: str) -> None:
        """Drop what is known of a file."""
        if self._notes.pop(key, None) is not None:
            self._keep()

    def _keep(self) -> None:
        partial = self._path.with_name(f"{NAME}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(self._notes, indent=1, sort_keys=True), encoding="utf-8")
            partial.replace(self._path)
        except OSError:
            partial.unlink(missing_ok=True)


def remedy(key: str) -> str:
    """What to do about a file that is not what it should be."""
    return f"Remove it with: vrx models rm NAME, then pull again ({key})"
