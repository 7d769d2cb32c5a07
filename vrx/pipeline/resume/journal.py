"""What outlives a run: the finished parts of a result, and the place where the stream goes on.

A folder beside the result holds the encoded parts, the stream's state after the last of them, and a
journal that is replaced as a whole after every part: whatever happens, it describes parts that are
complete.  It also holds a fingerprint of all that decides what the result looks like; work of another
fingerprint is never continued.  Nothing there is believed without its hash: parts and state have theirs
in the journal, the journal has its own, and what it says must also make sense.
"""

from __future__ import annotations

import json
import re
import stat
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

from vrx.errors import VrxError
from vrx.media.atomic import sync
from vrx.media.segments import Segment
from vrx.models.base import SceneStart
from vrx.pipeline.executor import StreamState
from vrx.pipeline.resume import stream_state
from vrx.pipeline.resume.workspace import JOURNAL, Workspace, disk_errors
from vrx.weights import hashes

FORMAT = 2
STATE = "state-{}.safetensors"
JOURNAL_MAX = 64 << 20  # bytes; ten hours take less than one million
CHECKSUM = "sha256"  # of all other keys
RATIONAL = re.compile(r"-?\d{1,40}(/\d{1,40})?", re.ASCII)
DAMAGE = (KeyError, TypeError, AttributeError, ValueError, RecursionError, ArithmeticError, OSError, VrxError)

Fingerprint = dict[str, str]


@dataclass(frozen=True)
class ResumePoint:
    """What a journal tells: the finished parts, and where the stream goes on after them."""

    segments: tuple[Segment, ...] = ()
    state: StreamState | None = None

    @property
    def frames(self) -> int:
        """Frames in the parts."""
        return sum(segment.frames for segment in self.segments)


class Journal:
    """The kept work of one result.  A context manager: inside it no other process may hold the same.

    `kept` is what can be continued; `differs` names why an earlier run's work cannot.  Raises OutputError.
    """

    def __init__(self, result: Path, fingerprint: Fingerprint) -> None:
        self._fingerprint = fingerprint
        self.resume_point = ResumePoint()
        self.differs: tuple[str, ...] = ()
        self._parts: list[dict[str, Any]] = []
        self._workspace = Workspace(result)
        self.folder = self._workspace.folder
        try:
            with disk_errors(self.folder):
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
        self._workspace.close()

    @property
    def fingerprint(self) -> Fingerprint:
        """What decides how the result looks."""
        return self._fingerprint

    def count_saved_frames(self) -> int:
        """Frames that stand in the journal now: whatever interrupted this run, they are what the next one has."""
        try:
            return sum(whole(part["frames"], 1) for part in read_content(self.folder / JOURNAL)["segments"])
        except DAMAGE:
            return 0

    def remove(self) -> None:
        """Remove everything: the result is published, or nothing was worth keeping."""
        self.resume_point, self._parts = ResumePoint(), []
        self._workspace.remove()

    def segment_path(self, suffix: str) -> Path:
        """The name of the next part."""
        return self.folder / part_name(len(self.resume_point.segments), suffix)

    def add(self, segment: Segment, state: StreamState) -> None:
        """Note a finished part, and the stream's state after it.  Raises OutputError."""
        with disk_errors(self.folder):
            self._change(segment, state)

    # ------------------------------------------------------------ reading

    def _recall(self) -> None:
        """Take up what an earlier run left, or clear it away."""
        if self._workspace.holds_parts():  # else a first run, or one that was stopped before its first part
            try:
                content = read_content(self.folder / JOURNAL)
                self.differs = self._differences(content)
                if not self.differs:
                    self.resume_point = self._understood(content)
                    self._parts = content["segments"]
            except DAMAGE:
                self.differs = ("damaged files",)
        if not self.resume_point.segments:
            self._workspace.clear()
            return
        state = [entry.name for entry in self.folder.glob(STATE.format("*"))]
        self._workspace.clear(keep={JOURNAL, *state, *(segment.path.name for segment in self.resume_point.segments)})

    def _differences(self, content: dict[str, Any]) -> tuple[str, ...]:
        before = content["fingerprint"] if content["format"] == FORMAT else {}
        names = before.keys() | self._fingerprint.keys()
        return tuple(sorted(n for n in names if before.get(n) != self._fingerprint.get(n)))

    def _understood(self, content: dict[str, Any]) -> ResumePoint:
        segments: list[Segment] = []
        for number, part in enumerate(content["segments"]):
            path = self.folder / part["name"]
            if part["name"] != part_name(number, path.suffix):
                raise ValueError("a part out of its place")
            check_file(path, part)
            segment = Segment(path, whole(part["frames"], 1), rational(part["begin"]))
            if segments and segment.begin <= segments[-1].begin:
                raise ValueError("a part that begins before the one before it")
            segments.append(segment)
        scene, frame = whole(content["scene"], 0), whole(content["frame"], 1)
        if frame != sum(segment.frames for segment in segments):
            raise ValueError("a place that is not the end of the parts")
        return ResumePoint(tuple(segments), self._state(content["state"], len(segments), scene, frame))

    def _state(self, told: dict[str, Any] | None, parts: int, scene: int, frame: int) -> StreamState:
        """The stream's state after `parts` parts."""
        if told is None:
            return StreamState(SceneStart(scene, (0, 0), (0, 0)), 0, frame)
        if told["name"] != STATE.format(parts):
            raise ValueError("a state of another place")
        check_file(self.folder / told["name"], told)
        state = stream_state.read(self.folder / told["name"])
        if (state.scene.number, state.frame) != (scene, frame):
            raise ValueError("a state of another place")
        return state

    # ------------------------------------------------------------ writing

    def _change(self, segment: Segment, state: StreamState) -> None:
        """Write state and journal so that a reader finds the old or the new, whenever power fails."""
        parts = [*self._parts, record(segment)]
        name = None
        if state.stages:
            name = STATE.format(len(parts))
            stream_state.write(state, self.folder / name)
            sync(self.folder / name)
        content = {
            "format": FORMAT,
            "fingerprint": self._fingerprint,
            "segments": parts,
            "scene": state.scene.number,
            "frame": state.frame,
            "state": None if name is None else stamp(self.folder / name),
        }
        partial = self.folder / f"{JOURNAL}.part"
        partial.write_text(json.dumps({**content, CHECKSUM: checksum(content)}, indent=1))
        sync(partial)
        partial.replace(self.folder / JOURNAL)
        sync(self.folder)
        self.resume_point, self._parts = ResumePoint((*self.resume_point.segments, segment), state), parts
        for old in self.folder.glob(STATE.format("*")):
            if old.name != name:
                old.unlink()


