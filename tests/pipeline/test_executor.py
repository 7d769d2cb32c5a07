import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.networks.networks import tiny_parts
from tests.pipeline.frames import RGB, stream
from vrx.errors import ModelError
from vrx.media.frame import Color, Frame
from vrx.models.base import AnyStage, ChunkSchedule, DeviceChunk, RestoredChunk, Restorer, SceneStart, StatelessStage
from vrx.models.embedded.keep_size import EmbeddedOptions
from vrx.models.embedded.model import EmbeddedRestorer
from vrx.pipeline import executor
from vrx.pipeline.chunking import Chunk, Item, MaskedFrame, StreamPosition, make_chunks
from vrx.pipeline.convert import Bypass, FrameConverter, OutputFormat
from vrx.pipeline.executor import Control, InFlight, Resume, Save, StreamState, SynchronousExecutor, ThreadedExecutor
from vrx.pipeline.resume import stream_state

CPU = torch.device("cpu")


def restorer_for(task: str = "upscale", scale: int = 2, chunk: int = 4) -> EmbeddedRestorer:
    options = EmbeddedOptions(task=task, scale=scale if task == "upscale" else 1, sigma=None)
    restorer = EmbeddedRestorer(options, tiny_parts(), CPU, torch.float32)
    restorer.schedule = ChunkSchedule(chunk, chunk)
    return restorer


def output_for(scale: int) -> OutputFormat:
    return OutputFormat(layout=RGB, color=Color(matrix="rgb", full_range=True), scale=scale, blend=1.0, known=False)


Driver = type[SynchronousExecutor[Frame]] | type[ThreadedExecutor[Frame]]
DRIVERS = pytest.mark.parametrize("driver", [SynchronousExecutor, ThreadedExecutor])


def walk(
    restorer: Restorer, items: Iterator[Item | Control], driver: Driver = SynchronousExecutor
) -> tuple[list[Frame], list[StreamState]]:
    executor = driver(restorer, FrameConverter(CPU, output_for(restorer.scale)))
    frames: list[Frame] = []
    states = []
    for item in executor.results(items):
        if isinstance(item, InFlight):
            frames += item.restored
        elif isinstance(item, Save):
            states.append(item.state)
    return frames, states


def pixels(frames: list[Frame]) -> np.ndarray:
    return np.stack([np.stack(f.planes) for f in frames]).astype(np.int16)


def vrx_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("vrx")]


@pytest.mark.parametrize(("task", "scale"), [("upscale", 2), ("upscale", 3), ("upscale", 4), ("deblur", 1)])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 9, 11])
def test_chunks_of_four_give_what_one_chunk_gives(task: str, scale: int, count: int) -> None:
    whole, _ = walk(restorer_for(task, scale, chunk=64), make_chunks(stream(count), ChunkSchedule(64, 64), scale))
    restorer = restorer_for(task, scale)
    parts, _ = walk(restorer, make_chunks(stream(count), restorer.schedule, scale))
    assert [f.pts for f in parts] == [40 * i for i in range(count)]
    assert np.abs(pixels(parts) - pixels(whole)).max() <= 1  # of 255: float32 differences below 1e-4 may round apart


def test_float_results_agree_to_a_ten_thousandth() -> None:
    results = []
    for chunk in (5, 64):
        restorer = restorer_for(chunk=chunk)
        pictures: list[torch.Tensor] = []

        class Recorder(FrameConverter):
            """Keeps what the stages give."""

            def to_frames(
                self, chunk: Chunk, restored: torch.Tensor, bypass: Bypass, pictures: list[torch.Tensor] = pictures
            ) -> list[Frame]:
                pictures.append(restored.clone())
                return []

        driver = ThreadedExecutor(restorer, Recorder(CPU, output_for(2)))
        for _ in driver.results(make_chunks(stream(10), restorer.schedule, 2)):
            pass
        results.append(torch.cat(pictures))
    torch.testing.assert_close(*results, atol=1e-4, rtol=0)


def test_a_cut_starts_over() -> None:
    restorer = restorer_for()
    both, _ = walk(restorer, make_chunks(stream(9, cuts=[4]), restorer.schedule, 2))
    alone, _ = walk(restorer, make_chunks(stream(5, start=4), restorer.schedule, 2))
    assert np.array_equal(pixels(both[4:]), pixels(alone))


