"""A model's stages one after the other: states pass from chunk to chunk, and can be saved and loaded."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from vrx.models.base import AnyStage, ChunkSchedule, DeviceChunk, RestoredChunk, SceneStart, Stage
from vrx.models.runner import SceneRunner, restore_scene


class Sum(Stage[DeviceChunk, DeviceChunk, Tensor]):
    """Adds all earlier frames' mean to a chunk."""

    def start(self, scene: SceneStart) -> Tensor:
        return torch.zeros(())

    def step(self, chunk: DeviceChunk, state: Tensor) -> tuple[DeviceChunk, Tensor]:
        return DeviceChunk(chunk.frames + state), state + chunk.frames.mean()

    def save(self, state: Tensor) -> dict[str, Tensor]:
        return {"sum": state.clone()}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> Tensor:
        return tensors["sum"]


class Double(Sum):
    """The last stage: as Sum, twice as large."""

    def step(self, chunk: DeviceChunk, state: Tensor) -> tuple[RestoredChunk, Tensor]:  # type: ignore[override]
        found, state = super().step(chunk, state)
        return RestoredChunk(found.frames.repeat_interleave(2, -1).repeat_interleave(2, -2)), state


class Model:
    schedule, scale = ChunkSchedule(1, 1), 2

    def __init__(self) -> None:
        self.stages: Mapping[str, AnyStage] = {"sum": Sum(), "double": Double()}


def chunks(count: int) -> list[DeviceChunk]:
    return [DeviceChunk(torch.full((1, 3, 2, 4), float(number + 1))) for number in range(count)]


def values(results: list[RestoredChunk]) -> list[float]:
    return [float(result.frames.mean()) for result in results]


def test_states_pass_from_chunk_to_chunk() -> None:
    results = list(restore_scene(Model(), chunks(3)))
    assert values(results) == [1, 4, 10]
    assert results[0].frames.shape == (1, 3, 4, 8)


@pytest.mark.parametrize("at", [1, 2])
def test_a_saved_scene_continues_in_another_runner(at: int) -> None:
    first, second, scene = SceneRunner(Model()), SceneRunner(Model()), SceneStart(0, (2, 4), (4, 8))
    first.start(scene)
    begun = [first.step(chunk) for chunk in chunks(3)[:at]]
    saved = first.save()
    first.step(chunks(1)[0])  # changes nothing that was saved
    second.load(scene, saved)
    assert values(begun + [second.step(chunk) for chunk in chunks(3)[at:]]) == [1, 4, 10]


def test_each_stage_is_measured_by_its_name() -> None:
    entered = []

    @contextmanager
    def around(name: str) -> Iterator[None]:
        entered.append(name)
        yield

    runner = SceneRunner(Model(), around)
    runner.start(SceneStart(0, (2, 4), (4, 8)))
    runner.step(chunks(1)[0])
    assert entered == ["sum", "double"]
