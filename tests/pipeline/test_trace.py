"""Traces: their format, from several threads and of a device, and what happens where they cannot be written."""

import json
import os
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

import pytest
import torch

from tests import traces
from tests.clips import ClipMaker
from tests.pipeline.jobs import make_job, notes
from vrx.batches import BatchSettings
from vrx.errors import OutputError, UsageError
from vrx.events import Event
from vrx.models.base import AnyStage
from vrx.models.runner import StageRunner
from vrx.pipeline.batch import Batch
from vrx.pipeline.device_clock import DeviceClock
from vrx.pipeline.trace import Trace


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.json"


def test_spans_of_several_threads_are_apart(path: Path) -> None:
    trace = Trace(path)

    def work() -> None:
        for _ in range(50):
            with trace.span("outer", place=1), trace.span("inner"):
                trace.count("queues", {"encode": 2})

    with trace.recording():
        assert trace.active
        threads = [threading.Thread(target=work, name=f"vrx {number}") for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        trace.mark("scene 1", frame=0)
    assert not trace.active
    spans = traces.check(json.loads(path.read_text()))
    assert spans == {f"vrx {number}": ["outer", "inner"] * 50 for number in range(4)}


def test_the_items_of_a_walk_are_spans_and_their_source_is_closed(path: Path) -> None:
    closed = []

    def source() -> Iterator[int]:
        try:
            yield from range(5)
        finally:
            closed.append(True)

    trace = Trace(path)
    with trace.recording():
        walk = trace.each("make", source())
        assert [next(walk), next(walk)] == [0, 1]
        walk.close()
    assert closed == [True]
    assert traces.check(json.loads(path.read_text())) == {"MainThread": ["make", "make"]}


def test_nothing_is_recorded_without_a_file(tmp_path: Path) -> None:
    trace = Trace(None)
    with trace.recording(), trace.span("work"):
        trace.mark("now")
        assert not trace.active
    assert list(tmp_path.iterdir()) == []
    assert DeviceClock.of(trace, torch.device("cuda"), "encode") is None


def test_every_event_is_in_the_file_at_once(path: Path) -> None:
    """So that it can be opened after a crash: what was under way has a beginning."""
    trace = Trace(path)
    with trace.recording(), trace.span("decode"):
        spans = traces.check(traces.events_of(path), complete=False)
        assert spans == {"MainThread": ["decode"]}
        cut = path.read_text()[:-20]
    path.write_text(cut)
    assert traces.events_of(path)[0]["args"] == {"name": "vrx"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which is always a full disk")
def test_a_trace_that_cannot_be_written_ends_and_the_run_goes_on(
    clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Event] = []

    def full(_: Path) -> TextIO:
        return Path("/dev/full").open("w", buffering=1)

    monkeypatch.setattr("vrx.pipeline.trace.open_file", full)
    job = make_job(clip(frames=3), tmp_path / "out.mkv")
    Batch([job], heard.append, BatchSettings(trace=tmp_path / "t.json")).restore_all()
    assert (tmp_path / "out.mkv").exists()
    note = notes(heard)["trace-incomplete"]
    assert note.text == f"the trace {tmp_path / 't.json'} is incomplete: {os.strerror(28)}"


@pytest.mark.parametrize("content", ["", '[\n{"name": "process_name", "ph": "M", "pid": 1},\n{"na'])
def test_an_earlier_trace_is_replaced(path: Path, content: str) -> None:
    path.write_text(content)
    with Trace(path).recording():
        pass
    assert [event["name"] for event in json.loads(path.read_text())][-1] == "end of the trace"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.write_text("[1]\n my notes"), "cannot replace {}, which is not a trace of vrx"),
        (lambda p: p.mkdir(), "cannot write the trace {}: it is a folder, not a file"),
        (lambda p: os.mkfifo(p), "cannot write the trace {}: it is a named pipe, not a file"),
        (lambda p: p.symlink_to("none/there"), "cannot write the trace {}: No such file or directory"),
    ],
)
def test_other_files_stay_as_they_are(path: Path, make: Any, message: str) -> None:
    make(path)
    before = path.read_text() if path.is_file() else None
    with pytest.raises(OutputError, match=message.format(path)), Trace(path).recording():
        pass
    assert before is None or path.read_text() == before


def test_a_result_does_not_take_the_trace_s_name(clip: ClipMaker, tmp_path: Path) -> None:
    job = make_job(clip(), tmp_path / "out.mkv", overwrite=True)
    with pytest.raises(UsageError, match="is the file of --trace"):
        Batch([job], lambda _: None, BatchSettings(trace=tmp_path / "out.mkv"))