@pytest.mark.parametrize("stop", [4, 8])
@pytest.mark.parametrize("task", ["upscale", "deblur"])
def test_two_runs_with_a_saved_state_equal_one(tmp_path: Path, stop: int, task: str) -> None:
    restorer = restorer_for(task)
    scale = restorer.scale
    once, _ = walk(restorer, make_chunks(stream(13, soft=[6]), restorer.schedule, scale))

    def first() -> Iterator[Item | Control]:
        scene = None
        for item in make_chunks(stream(stop, soft=[6]), restorer.schedule, scale):
            scene = item if isinstance(item, SceneStart) else scene
            yield item
        assert scene is not None
        yield Save(StreamState(scene, stop // 4, stop))

    begun, states = walk(restorer, first())
    stream_state.write(states[0], tmp_path / "state")
    state = stream_state.read(tmp_path / "state")

    def second() -> Iterator[Item | Control]:
        yield Resume(state)
        place = StreamPosition(state.scene.number, state.index, state.frame)
        yield from make_chunks(stream(13 - stop, soft=[6], start=stop), restorer.schedule, scale, place)

    ended, _ = walk(restorer_for(task), second())
    assert np.array_equal(pixels(begun + ended), pixels(once))


@pytest.mark.parametrize("task", ["upscale", "deblur"])
def test_both_executors_give_the_same_items(task: str) -> None:
    """Frames and saved states, bit by bit, over cuts and soft boundaries."""
    found = []
    drivers: tuple[Driver, Driver] = (SynchronousExecutor, ThreadedExecutor)
    for driver in drivers:
        restorer = restorer_for(task)
        items = make_chunks(stream(21, cuts=[6], soft=[12]), restorer.schedule, restorer.scale)
        found.append(walk(restorer, save_after_every_chunk(items), driver))
    (frames, states), (others, other_states) = found
    assert np.array_equal(pixels(frames), pixels(others))
    assert [f.pts for f in frames] == [f.pts for f in others]
    assert len(states) == len(other_states) == 6
    for state, other in zip(states, other_states, strict=True):
        assert (state.scene, state.index, state.frame) == (other.scene, other.index, other.frame)
        assert {n: list(t) for n, t in state.stages.items()} == {n: list(t) for n, t in other.stages.items()}
        for name, tensors in state.stages.items():
            assert all(torch.equal(tensor, other.stages[name][key]) for key, tensor in tensors.items())


def save_after_every_chunk(items: Iterator[Item]) -> Iterator[Item | Control]:
    scene = None
    for item in items:
        yield item
        if isinstance(item, SceneStart):
            scene = item
        else:
            assert scene is not None
            yield Save(StreamState(scene, item.index + 1, item.first_frame + len(item.frames)))


class Passing(StatelessStage[Any, Any]):
    """Stages that do nothing but count; `fail_at` names a chunk at which they raise."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.fail_at, self.seen = fail_at, 0

    def step(self, chunk: Any, state: SceneStart) -> tuple[Any, SceneStart]:
        self.seen += 1
        if self.seen == self.fail_at:
            raise RuntimeError("stage failed")
        return chunk, state


class Returning(Passing):
    """Gives what came in as the result."""

    def step(self, chunk: DeviceChunk, state: SceneStart) -> tuple[RestoredChunk, SceneStart]:
        return RestoredChunk(super().step(chunk, state)[0].frames), state


class Nothing:
    """A restorer that returns what it gets, with the chunks of Wan's causal codec."""

    scale = 1
    schedule = ChunkSchedule(9, 12, multiple=4, first_offset=1)

    def __init__(self, failing: str = "", fail_at: int = 2) -> None:
        kinds: dict[str, type[Passing]] = {"encode": Passing, "generate": Passing, "decode": Returning}
        self.stages: Mapping[str, AnyStage] = {
            name: kind(fail_at if name == failing else None) for name, kind in kinds.items()
        }


@pytest.mark.parametrize("count", [1, 4, 5, 8, 9, 10, 20, 21, 33, 34])
def test_padded_tails_are_trimmed(count: int) -> None:
    frames, _ = walk(Nothing(), make_chunks(stream(count), Nothing.schedule, 1))
    expected = [s.frame for s in stream(count)]
    assert np.array_equal(pixels(frames), pixels(expected))


def test_a_chunk_in_turn_has_left_before_the_next_enters() -> None:
    steps: list[tuple[str, int]] = []

    class Noting(Passing):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def step(self, chunk: Any, state: SceneStart) -> tuple[Any, SceneStart]:
            steps.append((self.name, self.seen))
            found, state = super().step(chunk, state)
            return (RestoredChunk(found.frames) if self.name == "decode" else found), state

    restorer = Nothing()
    restorer.stages = {name: Noting(name) for name in restorer.stages}
    executor = ThreadedExecutor(restorer, FrameConverter(CPU, output_for(1)), in_turn=True)
    frames = [f for item in executor.results(make_chunks(stream(33), restorer.schedule, 1)) for f in restored(item)]
    assert steps == [(name, number) for number in range(3) for name in ("encode", "generate", "decode")]
    assert np.array_equal(pixels(frames), pixels([s.frame for s in stream(33)]))


def restored(item: object) -> list[Frame]:
    return item.restored if isinstance(item, InFlight) else []


@pytest.mark.parametrize("failing", ["encode", "generate", "decode"])
@pytest.mark.parametrize("in_turn", [False, True])
def test_a_failure_in_turn_or_not_joins_every_thread(failing: str, in_turn: bool) -> None:
    executor = ThreadedExecutor(Nothing(failing), FrameConverter(CPU, output_for(1)), in_turn=in_turn)
    with pytest.raises(RuntimeError, match="stage failed"):
        list(executor.results(make_chunks(stream(500, size=(4, 4)), Nothing.schedule, 1)))
    assert vrx_threads() == []


@pytest.mark.parametrize("failing", ["encode", "generate", "decode"])
@DRIVERS
def test_a_failing_stage_stops_everything(driver: Driver, failing: str) -> None:
    with pytest.raises(RuntimeError, match="stage failed"):
        walk(Nothing(failing), make_chunks(stream(500, size=(4, 4)), Nothing.schedule, 1), driver)
    assert vrx_threads() == []


@DRIVERS
def test_a_failing_source_stops_everything(driver: Driver) -> None:
    def broken() -> Iterator[MaskedFrame]:
        yield from stream(40, size=(4, 4))
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        walk(Nothing(), make_chunks(broken(), Nothing.schedule, 1), driver)
    assert vrx_threads() == []


@DRIVERS
def test_leaving_the_walk_early_joins_every_thread_and_closes_the_source(driver: Driver) -> None:
    closed = []

    def endless() -> Iterator[MaskedFrame]:
        try:
            while True:
                yield from stream(8, size=(4, 4))
        finally:
            closed.append(True)

    results = driver(Nothing(), FrameConverter(CPU, output_for(1))).results(make_chunks(endless(), Nothing.schedule, 1))
    for item in results:
        if isinstance(item, InFlight):
            break
    results.close()
    assert vrx_threads() == []
    assert closed == [True]


def test_six_hundred_frames_take_no_more_than_a_few() -> None:
    """Counts the frames alive at once, which is what memory is made of."""
    alive, most = 0, 0
    lock = threading.Lock()

    class Counted(MaskedFrame):
        def __init__(self, source: MaskedFrame) -> None:
            nonlocal alive, most
            super().__init__(source.frame, source.mask, source.boundary)
            with lock:
                alive += 1
                most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            with lock:
                alive -= 1

    def counted() -> Iterator[MaskedFrame]:
        for source in stream(600, size=(4, 4)):
            yield Counted(source)

    restorer = restorer_for()
    driver = ThreadedExecutor(restorer, FrameConverter(CPU, output_for(2)))
    done = 0
    for item in driver.results(make_chunks(counted(), restorer.schedule, 2)):
        done += len(item.restored) if isinstance(item, InFlight) else 0
    assert done == 600
    assert most <= 4 * (4 * 2 + 6)  # four channels of two chunks, and one chunk in every hand


def test_values_that_are_no_numbers_are_named() -> None:
    class Broken(Passing):
        def step(self, chunk: DeviceChunk, state: SceneStart) -> tuple[DeviceChunk, SceneStart]:
            return replace(chunk, frames=chunk.frames * float("nan")), state

    restorer = Nothing()
    restorer.stages = {**restorer.stages, "generate": Broken()}
    with pytest.raises(Exception, match="NaN or Inf near frame 0"):
        walk(restorer, make_chunks(stream(3), Nothing.schedule, 1))


def test_a_stop_does_not_wait_for_a_long_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step on a processor may take minutes; it is left to end by itself."""
    monkeypatch.setattr(executor, "STOP_SECONDS", 1.0)
    begun, over = threading.Event(), threading.Event()
    restorer = restorer_for()

    class Slow(Passing):
        def step(self, chunk: Any, state: SceneStart) -> tuple[Any, SceneStart]:
            begun.set()
            assert over.wait(60)
            raise ModelError("too late for anyone")

    monkeypatch.setitem(restorer.stages, "generate", Slow())
    driver = ThreadedExecutor(restorer, FrameConverter(CPU, output_for(restorer.scale)))
    results = driver.results(make_chunks(stream(40), restorer.schedule, restorer.scale))
    assert isinstance(next(results), SceneStart)
    assert begun.wait(60)
    driver.hurry()
    results.close()
    assert "vrx generate" in vrx_threads()
    over.set()
    for thread in threading.enumerate():
        if thread.name == "vrx generate":
            thread.join(60)
    assert vrx_threads() == []
