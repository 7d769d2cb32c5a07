"""A model's stages over one stream of items: in threads of their own, or one after the other without any.

Scene starts, save points and chunks travel in one order through all stages, so every stage saves
its state at the same position of the video.  Both executors give the same items.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import pairwise
from time import monotonic, perf_counter
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from vrx.errors import OverflowedError, StoppedError
from vrx.events import Note
from vrx.models.base import AnyStage, DeviceChunk, RestoredChunk, Restorer, SceneStart
from vrx.models.runner import StageRunner
from vrx.pipeline.channel import AbortedError, Channel
from vrx.pipeline.chunking import Chunk, Item
from vrx.pipeline.convert import Bypass
from vrx.pipeline.device_clock import DeviceClock
from vrx.pipeline.streams import StageStream
from vrx.pipeline.trace import Trace

THREADS = "vrx"  # the first word of all threads' names
QUEUE = 2  # items between two stages: enough against jitter, too few to hold a video
STOP_SECONDS = 3.0  # that a stopped run waits for the stages; a step on a processor may take minutes

Result = TypeVar("Result")  # a frame of the result


class Converter(Protocol[Result]):
    """Host to device and back: see `vrx.pipeline.convert.FrameConverter`."""

    device: torch.device

    def to_device(self, chunk: Chunk) -> tuple[DeviceChunk, Bypass]:
        """The input of the first stage, and what bypasses the network."""

    def to_frames(self, chunk: Chunk, restored: Tensor, bypass: Bypass) -> list[Result]:
        """The result's frames from [T, 3, H, W] in 0..1, padding left out."""


