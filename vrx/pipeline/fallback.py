"""What a run does when memory runs out or numbers overflow: it goes on in another way, and says so."""

from __future__ import annotations

import logging
import traceback
from dataclasses import replace

from vrx.environment import Environment
from vrx.errors import OverflowedError, VrxError, exhausted, out_of_memory
from vrx.events import Note
from vrx.models.base import ChunkSchedule, Restorer, SceneStart
from vrx.models.registry import FAMILIES
from vrx.pipeline.chunking import Chunk
from vrx.pipeline.devices import DTYPES, wider_type
from vrx.pipeline.executor import Save, StreamState
from vrx.pipeline.needs import advice
from vrx.pipeline.session import Session
from vrx.pipeline.ways import Way, memory_steps

logger = logging.getLogger(__name__)
BEFORE_ALL = StreamState(SceneStart(-1, (0, 0), (0, 0)), 0, 0)


def recoverable(error: BaseException) -> bool:
    """Whether another way of working may help: memory ran out, or numbers overflowed."""
    return isinstance(error, OverflowedError) or (not isinstance(error, VrxError) and out_of_memory(error))


def forget(error: BaseException | None) -> None:
    """Free what the frames of an error's traceback hold, and of those that led to it: tensors on the device."""
    while error is not None and error.__traceback__ is not None:
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


class Bookmark:
    """Where a stream can be taken up again: the latest saved state, and the beginning of the running scene.

    `start` is the state that the run began with, None for the beginning of the stream.
    """

    def __init__(self, start: StreamState | None) -> None:
        self._states = [BEFORE_ALL if start is None else start]
        self._next = self._states[0].frame  # of the stream

    def pass_scene(self, scene: SceneStart) -> None:
        """A scene begins with the next chunk."""
        self._states = [StreamState(replace(scene, number=scene.number - 1), 0, self._next)]

    def pass_chunk(self, chunk: Chunk) -> None:
        """A chunk of the running scene was restored."""
        self._next = chunk.first_frame + len(chunk.frames)

    def pass_save(self, save: Save) -> None:
        """The state of this position was saved."""
        self._states = [*self._states[:1], save.state]

    def latest(self) -> StreamState:
        """Where the least is done again."""
        return self._states[-1]

    def scene_start(self) -> StreamState | None:
        """Where no state of the stages is needed; None for a scene that an earlier run began."""
        return next((state for state in reversed(self._states) if not state.stages), None)


class Fallback:
    """The way in which a run works, and what is left to try.

    Memory: see `memory_steps`.  Overflow: the next wider number type.  Neither with `VRX_FALLBACK=off`.
    `start` is where the next attempt begins, `bookmark` where one after it could.
    """

    def __init__(self, session: Session, start: StreamState | None) -> None:
        self._session, self._enabled = session, Environment.read().fallback
        self._schedule: ChunkSchedule | None = None  # of the model once it is loaded
        self._tried: list[str] = []
        self.way, self.start, self.bookmark = Way(), start, Bookmark(start)

    def load(self) -> Restorer:
        """The model set up to work in this way, or in the next one where the memory is not enough to load it."""
        while True:
            try:
                restorer = self._session.restorer(self.way)
                width, height = self._session.reader.size
                planned = restorer.schedule.within(width * height * restorer.scale**2)
                restorer.schedule = self._schedule = self.way.schedule(planned)
                return restorer
            except Exception as error:
                if not recoverable(error):
                    raise
                failure = error
            self._advance(failure)

    def advance(self, error: Exception) -> None:
        """Go on in the next way after an error of the stages: the stream is read again, from where it can be taken up.

        Raises the error where nothing is left to try, DeviceError if it is about memory.
        """
        overflowed = isinstance(error, OverflowedError)
        state = self.bookmark.scene_start() if overflowed else self.bookmark.latest()
        if state is None:
            raise error
        self._advance(error)
        self._session.rewind()
        self.start = None if state is BEFORE_ALL else state

    def _advance(self, error: Exception) -> None:
        """Take the next way, announce it, and drop all that the last one had in memory."""
        logger.debug("%s: %s", type(error).__name__, error)
        note = self._widen(error) if isinstance(error, OverflowedError) else self._economize(error)
        self._session.notify(note)
        forget(error)
        self._session.drop_model()

    def _economize(self, error: Exception) -> Note:
        session = self._session
        capabilities = FAMILIES[session.entry.family].capabilities
        steps = memory_steps(capabilities, self._schedule, session.job.model, session.device)
        step = next((step for step in steps if step.name not in self._tried), None)
        if step is None or not self._enabled:
            hint = advice(session.entry, session.job.model)
            raise exhausted(str(session.device), self._tried, hint) from error
        self._tried.append(step.name)
        self.way = replace(self.way, **step.change)  # type: ignore[arg-type]
        text = f"{session.device} ran out of memory: {step.words}"
        return Note("memory-fallback", text, {"step": step.name}, "warning")

    def _widen(self, error: OverflowedError) -> Note:
        session = self._session
        now = session.dtype if self.way.dtype is None else DTYPES[self.way.dtype]
        wider = wider_type(now, session.device)
        if wider is None or not self._enabled:
            raise error
        self.way = replace(self.way, dtype=wider)
        text = f"{error.message} in {str(now).removeprefix('torch.')}: the scene is restored again in {wider}"
        return Note("precision-fallback", text, {"dtype": wider}, "warning")
