"""What outlives a run: the finished parts of a result, and the place where the stream goes on.

A folder beside the result holds the encoded parts, the stream's state after the last of them, and a
journal that is replaced as a whole after every part: whatever happens, it describes parts that are
complete.  It also holds a fingerprint of all that decides what the result looks like; work of another
fingerprint is never continued.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vrx.errors import OutputError, VrxError
from vrx.media.publish import sync
from vrx.media.segments import Segment
from vrx.pipeline import snapshot
from vrx.pipeline.stages import StreamState
from vrx.restorers.base import SceneStart
from vrx.weights import disk

FORMAT = 1
JOURNAL, STATE, LOCK = "journal.json", "state-{}.safetensors", "lock"
PART = re.compile(r"\d{6}\.\w+")  # the name of one
LONGEST = 80  # characters of a result's name that its folder is named by

Fingerprint = dict[str, str]


@dataclass(frozen=True)
class Kept:
    """What a journal tells: the finished parts, and where the stream goes on after them."""

    segments: tuple[Segment, ...] = ()
    state: StreamState | None = None

    @property
    def frames(self) -> int:
        """Frames in the parts."""
        return sum(segment.frames for segment in self.segments)


def folder_of(result: Path) -> Path:
    """Where the parts of a result are kept."""
    name = result.name
    if len(name) > LONGEST:
        name = f"{name[:LONGEST]}-{sha256(os.fsencode(name)).hexdigest()[:8]}"
    return result.with_name(f".{name}.vrx")


class Journal:
    """The kept work of one result.  A context manager: inside it no other process may hold the same.

    `kept` is what can be continued; `differs` names why an earlier run's work cannot.  Raises OutputError.
    """

    def __init__(self, result: Path, fingerprint: Fingerprint) -> None:
        self.folder, self._fingerprint = folder_of(result), fingerprint
        self.kept = Kept()
        self.differs: tuple[str, ...] = ()
        self._parts: list[dict[str, Any]] = []
        self._lock = FileLock(self.folder / LOCK)  # the system lets go of it for those who are killed
        with told_of(self.folder):
            self.folder.mkdir(exist_ok=True)
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise OutputError(
                    f"another vrx is writing {result}", "Wait for it, or choose another name with -o"
                ) from None
            except NotImplementedError as error:
                self.remove()
                raise OutputError(f"cannot lock files in {self.folder.parent}", "Use --no-resume there") from error
            try:
                self._recall()
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it; the folder stays where it holds parts."""
        if not (self.folder / JOURNAL).exists():
            self.remove()
        self._lock.release()

    @property
    def fingerprint(self) -> Fingerprint:
        """What decides how the result looks."""
        return self._fingerprint

    def left(self) -> int:
        """Frames that stand in the journal now: whatever interrupted this run, they are what the next one has."""
        try:
            return sum(part["frames"] for part in json.loads((self.folder / JOURNAL).read_text())["segments"])
        except OSError:
            return 0

    def remove(self) -> None:
        """Remove everything: the result is published, or nothing was worth keeping."""
        self.kept, self._parts = Kept(), []
        shutil.rmtree(self.folder, ignore_errors=True)

    def segment_path(self, suffix: str) -> Path:
        """The name of the next part."""
        return self.folder / f"{len(self.kept.segments):06d}{suffix}"

    def add(self, segment: Segment, state: StreamState) -> None:
        """Note a finished part, and the stream's state after it."""
        with told_of(self.folder):
            self._change(segment, state)

    # ------------------------------------------------------------ reading

    def _recall(self) -> None:
        """Take up what an earlier run left, or clear it away."""
        if (self.folder / JOURNAL).exists():  # else it is a first run, or one that was stopped before its first part
            try:
                told = json.loads((self.folder / JOURNAL).read_text())
                self.differs = self._differences(told)
                if not self.differs:
                    self.kept = self._understood(told)
                    self._parts = told["segments"]
            except (KeyError, TypeError, AttributeError, ValueError, OSError, VrxError):
                self.differs = ("damaged files",)
        for path in self.folder.iterdir():  # parts that were under way are hidden
            if path.name != LOCK and (path.name.startswith(".") or not self.kept.segments):
                path.unlink()

    def _differences(self, told: dict[str, Any]) -> tuple[str, ...]:
        before = told["fingerprint"] if told["format"] == FORMAT else {}
        names = before.keys() | self._fingerprint.keys()
        return tuple(sorted(n for n in names if before.get(n) != self._fingerprint.get(n)))

    def _understood(self, told: dict[str, Any]) -> Kept:
        segments = []
        for part in told["segments"]:
            path = self.folder / part["name"]
            if not PART.fullmatch(part["name"]):
                raise ValueError("a part of another folder")
            if path.stat().st_size != part["size"] or disk.sha256(path) != part["sha256"]:
                raise ValueError("a part is not what was written")
            segments.append(Segment(path, int(part["frames"]), Fraction(part["begin"])))
        if told["state"] is not None:
            return Kept(tuple(segments), snapshot.read(self.folder / Path(told["state"]).name))
        scene = SceneStart(int(told["scene"]), (0, 0), (0, 0))
        return Kept(tuple(segments), StreamState(scene, 0, int(told["frame"])))

    # ------------------------------------------------------------ writing

    def _change(self, segment: Segment, state: StreamState) -> None:
        """Write state and journal so that a reader finds the old or the new, whenever power fails."""
        parts = [*self._parts, record(segment)]
        name = None
        if state.stages:
            name = STATE.format(len(parts))
            snapshot.write(state, self.folder / name)
            sync(self.folder / name)
        told = {
            "format": FORMAT,
            "fingerprint": self._fingerprint,
            "segments": parts,
            "scene": state.scene.number,
            "frame": state.frame,
            "state": name,
        }
        partial = self.folder / f"{JOURNAL}.part"
        partial.write_text(json.dumps(told, indent=1))
        sync(partial)
        partial.replace(self.folder / JOURNAL)
        sync(self.folder)
        self.kept, self._parts = Kept((*self.kept.segments, segment), state), parts
        for old in self.folder.glob(STATE.format("*")):
            if old.name != name:
                old.unlink()


def record(segment: Segment) -> dict[str, Any]:
    """A part as the journal knows it."""
    return {
        "name": segment.path.name,
        "frames": segment.frames,
        "begin": str(segment.begin),
        "size": segment.path.stat().st_size,
        "sha256": disk.sha256(segment.path),
    }


@contextmanager
def told_of(folder: Path) -> Iterator[None]:
    """Failures of the disk as one line."""
    try:
        yield
    except OSError as error:
        if isinstance(error, VrxError):
            raise
        hint = "Free some space and run the same command again" if error.errno == errno.ENOSPC else ""
        raise OutputError(f"cannot write into {folder}: {error.strerror}", hint) from error
