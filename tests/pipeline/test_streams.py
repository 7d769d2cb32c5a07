"""Streams of stages: that nothing is used before it is there, on a device that is not there."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.models import small, small_wan22
from tests.pipeline.racing import Device, WatchedStream
from vrx.bench.gpu.driver import LAYOUT, moving_pattern
from vrx.bench.gpu.restorers import embedded, fixtures
from vrx.media.frame import Color, Frame
from vrx.models.base import Restorer, SceneStart
from vrx.networks.fusion import Failure, take_failures
from vrx.pipeline import streams
from vrx.pipeline.chunking import Item, MaskedFrame, make_chunks
from vrx.pipeline.convert import Bypass, FrameConverter, OutputFormat
from vrx.pipeline.executor import Control, InFlight, Save, StreamState, ThreadedExecutor
from vrx.pipeline.streams import StageStream, stage_streams, tensors_in
from vrx.scenes.detect import Boundary
from vrx.settings import RestoreSettings, Task

CPU = torch.device("cpu")
SOURCE = (20, 36)


def output_of(restorer: Restorer, masked: bool = False) -> OutputFormat:
    color = Color(matrix="bt709", full_range=False)
    return OutputFormat(layout=LAYOUT, color=color, scale=restorer.scale, known=masked, blend=0.9)


def chunks_of(
    restorer: Restorer, count: int, masked: bool = False, source: tuple[int, int] = SOURCE
) -> Iterator[Item | Control]:
    """Two scenes, the second of three frames."""
    hole = np.zeros(source, bool)
    hole[4:10, 6:20] = True
    items = (
        MaskedFrame(frame, hole if masked else None, Boundary.HARD if i in (0, count - 3) else Boundary.NONE)
        for i, frame in enumerate(moving_pattern(count, source))
    )
    return make_chunks(items, restorer.schedule, restorer.scale)


def restore(
    restorer: Restorer,
    count: int,
    made: dict[str, WatchedStream],
    masked: bool = False,
    source: tuple[int, int] = SOURCE,
) -> list[Frame]:
    executor = ThreadedExecutor(restorer, FrameConverter(CPU, output_of(restorer, masked)), streams=made)
    results: list[Frame] = []
    for item in executor.results(chunks_of(restorer, count, masked, source)):
        if isinstance(item, InFlight):
            results += item.restored
    return results


def watched(restorer: Restorer, device: Device) -> dict[str, WatchedStream]:
    return {name: WatchedStream(name, device) for name in restorer.stages}


def check(restorer: Restorer, count: int, masked: bool = False, source: tuple[int, int] = SOURCE) -> None:
    device = Device()
    made = watched(restorer, device)
    results = restore(restorer, count, made, masked, source)
    assert len(results) == count
    assert list(dict.fromkeys(device.faults)) == []
    first, *_, last = (stream.operations for stream in made.values())
    assert min(first, last) > 5


@pytest.mark.parametrize(("task", "scale"), [("upscale", 2), ("deblur", 1), ("inpaint", 1)])
def test_the_embedded_models_stages_wait_for_each_other(task: str, scale: int) -> None:
    check(embedded(task, scale, CPU, torch.float32), 12, masked=task == "inpaint", source=(32, 48))


FIXTURES = ("infvsr tiny", "instantvir inpaint", "flashvsr")  # others: their stages are the same, or come together here


@pytest.mark.parametrize("name", FIXTURES)
def test_stages_of_large_models_wait_for_each_other(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRX_HOME", str(tmp_path))
    fixture = next(fixture for fixture in fixtures(tmp_path) if fixture.name == name)
    check(fixture.build(CPU, torch.float32), 16, fixture.task is Task.INPAINT)


@pytest.mark.parametrize("make", [small.swiftvr, small.fastvr, small_wan22.relayvsr, small_wan22.recavsr])
def test_stages_of_models_on_wan_22_wait_for_each_other(make: Callable[[Path], Path], tmp_path: Path) -> None:
    model = small_wan22.load(make(tmp_path))
    check(model.restorer(RestoreSettings(task=Task.UPSCALE, scale=4)), 30)


@pytest.mark.parametrize("omitted", ["receive", "mark"])
def test_a_hand_over_that_is_omitted_is_noticed(omitted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object) -> None:
        pass

    monkeypatch.setattr(WatchedStream, omitted, nothing)
    device = Device()
    restorer = embedded("upscale", 2, CPU, torch.float32)
    restore(restorer, 6, watched(restorer, device))
    words = "before encode was done" if omitted == "receive" else "on memory of encode that is not marked"
    assert any(words in fault for fault in device.faults)


class Stream:
    """Stands in for a stream of torch's: what was asked of it."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    def record_event(self) -> str:
        return "mark"

    def wait_event(self, event: object) -> None:
        self.calls.append(f"wait for {event}")

    def wait_stream(self, stream: object) -> None:
        self.calls.append("wait for a stream")

    def synchronize(self) -> None:
        self.calls.append("wait here")


