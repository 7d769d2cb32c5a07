"""A model's stages in threads of their own, with control items in the same stream.

Scene starts, save points and chunks travel in one order through all stages, so every stage is asked for
its state at the same place of the video.  The first failure aborts every channel, every thread is
joined, and the failure is raised to whoever walks the results.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from time import monotonic, perf_counter

import torch
from torch import Tensor

from vrx.errors import StoppedError, VrxError
from vrx.events import Note
from vrx.media.frame import Frame
from vrx.models.base import AnyStage, DeviceChunk, RestoredChunk, Restorer, SceneStart
from vrx.pipeline.channel import AbortedError, Channel
from vrx.pipeline.chunking import Chunk, Item

THREADS = "vrx"  # the first word of all threads' names
QUEUE = 2  # items between two stages: enough against jitter, too few to hold a video
STOP_SECONDS = 3.0  # that a stopped run waits for the stages; a step on a processor may take minutes


@dataclass
class StreamState:
    """All that a stream remembers at one place: stage states by name, the scene, and what comes next.

    `index` is the next chunk of the scene, `frame` the next frame of the stream.
    """

    scene: SceneStart
    index: int
    frame: int
    stages: dict[str, dict[str, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class Save:
    """A request to keep the stream's state at this place; every stage adds its own as it passes.

    Not `whole`: at the end of a scene, where the place is enough.
    """

    state: StreamState
    whole: bool = True


@dataclass(frozen=True)
class Resume:
    """A scene that goes on where a saved state stands."""

    state: StreamState


@dataclass
class Work:
    """A chunk under way: `value` is what its latest stage gave, `restored` its frames after the last one."""

    chunk: Chunk
    value: object = None
    restored: list[Frame] = field(default_factory=list)
    notes: tuple[Note, ...] = ()


Control = Save | Resume
Flowing = Work | SceneStart | Control
Result = Work | SceneStart | Save


@dataclass
class Timings:
    """Seconds of work by stage, reading and writing among them, and frames restored."""

    seconds: dict[str, float]
    frames: int = 0


@dataclass(frozen=True)
class Doors:
    """How frames become pixels on the device, and restored pixels frames again.

    `enter(chunk)` gives the network's input, padding included; `leave(chunk, [T, 3, H, W])` frames,
    padding trimmed.
    """

    enter: Callable[[Chunk], DeviceChunk]
    leave: Callable[[Chunk, Tensor], list[Frame]]


class Pipeline:
    """One run over one stream of items; `results` walks it once."""

    def __init__(self, restorer: Restorer, doors: Doors) -> None:
        self._doors = doors
        self._stages = dict(restorer.stages)
        self._first, self._last = next(iter(self._stages)), next(reversed(self._stages))
        self._channels: dict[str, Channel[Flowing]] = {name: Channel(QUEUE) for name in (*self._stages, "write")}
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._patience: float | None = None
        self.timings = Timings(dict.fromkeys(("read", *self._stages, "write"), 0.0))

    def queues(self) -> dict[str, int]:
        """Items that wait before each stage."""
        return {name: len(channel) for name, channel in self._channels.items()}

    def hurry(self) -> None:
        """Wait for no stage's step longer than STOP_SECONDS from now on: the run was told to stop."""
        self._patience = STOP_SECONDS

    def results(self, items: Iterable[Item | Control]) -> Generator[Result]:
        """Restored chunks, scene starts and saves in order.  Raises the first failure of any stage.

        Leaving the walk early, for whatever reason, stops and joins every thread; a signal leaves the steps
        that are under way to end by themselves.
        """
        reader = threading.Thread(target=self._guard, args=(self._read, items), name=f"{THREADS} read")
        threads = []
        for name, after in pairwise((*self._stages, "write")):
            arguments = (self._walk, name, self._channels[name], self._channels[after])
            threads.append(threading.Thread(target=self._guard, args=arguments, name=f"{THREADS} {name}"))
        for thread in (reader, *threads):
            thread.start()
        try:
            for item in self._channels["write"]:
                assert not isinstance(item, Resume)
                yield item
        except AbortedError:
            pass
        except (KeyboardInterrupt, StoppedError):
            self.hurry()
            raise
        finally:
            self._abort()
            reader.join()  # whoever comes next closes what it reads from
            deadline = None if self._patience is None else monotonic() + self._patience
            for thread in threads:
                thread.join(None if deadline is None else max(0.0, deadline - monotonic()))
        if self._failure is not None:
            raise self._failure

    def _guard(self, work: Callable[..., None], *arguments: object) -> None:
        try:
            with torch.inference_mode():
                work(*arguments)
        except AbortedError:
            pass
        except BaseException as failure:  # noqa: BLE001 - raised again where the walk is joined
            with self._lock:
                if self._failure is None:
                    self._failure = failure
            self._abort()

    def _abort(self) -> None:
        for channel in self._channels.values():
            channel.abort()

    def _read(self, items: Iterable[Item | Control]) -> None:
        outbox = self._channels[self._first]
        iterator = iter(items)
        try:
            while True:
                begin = perf_counter()
                item = next(iterator, None)
                self.timings.seconds["read"] += perf_counter() - begin
                if item is None:
                    break
                outbox.put(Work(item) if isinstance(item, Chunk) else item)
        finally:
            close = getattr(iterator, "close", None)
            if close:
                close()
        outbox.close()

    def _walk(self, name: str, inbox: Channel[Flowing], outbox: Channel[Flowing]) -> None:
        stage = self._stages[name]
        state = None
        for item in inbox:
            begin = perf_counter()
            if isinstance(item, SceneStart):
                state = stage.start(item)
            elif isinstance(item, Resume):
                state = stage.load(item.state.scene, item.state.stages[name])
            elif isinstance(item, Save):
                if item.whole:
                    item.state.stages[name] = stage.save(state)
            else:
                state = self._step(name, stage, item, state)
            self.timings.seconds[name] += perf_counter() - begin
            if not (name == self._last and isinstance(item, Resume)):
                outbox.put(item)
        outbox.close()

    def _step(self, name: str, stage: AnyStage, work: Work, state: object) -> object:
        if name == self._first:
            work.value = self._doors.enter(work.chunk)
        work.value, state = stage.step(work.value, state)
        if name == self._last:
            assert isinstance(work.value, RestoredChunk)
            frames = work.value.frames
            if not bool(torch.isfinite(frames.sum())):  # values in 0..1: only what is no number spoils a sum
                raise VrxError(
                    f"the network gave values that are no numbers near frame {work.chunk.first_frame}",
                    "Run again with --dtype fp32",
                )
            work.notes = work.value.notes
            work.restored = self._doors.leave(work.chunk, frames)
            work.value = None
            self.timings.frames += len(work.restored)
        return state
