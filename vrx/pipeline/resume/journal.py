"""Resume journal: finished segments and stream state of an interrupted run.

A folder beside the result holds the encoded segments, the stream's state after the last of them, and a
journal that is replaced atomically after every segment: whatever happens, it describes segments that are
complete.  Of a run that stopped at its deadline there may be a tail: frames after the last segment, as they are, so
that the segment which they begin is encoded as in a run that did not stop.  It also holds a fingerprint of
everything that decides what the result looks like; work with another fingerprint is never continued.  Nothing there
is trusted without its hash: segments, tail and state have theirs in the journal, the journal has its own, and its
values must also be consistent.
"""

from __future__ import annotations

import json
import re
import stat
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Self

from vrx.errors import VrxError
from vrx.files import replace_file
from vrx.media.segments import Segment
from vrx.models.base import SceneStart
from vrx.pipeline.executor import StreamState
from vrx.pipeline.resume import stream_state
from vrx.pipeline.resume.workspace import JOURNAL, Workspace, disk_errors
from vrx.weights import hashes

STATE, TAIL = "state-{}.safetensors", "tail-{}.raw"  # by the number of frames that were written before
TAIL_NAME = re.compile(r"tail-\d+\.raw", re.ASCII)
JOURNAL_MAX = 64 << 20  # bytes; ten hours take less than one million
CHECKSUM = "sha256"  # of all other keys
RATIONAL = re.compile(r"-?\d{1,40}(/\d{1,40})?", re.ASCII)
DAMAGE = (KeyError, TypeError, AttributeError, ValueError, RecursionError, ArithmeticError, OSError, VrxError)

Fingerprint = dict[str, str]


@dataclass(frozen=True)
class Tail:
    """Frames after the last segment, as `media/raw_frames` holds them: the file, and their times in seconds."""

    path: Path
    times: tuple[Fraction, ...]


@dataclass(frozen=True)
class ResumePoint:
    """Where an interrupted run can be continued: finished segments, a tail, and the stream's state after them."""

    segments: tuple[Segment, ...] = ()
    state: StreamState | None = None
    tail: Tail | None = None

    @property
    def segmented(self) -> int:
        """Frames in the segments."""
        return sum(segment.frames for segment in self.segments)

    @property
    def frames(self) -> int:
        """Frames in the segments and the tail."""
        return self.segmented + (len(self.tail.times) if self.tail else 0)


