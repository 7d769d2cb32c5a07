"""Writing a result in segments that survive the run, with the stream's state saved between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

from vrx.batches import Deadline
from vrx.media.frame import Frame
from vrx.media.segments import JOINABLE_CONTAINERS, Segment, join_segments, segment_target
from vrx.media.signals import defer_signals
from vrx.media.target import Target
from vrx.media.write import Writer
from vrx.models.base import SceneStart
from vrx.pipeline.chunking import Item
from vrx.pipeline.executor import Control, Save, StreamState
from vrx.pipeline.resume import published
from vrx.pipeline.resume.journal import Journal

SEGMENT_FRAMES = 240  # at least: encoders start a new group of pictures after about as many anyway


def can_segment(target: Target) -> bool:
    """Whether a result can be written in segments and joined."""
    return target.path is not None and not target.still and target.container in JOINABLE_CONTAINERS


def insert_checkpoints(
    items: Iterable[Item], within_scenes: bool, start: StreamState | None, deadline: Deadline | None = None
) -> Iterator[Item | Control]:
    """Chunks and scene starts, and a request to save the stream's state once a segment is long enough.

    Where states can be saved within scenes, the stream ends with such a request at the first chunk's end after the
    deadline, but for a stream whose end that is.

    `within_scenes`: the state is saved between any two chunks; else only at the end of a scene, where the
    position is enough: the states of large models take gigabytes.  `start` is where the stream continues,
    None at its beginning.
    """
    scene = start.scene if start else None
    count = saved = start.frame if start else 0
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
    """A result being written in segments.  A context manager: after an exception, finished segments stay."""

    def __init__(self, target: Target, journal: Journal) -> None:
        self._target, self._journal = target, journal
        self.resumed_frames = self.frames = journal.resume_point.frames
        self.scene = journal.resume_point.state.scene.number if journal.resume_point.state else 0
        self._writer: Writer | None = None
        self._first: Frame | None = None

    @property
    def saved(self) -> int:
        """Frames in finished segments, which a later run will not restore again."""
        return self._journal.resume_point.frames

    def __enter__(self) -> SegmentedWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is not None and self._writer is not None:
            self._writer.abort()

    def write(self, frame: Frame) -> None:
        """Write one frame."""
        if self._writer is None:
            assert self._target.path is not None
            path = self._journal.segment_path(self._target.path.suffix.lower())
            with defer_signals():  # else an encoder that was just started could not be stopped
                self._writer, self._first = Writer(segment_target(self._target, path, frame.time)), frame
        self._writer.write(frame)
        self.frames += 1

    def save(self, state: StreamState) -> None:
        """End the segment here, if one was begun; a later run may continue from `state`."""
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
        assert writer.target.path is not None
        return Segment(writer.target.path, writer.frames, first.time)
