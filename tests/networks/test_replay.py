from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from vrx.networks import replay
from vrx.networks.fusion import take_failures
from vrx.networks.replay import WARM, Function, Inputs, Replayed


@dataclass
class Tape:
    """What a graph does, on the processor: every replay reads the same inputs and writes to the same outputs."""

    function: Function
    inputs: Inputs
    outputs: tuple[Tensor, ...]
    replays: int = 0
    wrong: float = 0.0

    def replay(self) -> None:
        self.replays += 1
        for output, found in zip(self.outputs, self.function(*self.inputs), strict=True):
            output.copy_(found + self.wrong)


class Tapes:
    """Records tapes; `errors` are raised by the first recordings."""

    def __init__(self, *errors: Exception, wrong: float = 0.0) -> None:
        self.made, self.errors, self.wrong = list[Tape](), list(errors), wrong

    def __call__(self, function: Function, inputs: Inputs) -> Tape:
        if self.errors:
            raise self.errors.pop()
        outputs = tuple(torch.full_like(output, float("nan")) for output in function(*inputs))
        self.made.append(Tape(function, inputs, outputs, wrong=self.wrong))
        return self.made[-1]


def work(x: Tensor | None, y: Tensor | None) -> tuple[Tensor, ...]:
    assert x is not None
    return (x * 2 if y is None else x + y, x - 1)


def example(number: int, width: int = 3) -> Tensor:
    return torch.arange(width) + 10.0 * number


@pytest.fixture(autouse=True)
def _nothing_said() -> None:
    take_failures()


def test_calls_of_a_shape_are_recorded_and_replayed_with_new_inputs() -> None:
    tapes = Tapes()
    replayed = Replayed(work, tapes)
    results = [replayed(example(number), example(2 * number)) for number in range(6)]
    for number, found in enumerate(results):  # what earlier calls gave was not written over
        for a, b in zip(found, work(example(number), example(2 * number)), strict=True):
            assert torch.equal(a, b)
    (tape,) = tapes.made
    assert tape.replays == 1 + 3  # to compare it with the third call, and for those after that one
    assert take_failures() == []


def test_every_shape_layout_and_missing_input_has_its_recording() -> None:
    tapes = Tapes()
    replayed = Replayed(work, tapes)
    square = torch.arange(9.0).view(3, 3)
    calls: list[tuple[Tensor, Tensor | None]] = [
        (example(1), example(2)), (example(1), None), (example(1, 5), None), (square, None), (square.t(), None)
    ]  # fmt: skip
    for _ in range(WARM + 2):
        for x, y in calls:
            assert all(torch.equal(a, b) for a, b in zip(replayed(x, y), work(x, y), strict=True))
    assert len(tapes.made) == len(calls)
    assert [tape.replays for tape in tapes.made] == [2] * len(calls)


def test_no_more_shapes_are_recorded_than_memory_is_meant_for() -> None:
    tapes = Tapes()
    replayed = Replayed(work, tapes)
    for _ in range(WARM + 1):
        for width in range(1, 12):
            replayed(example(1, width), None)
    assert len(tapes.made) == 8


@pytest.mark.parametrize(
    ("tapes", "why"),
    [
        (Tapes(RuntimeError("operation not permitted when stream is capturing")), "operation not permitted"),
        (Tapes(torch.OutOfMemoryError("CUDA out of memory")), "out of memory"),
        (Tapes(wrong=1e-3), "a replay gives other results"),
    ],
)
def test_what_cannot_be_recorded_rightly_runs_as_it_is_and_that_is_said_once(tapes: Tapes, why: str) -> None:
    replayed = Replayed(work, tapes)
    for number in range(8):
        found = replayed(example(number), None)
        assert torch.equal(found[0], example(number) * 2)
    (said,) = take_failures()
    assert said.code == "not-recorded"
    assert said.text.startswith("frames are restored without a recorded graph: ")
    assert why in said.text
    assert len(tapes.made) <= 1


def test_a_graph_is_recorded_in_a_stream_of_its_own_beside_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    class Capture:
        def __init__(self, graph: object, **options: object) -> None:
            asked.update(options, graph=graph)

        def __enter__(self) -> None:
            asked["inside"] = True

        def __exit__(self, *_: object) -> None:
            asked["inside"] = False

    def function(*_: Tensor | None) -> tuple[Tensor, ...]:
        assert asked["inside"]
        return (torch.ones(1),)

    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: "graph")
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: f"stream of {device}")
    monkeypatch.setattr(torch.cuda, "graph", Capture)
    made = replay.record_graph(function, (None, torch.ones(2)))
    assert asked == {
        "graph": "graph", "stream": "stream of cpu", "capture_error_mode": "thread_local", "inside": False
    }  # fmt: skip
    assert made.outputs[0].item() == 1