def test_a_stage_works_in_its_stream_and_others_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    mine, usual = Stream(calls), Stream(calls)
    current: list[Stream] = [usual]
    monkeypatch.setattr(torch.accelerator, "current_stream", lambda _: current[-1])
    monkeypatch.setattr(torch.accelerator, "set_stream", current.append)
    stage = StageStream(mine, CPU)
    with stage.current():
        assert current[-1] is mine
    assert current[-1] is usual
    stage.receive(None, (torch.ones(1),))
    assert calls == []
    stage.receive(stage.hand_over(), (torch.ones(1),))
    stage.finish()
    stage.follow()
    stage.precede()
    assert calls == ["wait for mark", "wait here", "wait for a stream", "wait for a stream"]


def test_a_device_that_failed_hides_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("illegal memory access")

    monkeypatch.setattr(torch.accelerator, "current_stream", broken)
    StageStream(Stream([]), CPU).precede()


def test_every_tensor_of_what_is_handed_over_is_found() -> None:
    value = {"a": (torch.ones(1), [torch.zeros(2)]), "b": Bypass(pictures=torch.ones(3)), "c": "text", "d": None}
    assert [len(tensor) for tensor in tensors_in(value)] == [1, 2, 3]


def test_streams_are_made_for_gpus_only_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    take_failures()
    cuda = torch.device("cuda", 0)
    streams.nth_stream.cache_clear()
    monkeypatch.delenv("VRX_STREAMS", raising=False)
    monkeypatch.setattr(torch, "Stream", lambda _: Stream([]))
    assert stage_streams(CPU, ["encode"]) == {}
    made, again = (stage_streams(cuda, ["encode", "decode"]) for _ in range(2))
    assert list(made) == ["encode", "decode"]
    assert made["encode"]._stream is again["encode"]._stream is not made["decode"]._stream
    monkeypatch.setenv("VRX_STREAMS", "off")
    assert stage_streams(cuda, ["encode"]) == {}
    monkeypatch.delenv("VRX_STREAMS")
    streams.nth_stream.cache_clear()
    monkeypatch.setattr(torch, "Stream", broken_stream)
    assert stage_streams(cuda, ["encode"]) == {}
    assert take_failures() == [
        Failure("stages-in-turn", "all stages share a stream of cuda:0: RuntimeError: no more streams")
    ]


def broken_stream(_: torch.device) -> None:
    raise RuntimeError("no more streams")


def test_stages_that_work_in_turn_share_a_stream() -> None:
    restorer = embedded("upscale", 2, CPU, torch.float32)
    made = watched(restorer, Device())
    executor = ThreadedExecutor(restorer, FrameConverter(CPU, output_of(restorer)), True, streams=made)
    for _ in executor.results(chunks_of(restorer, 3)):
        pass
    assert [stream.time for stream in made.values()] == [0, 0, 0]


def test_states_are_saved_once_the_stream_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(WatchedStream, "finish", lambda stream: waited.append(stream.name))
    restorer = embedded("upscale", 2, CPU, torch.float32)
    made = watched(restorer, Device())
    executor = ThreadedExecutor(restorer, FrameConverter(CPU, output_of(restorer)), streams=made)
    scene = SceneStart(0, SOURCE, (2 * SOURCE[0], 2 * SOURCE[1]))
    for _ in executor.results([*chunks_of(restorer, 3), Save(StreamState(scene, 3, 3))]):
        pass
    assert waited == ["encode", "generate", "decode"]