def test_several_jobs_at_once_have_no_trace(path: Path) -> None:
    with pytest.raises(UsageError, match="--trace and --jobs are mutually exclusive"):
        BatchSettings(jobs=2, trace=path)
    with pytest.raises(UsageError, match="--trace and --ray are mutually exclusive"):
        BatchSettings(ray="auto", trace=path)


STAGES = ("encode", "generate", "decode")


def test_a_run_shows_every_chunk_in_every_stage(clip: ClipMaker, tmp_path: Path, path: Path) -> None:
    job = make_job(clip(frames=11, cuts=[6]), tmp_path / "out.mkv")
    Batch([job], lambda _: None, BatchSettings(trace=path)).restore_all()
    events = json.loads(path.read_text())
    spans = traces.check(events)
    assert spans["vrx read"].count("decode a frame") == 12  # and the end
    chunks = [event["args"] for event in events if event["name"] == "encode chunk" and event["ph"] == "B"]
    assert [(c["first_frame"], c["frames"]) for c in chunks] == [(0, 4), (4, 2), (6, 4), (10, 1)]
    for stage in STAGES:
        assert spans[f"vrx {stage}"].count(f"{stage} chunk") == 4
        assert spans[f"vrx {stage}"].count(f"{stage} scene") == 2
    assert spans["vrx encode"].count("to device") == spans["vrx decode"].count("to frames") == 4
    assert [name for name in spans["MainThread"] if name != "wait for work"] == [
        "job", "open the source", "load the model", "load the model", *["write"] * 4, "finish the file"
    ]  # fmt: skip
    marks = [event["name"] for event in events if event["ph"] == "i"]
    assert [name for name in marks if name in ("scene 1", "scene 2")] == ["scene 1", "scene 2"]
    counted = [event["args"] for event in events if event["ph"] == "C"]
    assert all(set(values) == {*STAGES, "write"} for values in counted)
    assert max(max(values.values()) for values in counted) <= 2


def test_a_failed_run_shows_where(clip: ClipMaker, tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(runner: StageRunner, value: Any) -> AnyStage:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(StageRunner, "step", fail)
    job = make_job(clip(), tmp_path / "out.mkv")
    Batch([job], lambda _: None, BatchSettings(trace=path)).restore_all()
    events = json.loads(path.read_text())
    traces.check([event for event in events if event["ph"] not in "stf"])
    marks = [event["name"] for event in events if event["ph"] == "i"]
    assert marks[-2].startswith("failed: out of memory (tried: one stage at a time")
    loads = [event["args"] for event in events if event["name"] == "load the model" and event["ph"] == "B"]
    assert {"model": "embedded", "in_turn": True} in loads


class Device:
    """A device that works through its stream as far as it is let, a millisecond for each mark, on its own clock."""

    def __init__(self) -> None:
        self.recorded = self.done = 0

    def make(self) -> "DeviceMoment":
        return DeviceMoment(self)


class DeviceMoment:
    def __init__(self, device: Device) -> None:
        self._device, self.place = device, 0

    def record(self) -> None:
        self._device.recorded += 1
        self.place = self._device.recorded

    def query(self) -> bool:
        return self.place <= self._device.done

    def synchronize(self) -> None:
        self._device.done = max(self._device.done, self.place)

    def elapsed_time(self, later: "DeviceMoment") -> float:
        assert max(self.place, later.place) <= self._device.done
        return float(later.place - self.place)


def test_spans_of_a_device_are_told_once_they_are_over(path: Path) -> None:
    trace, device = Trace(path), Device()
    with trace.recording():
        clock = DeviceClock(trace, "cuda:0 decode", device.make)
        begin = trace.now()
        for number in range(3):
            with clock.span(f"decode {number}"):
                device.done = 3 if number == 2 else 1  # the first one is over as the third was asked for
        told = [event["name"] for event in traces.events_of(path) if event["ph"] == "X"]
        assert told == ["decode 0"]
        clock.finish()
    events = json.loads(path.read_text())
    assert traces.check(events) == {"cuda:0 decode": ["decode 0", "decode 1", "decode 2"]}
    spans = [event for event in events if event["ph"] == "X"]
    assert [event["dur"] for event in spans] == [1000, 1000, 1000]
    starts = [event["ts"] for event in spans]
    assert [round(b - a) for a, b in pairwise(starts)] == [2000, 2000]
    assert 0 <= (begin - trace._origin) / 1000 + 1000 - starts[0] < 1e6  # the known moment was just before
