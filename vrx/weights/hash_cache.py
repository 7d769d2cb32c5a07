"""The hash cache: hash, size and time of every checkpoint file that was verified.

One JSON file beside the Hub's cache.  A file whose size and time are those recorded is not hashed again.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from vrx.errors import ModelError
from vrx.files import read_text, replace_file
from vrx.weights import hashes, lock

log = logging.getLogger(__name__)

NAME = "vrx-seen.json"
MAX_BYTES = 64_000_000  # of the file
LOCK_SECONDS = 5.0  # to wait for another process that writes
Records = dict[str, dict[str, object]]


class DamagedError(ModelError):
    """A file whose size or hash is not that of the catalogue or the Hub."""

    def __init__(self, path: Path, what: str, hint: str) -> None:
        super().__init__(f"the checkpoint {path} {what}", hint)
        self.path = path


class HashCache:
    """The records of one cache folder; a file that cannot be written only costs time."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._records = self._read()

    def _read(self) -> Records:
        try:
            records = json.loads(read_text(self._path, MAX_BYTES))
        except (OSError, ValueError, RecursionError):
            return {}
        items = records.items() if isinstance(records, dict) else ()
        return {key: record for key, record in items if isinstance(record, dict)}

    def check(self, key: str, path: Path, size: int | None, digest: str, force: bool = False) -> str:
        """Hash a file unless a record of it is valid, and compare: with `digest`, else with the recorded hash.

        Returns the hash.  Raises DamagedError where the file differs from `size` or `digest`, ModelError where it
        differs from the record; the file stays as it is.
        """
        try:
            status = path.stat()
        except OSError as error:
            raise ModelError(f"cannot read the checkpoint {path}: {error.strerror}") from error
        if size is not None and status.st_size != size:
            raise DamagedError(path, f"has {status.st_size} bytes, not {size}", hint_for(key))
        record = self._records.get(key, {})
        expected = digest or str(record.get("sha256", ""))
        valid = record.get("size") == status.st_size and record.get("mtime_ns") == status.st_mtime_ns
        if valid and not force and record.get("sha256") == expected:
            log.debug("%s: hash known", path)
            return expected
        log.debug("%s: hashing %d bytes", path, status.st_size)
        try:
            found = hashes.sha256(path)
        except OSError as error:
            raise ModelError(f"cannot read the checkpoint {path}: {error.strerror or error}") from error
        if digest and found != digest:
            raise DamagedError(path, "does not have its published hash", hint_for(key))
        if expected and found != expected:
            raise ModelError(f"the checkpoint {path} has changed since it was first verified", hint_for(key))
        self.record(key, found, status)
        return found

    def record(self, key: str, digest: str, status: os.stat_result) -> None:
        """Record the hash of a file, and the size and time it had."""
        self._change(key, {"sha256": digest, "size": status.st_size, "mtime_ns": status.st_mtime_ns})

    def forget(self, key: str) -> None:
        """Remove the record of a file."""
        if key in self._records:
            self._change(key, None)

    def _change(self, key: str, record: dict[str, object] | None) -> None:
        """Change one record, among those that other processes wrote meanwhile."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with lock.hold(self._path.with_name(f"{NAME}.lock"), lambda: 0, LOCK_SECONDS):
                self._records = {k: r for k, r in self._read().items() if k != key}
                if record is not None:
                    self._records[key] = record
                with replace_file(self._path) as partial:
                    partial.write_text(json.dumps(self._records, indent=1, sort_keys=True), encoding="utf-8")
        except (OSError, ModelError):
            if record is not None:
                self._records[key] = record


def hint_for(key: str) -> str:
    """What to do about a wrong file."""
    return f"Remove it with: vrx models rm NAME, then pull again ({key})"
