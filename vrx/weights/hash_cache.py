"""What was seen of every checkpoint file: its hash, and the size and time that stand for having hashed it.

One JSON file beside the Hub's cache.  A file whose size and time are those noted is not hashed again.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from vrx.errors import ModelError
from vrx.files import read_text
from vrx.weights import hashes, lock

NAME = "vrx-seen.json"
LARGEST = 64_000_000  # bytes of the notes
PATIENCE = 5.0  # seconds for another's note
Notes = dict[str, dict[str, object]]


class DamagedError(ModelError):
    """A file that is not what is known of it, from the catalogue or the Hub."""

    def __init__(self, path: Path, what: str, hint: str) -> None:
        super().__init__(f"the checkpoint {path} {what}", hint)
        self.path = path


class HashCache:
    """The notes of one cache folder; a file that cannot be kept only costs time."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._notes = self._read()

    def _read(self) -> Notes:
        try:
            notes = json.loads(read_text(self._path, LARGEST))
        except (OSError, ValueError, RecursionError):
            return {}
        held = notes.items() if isinstance(notes, dict) else ()
        return {key: note for key, note in held if isinstance(note, dict)}

    def check(self, key: str, path: Path, size: int | None, digest: str, force: bool = False) -> str:
        """Hash a file where it was not yet, and compare: with what is known, else with what was first seen.

        Returns the hash.  Raises DamagedError where it differs from `size` or `digest`, ModelError where it
        differs from what was first seen; the file stays as it is.
        """
        try:
            held = path.stat()
        except OSError as error:
            raise ModelError(f"cannot read the checkpoint {path}: {error.strerror}") from error
        if size is not None and held.st_size != size:
            raise DamagedError(path, f"has {held.st_size} bytes, not {size}", remedy(key))
        note = self._notes.get(key, {})
        expected = digest or str(note.get("sha256", ""))
        fresh = note.get("size") == held.st_size and note.get("mtime_ns") == held.st_mtime_ns
        if fresh and not force and note.get("sha256") == expected:
            return expected
        try:
            found = hashes.sha256(path)
        except OSError as error:
            raise ModelError(f"cannot read the checkpoint {path}: {error.strerror or error}") from error
        if digest and found != digest:
            raise DamagedError(path, "does not have the hash that is known of it", remedy(key))
        if expected and found != expected:
            raise ModelError(f"the checkpoint {path} does not have the hash it had when it was first seen", remedy(key))
        self.note(key, found, held)
        return found

    def note(self, key: str, digest: str, held: os.stat_result) -> None:
        """Remember a file as hashed."""
        self._change(key, {"sha256": digest, "size": held.st_size, "mtime_ns": held.st_mtime_ns})

    def forget(self, key: str) -> None:
        """Drop what is known of a file."""
        if key in self._notes:
            self._change(key, None)

    def _change(self, key: str, note: dict[str, object] | None) -> None:
        """One note, among those that others wrote meanwhile."""
        partial = self._path.with_name(f"{NAME}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with lock.hold(self._path.with_name(f"{NAME}.lock"), lambda: 0, PATIENCE):
                self._notes = {k: n for k, n in self._read().items() if k != key}
                if note is not None:
                    self._notes[key] = note
                partial.write_text(json.dumps(self._notes, indent=1, sort_keys=True), encoding="utf-8")
                partial.replace(self._path)
        except (OSError, ModelError):
            partial.unlink(missing_ok=True)
            if note is not None:
                self._notes[key] = note


def remedy(key: str) -> str:
    """What to do about a file that is not what it should be."""
    return f"Remove it with: vrx models rm NAME, then pull again ({key})"