@dataclass
class StreamState:
    """A stream's state at one position: stage states by name, the scene, and what comes next.

    `index` is the next chunk of the scene, `frame` the next frame of the stream.
    """

    scene: SceneStart
    index: int
    frame: int
    stages: dict[str, dict[str, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class Save:
    """A request to save the stream's state at this position; every stage adds its own as it passes.

    `with_stages` False: only the position, which is enough at the end of a scene.  `last`: the run stops there.
    """

    state: StreamState
    with_stages: bool = True
    last: bool = False


@dataclass(frozen=True)
class Resume:
    """The stream continues a scene from a saved state."""

    state: StreamState


@dataclass
class InFlight(Generic[Result]):
    """A chunk on its way: `value` is what its latest stage gave, `restored` its frames after the last one.

    `ready`: the mark in that stage's stream from which on the value is there.
    """

    chunk: Chunk
    value: object = None
    ready: object = None
    bypass: Bypass = field(default_factory=Bypass)
    restored: list[Result] = field(default_factory=list)
    notes: tuple[Note, ...] = ()


Control = Save | Resume


@dataclass
class Timings:
    """Seconds of work by stage, reading and writing among them."""

    seconds: dict[str, float]

    @classmethod
    def of(cls, restorer: Restorer) -> Timings:
        """Nothing yet for all stages of a model."""
        return cls(dict.fromkeys(("read", *restorer.stages, "write"), 0.0))


@dataclass(frozen=True)
class Surroundings(Generic[Result]):
    """What all stages of a run share: how frames are converted, and where their times are kept.

    `streams`: of the stages that have one of their own on the device.
    """

    converter: Converter[Result]
    timings: Timings
    trace: Trace = field(default_factory=lambda: Trace(None))
    streams: Mapping[str, StageStream] = field(default_factory=dict)


class Worker(Generic[Result]):
    """One stage on the stream: processes its items in order; `first` and `last` also convert."""

    def __init__(self, name: str, stage: AnyStage, around: Surroundings[Result], ends: tuple[bool, bool]) -> None:
        self.name, self._around = name, around
        self._converter, self._trace = around.converter, around.trace
        self._runner = StageRunner(stage)
        self._clock = DeviceClock.of(around.trace, around.converter.device, name)
        self._stream = around.streams.get(name)
        self.first, self.last = ends

    def process(self, item: InFlight[Result] | SceneStart | Control) -> None:
        """Do this stage's part of an item."""
        begin = perf_counter()
        what, facts = describe(item)
        on_device = nullcontext() if self._clock is None else self._clock.span(f"{self.name} {what}")
        span = self._trace.span(f"{self.name} {what}", **facts)
        with span, torch.inference_mode(), self._in_order(item), on_device:
            if isinstance(item, SceneStart):
                self._runner.start(item)
            elif isinstance(item, Resume):
                self._runner.load(item.state.scene, item.state.stages[self.name])
            elif isinstance(item, Save):
                if item.with_stages:
                    item.state.stages[self.name] = self._runner.save()
            else:
                self._step(item)
        self._around.timings.seconds[self.name] += perf_counter() - begin

    @contextmanager
    def _in_order(self, item: InFlight[Result] | SceneStart | Control) -> Iterator[None]:
        """In the stage's own stream, if it has one, after the stage before and before the one after it."""
        if self._stream is None:
            yield
            return
        with self._stream.current():
            if isinstance(item, InFlight):
                self._stream.receive(item.ready, (item.value, item.bypass))
            yield
            if isinstance(item, InFlight):
                item.ready = self._stream.hand_over()
            elif isinstance(item, Save):
                self._stream.finish()  # other threads read what was saved

    def finish(self) -> None:
        """No more items come."""
        if self._clock is not None:
            self._clock.finish()

    def _step(self, work: InFlight[Result]) -> None:
        self._trace.flow(work.chunk.first_frame, "t")
        if self.first:
            with self._trace.span("to device"):
                work.value, work.bypass = self._converter.to_device(work.chunk)
        work.value = self._runner.step(work.value)
        if self.last:
            with self._trace.span("to frames"):
                self._finish_chunk(work)

    def _finish_chunk(self, work: InFlight[Result]) -> None:
        assert isinstance(work.value, RestoredChunk)
        finite = torch.isfinite(work.value.frames.sum())  # values in 0..1: only NaN and Inf spoil a sum
        work.notes = work.value.notes
        bypass = replace(work.bypass, unchanged=work.value.unchanged)
        work.restored = self._converter.to_frames(work.chunk, work.value.frames, bypass)
        refuse_nan(finite, work.chunk.first_frame)  # now that the frames were waited for
        work.value, work.bypass = None, Bypass()


def describe(item: InFlight[Result] | SceneStart | Control) -> tuple[str, dict[str, object]]:
    """What an item is called in a trace, and its facts; frames count from 0, scenes from 1."""
    if isinstance(item, InFlight):
        chunk = item.chunk
        return "chunk", {"chunk": chunk.index, "first_frame": chunk.first_frame, "frames": len(chunk.frames)}
    if isinstance(item, SceneStart):
        return "scene", {"scene": item.number + 1}
    return "state", {"frame": item.state.frame}


def refuse_nan(finite: Tensor, number: int) -> None:
    """Raise OverflowedError for restored frames that are not `finite`; `number` is that of the first."""
    if not bool(finite):
        raise OverflowedError(f"the model gave NaN or Inf near frame {number}", "Run again with --dtype fp32")


def make_workers(restorer: Restorer, around: Surroundings[Result]) -> list[Worker[Result]]:
    """One worker a stage, in order."""
    names = list(restorer.stages)
    return [
        Worker(name, stage, around, (name == names[0], name == names[-1])) for name, stage in restorer.stages.items()
    ]


def read_items(
    items: Iterable[Item | Control], around: Surroundings[Result]
) -> Generator[InFlight[Result] | SceneStart | Control]:
    """The items as they travel; closes their source at the end, however it comes."""
    iterator = iter(items)
    try:
        while True:
            begin = perf_counter()
            with around.trace.span("read"):
                item = next(iterator, None)
                if isinstance(item, Chunk):
                    around.trace.flow(item.first_frame, "s")
            around.timings.seconds["read"] += perf_counter() - begin
            if item is None:
                return
            yield InFlight(item) if isinstance(item, Chunk) else item
    finally:
        close = getattr(iterator, "close", None)
        if close:
            close()


class SynchronousExecutor(Generic[Result]):
    """Runs every item through all stages before it takes the next, in the thread that iterates over `results`."""

    def __init__(self, restorer: Restorer, converter: Converter[Result]) -> None:
        self.timings = Timings.of(restorer)
        self._around = Surroundings(converter, self.timings)
        self._workers = make_workers(restorer, self._around)

    def results(self, items: Iterable[Item | Control]) -> Generator[InFlight[Result] | SceneStart | Save]:
        """Restored chunks, scene starts and saves in order."""
        stream = read_items(items, self._around)
        try:
            for item in stream:
                for worker in self._workers:
                    worker.process(item)
                if not isinstance(item, Resume):
                    yield item
        finally:
            stream.close()


class ThreadedExecutor(Generic[Result]):
    """Runs every stage in a thread of its own, bounded queues between them; `results` walks it once.

    The first failure aborts every channel, every thread is joined, and the failure is raised to whoever walks
    the results.  `in_turn`: a chunk goes through all stages before the next one enters, so that nothing waits between.
    `streams` of the stages on the device: for those that do not work in turn.
    """

    def __init__(
        self,
        restorer: Restorer,
        converter: Converter[Result],
        in_turn: bool = False,
        trace: Trace | None = None,
        streams: Mapping[str, StageStream] | None = None,
    ) -> None:
        self.timings = Timings.of(restorer)
        self._trace, self._streams = trace or Trace(None), {} if in_turn else streams or {}
        self._around = Surroundings(converter, self.timings, self._trace, self._streams)
        self._workers = make_workers(restorer, self._around)
        names = [worker.name for worker in self._workers]
        bound = 1 if in_turn else QUEUE
        self._channels: dict[str, Channel[InFlight[Result] | SceneStart | Control]] = {
            name: Channel(bound) for name in (*names, "write")
        }
        self._turn: Channel[Chunk] | None = Channel(1) if in_turn else None  # the chunk between first and last stage
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._patience: float | None = None

    def queues(self) -> dict[str, int]:
        """Items that wait before each stage."""
        return {name: len(channel) for name, channel in self._channels.items()}

    def hurry(self) -> None:
        """Wait for no stage's step longer than STOP_SECONDS from now on: the run was stopped."""
        self._patience = STOP_SECONDS

    def results(self, items: Iterable[Item | Control]) -> Generator[InFlight[Result] | SceneStart | Save]:
        """Restored chunks, scene starts and saves in order.  Raises the first failure of any stage.

        Leaving the walk early, for whatever reason, stops and joins every thread; a signal leaves the steps
        that are under way to end by themselves.
        """
        reader = threading.Thread(target=self._guard, args=(self._read, items), name=f"{THREADS} read")
        threads = []
        for worker, (name, after) in zip(self._workers, pairwise(self._channels), strict=True):
            arguments = (self._work, worker, self._channels[name], self._channels[after])
            threads.append(threading.Thread(target=self._guard, args=arguments, name=f"{THREADS} {name}"))
        for stream in self._streams.values():
            stream.follow()
        for thread in (reader, *threads):
            thread.start()
        try:
            for item in self._trace.each("wait for work", self._channels["write"]):
                assert not isinstance(item, Resume)
                yield item
        except AbortedError:
            pass
        except (KeyboardInterrupt, StoppedError):
            self.hurry()
            raise
        finally:
            self._abort()
            reader.join()  # the caller closes what it reads from
            deadline = None if self._patience is None else monotonic() + self._patience
            for thread in threads:
                thread.join(None if deadline is None else max(0.0, deadline - monotonic()))
            for stream in self._streams.values():
                stream.precede()
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
        for channel in (*self._channels.values(), *((self._turn,) if self._turn else ())):
            channel.abort()

    def _read(self, items: Iterable[Item | Control]) -> None:
        outbox = self._channels[self._workers[0].name]
        stream = read_items(items, self._around)
        try:
            for item in stream:
                if self._turn is not None and isinstance(item, InFlight):
                    with self._trace.span("wait for room"):
                        self._turn.put(item.chunk)
                self._put(outbox, item)
        finally:
            stream.close()
        outbox.close()

    def _put(
        self,
        outbox: Channel[InFlight[Result] | SceneStart | Control],
        item: InFlight[Result] | SceneStart | Control,
    ) -> None:
        with self._trace.span("wait for room"):
            outbox.put(item)
        self._trace.count("queues", self.queues())

    def _work(
        self,
        worker: Worker[Result],
        inbox: Channel[InFlight[Result] | SceneStart | Control],
        outbox: Channel[InFlight[Result] | SceneStart | Control],
    ) -> None:
        for item in self._trace.each("wait for work", inbox):
            worker.process(item)
            if self._turn is not None and worker.last and isinstance(item, InFlight):
                next(iter(self._turn))
            if not (worker.last and isinstance(item, Resume)):
                self._put(outbox, item)
        worker.finish()
        outbox.close()