def part_name(number: int, suffix: str) -> str:
    """The name of a part, counted from zero."""
    return f"{number:06d}{suffix}"


def stamp(path: Path) -> dict[str, Any]:
    """A file as the journal knows it."""
    return {"name": path.name, "size": path.stat().st_size, "sha256": hashes.sha256(path)}


def record(segment: Segment) -> dict[str, Any]:
    """A part as the journal knows it."""
    return {"frames": segment.frames, "begin": str(segment.begin), **stamp(segment.path)}


def checksum(content: dict[str, Any]) -> str:
    """The hash of a journal's content, however it is laid out."""
    return sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_content(path: Path) -> dict[str, Any]:
    """A journal's content, whole and unchanged since it was written.  Raises one of DAMAGE."""
    if plain_size(path) > JOURNAL_MAX:
        raise ValueError("a journal of such a size")
    content = json.loads(path.read_text())
    if content.pop(CHECKSUM) != checksum(content):
        raise ValueError("a journal that is not what was written")
    return dict(content)


def check_file(path: Path, told: dict[str, Any]) -> None:
    """See that a file is the one that was written.  Raises ValueError or OSError."""
    if plain_size(path) != told["size"] or hashes.sha256(path) != told["sha256"]:
        raise ValueError(f"{path.name} is not what was written")


def plain_size(path: Path) -> int:
    """The size of a plain file; anything else (a link, a pipe, a device) could never end.  Raises ValueError."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path.name} is not a plain file")
    return found.st_size


def whole(value: object, least: int) -> int:
    """A whole number of at least `least`.  Raises ValueError."""
    if type(value) is not int or value < least:
        raise ValueError(f"{value!r} where a number is expected")
    return value


def rational(value: str) -> Fraction:
    """A time in seconds as the journal writes it.  Raises ValueError."""
    if not RATIONAL.fullmatch(value):
        raise ValueError(f"{value!r} where a time is expected")
    return Fraction(value)
