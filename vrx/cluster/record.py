"""Record of a batch: which of its results are complete, so that the same command, run again, does the rest.

One file in the cache folder, for jobs and settings alike, with or without --until and -n; a result or an input that
changed meanwhile is not in it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from vrx.environment import Environment
from vrx.files import replace_file
from vrx.settings import Job

FOLDER = "clusters"


class BatchRecord:
    """The record of jobs whose results go to `outputs`."""

    def __init__(self, jobs: Sequence[Job], outputs: Sequence[Path | None]) -> None:
        self._jobs, self._outputs = jobs, outputs
        words = [repr(replace(job, output=replace(job.output, skip_existing=False))) for job in jobs]
        words += [str(path and path.absolute()) for path in outputs]
        name = sha256("\n".join(words).encode()).hexdigest()[:16]
        self._path = Environment.read().cache / FOLDER / f"{name}.json"
        self._done: dict[str, list[object]] = {}
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(self._path.read_text())
            self._done = found if isinstance(found, dict) else {}

    def frames_of(self, number: int) -> int | None:
        """The frames of a job's result that is complete and unchanged, as is its input; None for any other."""
        entry = self._done.get(str(number))
        if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[0], int):
            return None
        return entry[0] if entry[1] == self._marks(number) and entry[1] is not None else None

    def add(self, number: int, frames: int, result: Path | None = None) -> None:
        """A job's result is complete; `result` where it is still to be renamed, which keeps its size and time."""
        self._done[str(number)] = [frames, self._marks(number, result)]
        with contextlib.suppress(OSError):  # without it, -n does the same
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with replace_file(self._path) as partial:
                partial.write_text(json.dumps(self._done))

    def remove(self) -> None:
        """All results are complete, and reported."""
        self._path.unlink(missing_ok=True)

    def _marks(self, number: int, result: Path | None = None) -> list[int] | None:
        """Sizes and times of a job's input and result; None where one is not a file."""
        output = result or self._outputs[number]
        try:
            found = [path.stat() for path in (Path(self._jobs[number].source), output or Path())]
        except OSError:
            return None
        return [value for status in found for value in (status.st_size, status.st_mtime_ns)]
