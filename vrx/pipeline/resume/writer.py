"""Writing a result in segments that survive the run, with the stream's state saved between them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

from vrx.batches import Deadline
from vrx.media.frame import Frame
from vrx.media.raw_frames import RawFrames, read_raw_frames
from vrx.media.segments import JOINABLE_CONTAINERS, Segment, join_segments, segment_target
from vrx.media.signals import defer_signals
from vrx.media.target import Target
from vrx.media.write import Writer
from vrx.models.base import SceneStart
from vrx.pipeline.chunking import Item
from vrx.pipeline.executor import Control, Save, StreamState
from vrx.pipeline.resume import published
from vrx.pipeline.resume.journal import Journal, Tail
from vrx.pipeline.resume.workspace import disk_errors

SEGMENT_FRAMES = 240  # at least: encoders start a new group of pictures after about as many anyway
TAIL_SHARE = 0.25  # of the free disk, up to which a segment's frames are kept as they are: the result has to fit, too


def can_segment(target: Target) -> bool:
    """Whether a result can be written in segments and joined."""
    return target.path is not None and not target.still and target.container in JOINABLE_CONTAINERS


def insert_checkpoints(
    items: Iterable[Item],
    within_scenes: bool,
    start: StreamState | None,
    segmented: int = 0,
    deadline: Deadline | None = None,
) -> Iterator[Item | Control]:
    """Chunks and scene starts, and a request to save the stream's state once a segment is long enough.

    Where states can be saved within scenes, the stream ends with such a request at the first chunk's end after the
    deadline, but for a stream whose end that is.

    `within_scenes`: the state is saved between any two chunks; else only at the end of a scene, where the
    position is enough: the states of large models take gigabytes.  `start` is where the stream continues,
    None at its beginning; `segmented`: frames in finished segments.
    """
    scene = start.scene if start else None
    count, saved = start.frame if start else 0, segmented
    position: StreamState | None = None  # after the latest chunk
    for item in items:
        if position is not None and deadline is not None and deadline.passed:
            yield Save(position, last=True)
            return
        if isinstance(item, SceneStart):
            if not within_scenes and scene is not None and count - saved >= SEGMENT_FRAMES:
                yield Save(StreamState(scene, 0, count), with_stages=False)
                saved = count
            scene = item
            yield item
            continue
        yield item
        count = item.first_frame + len(item.frames)
        if not within_scenes:
            continue
        assert scene is not None
        if count - saved >= SEGMENT_FRAMES:
            yield Save(StreamState(scene, item.index + 1, count))
            saved = count
        position = StreamState(scene, item.index + 1, count)


class SegmentedWriter:
    """A result being written in segments.  A context manager: after an exception, finished segments stay.

    `keeps_tail`: the frames of the segment at hand are kept as they are, too, for a run that may stop within it.
    """

    def __init__(self, target: Target, journal: Journal, keeps_tail: bool = False) -> None:
        self._target, self._journal, self._keeps_tail = target, journal, keeps_tail
        self.resumed_frames = self.frames = journal.resume_point.frames
        self.scene = journal.resume_point.state.scene.number if journal.resume_point.state else 0
        self._writer: Writer | None = None
        self._first: Frame | None = None
        self._tail: RawFrames | None = None

    @property
    def saved(self) -> int:
        """Frames which a later run will not restore again."""
        return self._journal.resume_point.frames

    @property
    def segmented(self) -> int:
        """Frames in finished segments."""
        return self._journal.resume_point.segmented

    def __enter__(self) -> SegmentedWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is not None and self._writer is not None:
            self._writer.abort()
        self._drop_tail()

    def write(self, frame: Frame) -> None:
        """Write one frame."""
        self._begin_with_tail()
        self._encode(frame)
        self.frames += 1

    def save(self, state: StreamState, last: bool = False) -> None:
        """End the segment here, if one was begun; a later run may continue from `state`.

        After the `last` save nothing is written: the later run completes the segment, where its frames were kept.
        """
        if last and self._save_tail(state):
            return
        segment = self._finish_segment()
        if segment is None:
            return
        with defer_signals():
            self._journal.add(segment, state)

    def finish(self, scenes: int, end: Fraction | None = None) -> None:
        """End the last segment, join all of them, and publish the result of `scenes` scenes.  Raises OutputError.

        `end` is when the last frame stops being shown, in seconds of the source, where that is known.
        """
        result = self._target.path
        assert result is not None
        self._begin_with_tail()
        last = self._finish_segment()

        def record(finished: Path) -> None:
            published.record(result, finished, self._journal.fingerprint, (self.frames, scenes))

        join_segments([*self._journal.resume_point.segments, *([last] if last else [])], self._target, end, record)
        self._journal.remove()
        published.forget(result)

    def _finish_segment(self) -> Segment | None:
        """The finished segment that was being written; None where none was begun."""
        writer, first = self._writer, self._first
        if writer is None or first is None:
            return None
        writer.finish()
        self._writer = None
        self._drop_tail()
        assert writer.target.path is not None
        return Segment(writer.target.path, writer.frames, first.time)

    def _encode(self, frame: Frame) -> None:
        if self._writer is None:
            assert self._target.path is not None
            path = self._journal.segment_path(self._target.path.suffix.lower())
            with defer_signals():  # else an encoder that was just started could not be stopped
                self._writer, self._first = Writer(segment_target(self._target, path, frame.time)), frame
            self._begin_tail()
        self._writer.write(frame)
        if self._tail is not None:
            try:
                self._tail.write(frame)
            except OSError:  # a disk that is full for it: the run may have room for its result
                self._drop_tail()

    def _begin_with_tail(self) -> None:
        """Encode what an earlier run left of a segment, where none is begun yet."""
        tail = self._journal.resume_point.tail
        if tail is None or self._writer is not None:
            return
        with disk_errors(self._journal.folder):
            for frame in read_raw_frames(tail.path, tail.times, self._target):
                self._encode(frame)

    def _begin_tail(self) -> None:
        if not self._keeps_tail or self._first is None:
            return
        size = SEGMENT_FRAMES * sum(plane.nbytes for plane in self._first.planes)
        with contextlib.suppress(OSError):
            if size <= TAIL_SHARE * shutil.disk_usage(self._journal.folder).free:
                self._tail = RawFrames(self._journal.tail_path(self.frames))

    def _save_tail(self, state: StreamState) -> bool:
        """Record the kept frames in place of a segment that is too short; whether there are any."""
        writer, tail = self._writer, self._tail
        if writer is None or tail is None:
            return False
        try:
            tail.finish()
        except OSError:
            self._drop_tail()
            return False
        with defer_signals():
            self._journal.add_tail(Tail(tail.path, tuple(tail.times)), state)
            self._tail = None
        writer.abort()
        self._writer = None
        return True

    def _drop_tail(self) -> None:
        if self._tail is not None:
            with contextlib.suppress(OSError):
                self._tail.discard()
            self._tail = None
