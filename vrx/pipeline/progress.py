"""Events of a run while its frames are written."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from vrx import events
from vrx.errors import Exit, StoppedError
from vrx.events import Note
from vrx.media.frame import Frame
from vrx.media.write import Writer
from vrx.models.base import SceneStart
from vrx.networks.fusion import take_failures
from vrx.pipeline.chunking import Chunk
from vrx.pipeline.executor import InFlight, ThreadedExecutor
from vrx.pipeline.resume.writer import SegmentedWriter
from vrx.pipeline.session import Session
from vrx.scenes.detect import Boundary

REPORT_EVERY = 0.1  # seconds between two progress events


class Progress:
    """Counts scenes and frames of a run, and sends their events; `scene` is the number of the running one, from 0."""

    def __init__(self, session: Session, writer: Writer | SegmentedWriter, begin: float) -> None:
        self._session, self._writer, self._begin = session, writer, begin
        self._queues: Callable[[], dict[str, int]] = dict
        self._reported, self._done = 0.0, -1  # when, and at how many frames, progress was sent last
        self.scene = writer.scene
        self._began = -1  # the latest scene that was sent

    def follow(self, executor: ThreadedExecutor[Frame]) -> None:
        """Report an executor's queues from now on."""
        self._queues = executor.queues

    def begin_scene(self, start: SceneStart) -> None:
        """A scene starts with the next frame that is written; it may be one that was begun before."""
        self.scene = start.number
        if start.number > self._began:
            self._began = start.number
            self._session.trace.mark(f"scene {start.number + 1}", frame=self._writer.frames)
            self._send_scene(self._writer.frames, soft=False)

    def begin_chunk(self, work: InFlight[Frame]) -> None:
        """A restored chunk is about to be written: pass on what was noticed about it, unless it was written before."""
        if work.chunk.first_frame < self._writer.frames:
            return
        for frame in soft_boundaries(work.chunk):
            self._send_scene(frame, soft=True)
        for note in (*work.notes, *failure_notes()):
            self._session.notify(note)

    def end_chunk(self) -> None:
        """A chunk was written."""
        now = perf_counter()
        if now - self._reported > REPORT_EVERY:
            self._reported = now
            self.report()

    def report(self) -> None:
        """Send how far the run is, unless that was sent already."""
        frames, written = self._session.frames, self._writer.frames
        if written == self._done:
            return
        self._done = written
        self._session.watch(
            events.Advanced(
                input=self._session.job.source,
                done=written,
                frames=frames if written <= (frames or 0) else None,  # headers may be wrong
                scene=self.scene + 1,
                fps=(written - self._writer.resumed_frames) / max(1e-9, perf_counter() - self._begin),
                queues=self._queues(),
            )
        )

    def stop(self, reason: KeyboardInterrupt | StoppedError) -> None:
        """Send the stop event: where the run was stopped, and how many frames the same command can reuse."""
        code = reason.exit_code if isinstance(reason, StoppedError) else Exit.INTERRUPTED
        self._session.watch(
            events.Stopped(
                input=self._session.job.source,
                done=self._writer.frames,
                frames=self._session.frames,
                saved=self._writer.saved if isinstance(self._writer, SegmentedWriter) else 0,
                exit_code=int(code),
            )
        )

    def _send_scene(self, frame: int, soft: bool) -> None:
        source = self._session.job.source
        self._session.watch(events.SceneBegan(input=source, number=self.scene + 1, frame=frame, soft=soft))


def failure_notes() -> list[Note]:
    """What runs in another way than it was meant to, and was not said yet."""
    return [Note(failure.code, failure.text, {}, "warning") for failure in take_failures()]


def soft_boundaries(chunk: Chunk) -> list[int]:
    """Numbers in the stream of a chunk's frames that only refresh the reference."""
    return [chunk.first_frame + n for n, source in enumerate(chunk.frames) if source.boundary is Boundary.SOFT]