class SavedWork(ABC):
    """Base of journals: the saved work of one result.  A context manager: meanwhile no other process can open the same.

    `fingerprint` is everything that decides what the result looks like; `differs` names why an earlier run's work
    cannot be continued.  Raises OutputError.
    """

    FORMAT: ClassVar[int | str]  # a number for parts in their order, a name for spans

    def __init__(self, result: Path, fingerprint: Fingerprint) -> None:
        self.fingerprint = fingerprint
        self.differs: tuple[str, ...] = ()
        self._workspace = Workspace(result)
        self.folder = self._workspace.folder
        try:
            with disk_errors(self.folder):
                self._load()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock; the folder stays if it holds segments."""
        self._workspace.close()

    @abstractmethod
    def _load(self) -> None:
        """Load what an earlier run saved, and delete what cannot be used."""

    def _differences(self, content: dict[str, Any]) -> tuple[str, ...]:
        """In what the run that saved this differs from this one.  Raises one of DAMAGE."""
        if content["format"] != self.FORMAT:
            mixed = isinstance(content["format"], str) != isinstance(self.FORMAT, str)
            return ("how it is divided" if mixed else "the format of its record",)
        before, now = content["fingerprint"], self.fingerprint
        return tuple(sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name)))

    def _write(self, name: str, content: dict[str, Any]) -> None:
        """Replace a file in one step."""
        content = {"format": self.FORMAT, "fingerprint": self.fingerprint, **content}
        with replace_file(self.folder / name) as partial:
            partial.write_text(json.dumps({**content, CHECKSUM: checksum(content)}, indent=1))


class Journal(SavedWork):
    """The saved work of a result that is restored from its beginning to its end.

    `resume_point` is what can be continued.
    """

    FORMAT = 3

    def __init__(self, result: Path, fingerprint: Fingerprint) -> None:
        self.resume_point = ResumePoint()
        self._records: list[dict[str, Any]] = []
        super().__init__(result, fingerprint)

    def count_saved_frames(self) -> int:
        """Frames in the journal on disk: those that the next run will not restore again."""
        try:
            return parse_count(read_content(self.folder / JOURNAL)["frame"], 1)
        except DAMAGE:
            return 0

    def remove(self) -> None:
        """Delete the journal folder."""
        self.resume_point, self._records = ResumePoint(), []
        self._workspace.remove()

    def segment_path(self, suffix: str) -> Path:
        """The path of the next segment."""
        return self.folder / segment_name(len(self.resume_point.segments), suffix)

    def tail_path(self, frames: int) -> Path:
        """The path of a tail that begins to be written when `frames` frames are."""
        return self.folder / TAIL.format(frames)

    def add(self, segment: Segment, state: StreamState) -> None:
        """Record a finished segment, and the stream's state after it.  Raises OutputError."""
        with disk_errors(self.folder):
            records = [*self._records, describe_segment(segment)]
            self._record(ResumePoint((*self.resume_point.segments, segment), state), records)

    def add_tail(self, tail: Tail, state: StreamState) -> None:
        """Record the frames after the last segment, and the stream's state after them.  Raises OutputError."""
        with disk_errors(self.folder):
            self._record(ResumePoint(self.resume_point.segments, state, tail), self._records)

    # ------------------------------------------------------------ reading

    def _load(self) -> None:
        if self._workspace.has_segments():  # else a first run, or one that was stopped before its first segment
            try:
                content = read_content(self.folder / JOURNAL)
                self.differs = self._differences(content)
                if not self.differs:
                    self.resume_point = self._parse(content)
                    self._records = content["segments"]
            except DAMAGE:
                self.differs = ("damaged files",)
        point = self.resume_point
        if point.state is None:
            self._workspace.clear()
            return
        state = [entry.name for entry in self.folder.glob(STATE.format("*"))]
        saved = [part.path.name for part in (*point.segments, point.tail) if part is not None]
        self._workspace.clear(keep={JOURNAL, *state, *saved})

    def _parse(self, content: dict[str, Any]) -> ResumePoint:
        segments: list[Segment] = []
        for number, part in enumerate(content["segments"]):
            path = self.folder / part["name"]
            if part["name"] != segment_name(number, path.suffix):
                raise ValueError("a segment out of order")
            check_file(path, part)
            segment = Segment(path, parse_count(part["frames"], 1), parse_seconds(part["begin"]))
            if segments and segment.begin <= segments[-1].begin:
                raise ValueError("a segment that begins before the one before it")
            segments.append(segment)
        tail = self._tail(content["tail"])
        scene, frame = parse_count(content["scene"], 0), parse_count(content["frame"], 1)
        point = ResumePoint(tuple(segments), self._state(content["state"], scene, frame), tail)
        if frame != point.frames:
            raise ValueError("a position that is not the end of the segments")
        if tail is not None and segments and tail.times[0] <= segments[-1].begin:
            raise ValueError("a tail that begins before the last segment")
        return point

    def _tail(self, record: dict[str, Any] | None) -> Tail | None:
        """The frames after the segments."""
        if record is None:
            return None
        if not TAIL_NAME.fullmatch(record["name"]):
            raise ValueError("a tail of another name")
        path = self.folder / record["name"]
        check_file(path, record)
        times = tuple(parse_seconds(text) for text in record["times"])
        if not times or any(after <= before for before, after in pairwise(times)):
            raise ValueError("times that are not in order")
        return Tail(path, times)

    def _state(self, record: dict[str, Any] | None, scene: int, frame: int) -> StreamState:
        """The stream's state after `frame` frames."""
        if record is None:
            return StreamState(SceneStart(scene, (0, 0), (0, 0)), 0, frame)
        if record["name"] != STATE.format(frame):
            raise ValueError("a state of another position")
        check_file(self.folder / record["name"], record)
        state = stream_state.read(self.folder / record["name"])
        if (state.scene.number, state.frame) != (scene, frame):
            raise ValueError("a state of another position")
        return state

    # ------------------------------------------------------------ writing

    def _record(self, point: ResumePoint, records: list[dict[str, Any]]) -> None:
        """Write state and journal so that a reader finds the old or the new ones, whenever power fails."""
        state, tail = point.state, point.tail
        assert state is not None
        name = None
        if state.stages:
            name = STATE.format(state.frame)
            stream_state.write(state, self.folder / name)
        content = {
            "segments": records,
            "tail": None if tail is None else {"times": [*map(str, tail.times)], **describe_file(tail.path)},
            "scene": state.scene.number,
            "frame": state.frame,
            "state": None if name is None else describe_file(self.folder / name),
        }
        self._write(JOURNAL, content)
        before, self.resume_point, self._records = self.resume_point, point, records
        if before.tail is not None:
            before.tail.path.unlink()
        for old in self.folder.glob(STATE.format("*")):
            if old.name != name:
                old.unlink()


def segment_name(number: int, suffix: str) -> str:
    """The file name of a segment, counted from zero."""
    return f"{number:06d}{suffix}"


def describe_file(path: Path) -> dict[str, Any]:
    """The record of a file."""
    return {"name": path.name, "size": path.stat().st_size, "sha256": hashes.sha256(path)}


def describe_segment(segment: Segment) -> dict[str, Any]:
    """The record of a segment."""
    return {"frames": segment.frames, "begin": str(segment.begin), **describe_file(segment.path)}


def checksum(content: dict[str, Any]) -> str:
    """The hash of a journal's content, independent of its layout."""
    return sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_content(path: Path) -> dict[str, Any]:
    """A journal's content, complete and unchanged since it was written.  Raises one of DAMAGE."""
    if regular_file_size(path) > JOURNAL_MAX:
        raise ValueError("a journal of this size")
    content = json.loads(path.read_text())
    if content.pop(CHECKSUM) != checksum(content):
        raise ValueError("a journal that was changed")
    return dict(content)


def check_file(path: Path, record: dict[str, Any]) -> None:
    """Check that a file is the one that was written.  Raises ValueError or OSError."""
    if regular_file_size(path) != record["size"] or hashes.sha256(path) != record["sha256"]:
        raise ValueError(f"{path.name} is not what was written")


def regular_file_size(path: Path) -> int:
    """The size of a plain file; anything else (a link, a pipe, a device) could never end.  Raises ValueError."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path.name} is not a plain file")
    return found.st_size


def parse_count(value: object, least: int) -> int:
    """An integer of at least `least`.  Raises ValueError."""
    if type(value) is not int or value < least:
        raise ValueError(f"{value!r} where a number is expected")
    return value


def parse_seconds(value: str) -> Fraction:
    """A time in seconds as the journal writes it.  Raises ValueError."""
    if not RATIONAL.fullmatch(value):
        raise ValueError(f"{value!r} where a time is expected")
    return Fraction(value)
