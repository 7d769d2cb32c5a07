"""A session over one span: its frames and masks are read from its beginning, and proven to be its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, islice

from vrx.errors import InputError
from vrx.events import Note, Notify, Watcher
from vrx.media.frame import Frame
from vrx.media.read import Reader
from vrx.media.target import Target
from vrx.pipeline.fields import deinterlacing
from vrx.pipeline.masking import open_masks
from vrx.pipeline.output import apply_orientation
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.session import Session
from vrx.pipeline.spans.span import Span, WrongFramesError, add_checksum
from vrx.scenes.detect import SceneFrame
from vrx.settings import Job

# seconds before a span from which it is read: a seek to a place between key frames may lead to pictures whose
# references are missing.  None reads from the source's first frame.
MARGINS = (Fraction(0), Fraction(10), None)


@dataclass(frozen=True, kw_only=True)
class SpanWork:
    """A span to restore: the job as it was opened, how its result is written, and how many frames that has in all.

    A value that can be sent to another machine.
    """

    job: Job
    target: Target
    span: Span


class PartSession(Session):
    """The session of a span.  `open` reads no more than the span needs; nothing about the result is decided anew.

    What is said of the source was said when the span was found, and is not said again.
    """

    def __init__(self, work: SpanWork, watch: Watcher, pool: ModelPool, from_start: bool = False) -> None:
        super().__init__(work.job, watch, pool)
        assert self._named is not None  # standard input cannot be read twice
        self.source, self.target, self.span = self._named, work.target, work.span
        self._margins = MARGINS[-1:] if from_start else MARGINS
        self.frames = work.span.frames
        self.cuts = None
        self.boundaries = self.read_span

    def open(self) -> None:
        """Open the source where the span begins.  Raises InputError."""
        self._begin_reading(silent)

    def rewind(self) -> None:
        """Read the span and its mask again from its beginning."""
        self._begin_reading(silent)

    def _begin_reading(self, notify: Notify) -> None:
        self._read_from(self._margins[0])

    def _read_from(self, margin: Fraction | None) -> None:
        """Open the source and its mask so that they are read from so many seconds before the span."""
        self._reading.close()
        selection, job = self.job.selection, self.job
        start = Fraction(0) if margin is None else max(Fraction(0), self.span.start - margin)
        reading = replace(self.reading, start=start, end=None, frames=None)
        reader = Reader(self.source, reading, silent, None, deinterlacing(selection, job.restore.task))
        self.reader = self._reading.enter_context(reader)
        apply_orientation(self.reader, self.output, silent)
        self.mask = open_masks(job, self.reader, silent)
        if self.mask is not None:
            self._reading.enter_context(self.mask)
            self.mask.skip(self.span.first)

    def read_span(self) -> Iterator[SceneFrame]:
        """The frames of the span with the boundaries that they begin.  Raises WrongFramesError.

        The first frame decides whether to read from further before; the others are known to be right at the end.
        """
        for margin in self._margins:
            if margin != self._margins[0]:
                self._read_from(margin)
            frames = self._find_first()
            if frames is not None:
                yield from self._check(frames)
                return
        raise self._wrong("its first frame is not there")

    def _find_first(self) -> Iterator[Frame] | None:
        """The frames from the span's first one on; None where the frame at its time is another one."""
        frames = self.reader.frames()
        try:
            first = next((frame for frame in frames if frame.time >= self.span.begin), None)
        except InputError:  # nothing is left where a seek led to
            return None
        if first is None or add_checksum(0, first) != self.span.head:
            return None
        return chain([first], frames)

    def _check(self, frames: Iterator[Frame]) -> Iterator[SceneFrame]:
        checksum = count = 0
        for frame in islice(frames, self.span.frames):
            checksum = add_checksum(checksum, frame)
            yield SceneFrame(frame, self.span.boundary(count))
            count += 1
        if count != self.span.frames:
            raise self._wrong(f"{count} of {self.span.frames} frames exist")
        if checksum != self.span.checksum:
            raise self._wrong("the frames are others")

    def _wrong(self, how: str) -> WrongFramesError:
        return WrongFramesError(
            f"cannot read frames {self.span.first} to {self.span.first + self.span.frames - 1} of {self.job.source} "
            f"as they were when its scenes were found: {how}",
            "The file may have changed, or is decoded differently on this machine",
        )


def silent(note: Note) -> None:
    """Takes notes that were sent before."""
