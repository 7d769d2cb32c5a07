"""A model's stages run one after the other, without threads: one scene, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor

from vrx.models.base import AnyStage, DeviceChunk, RestoredChunk, Restorer, SceneStart


class StageRunner:
    """One stage, and its state in the running scene; not safe to share between threads."""

    def __init__(self, stage: AnyStage) -> None:
        self.stage = stage
        self.state: Any = None

    def start(self, scene: SceneStart) -> None:
        """Begin a scene."""
        self.state = self.stage.start(scene)

    def step(self, value: Any) -> Any:
        """Process one chunk: what the stage before gave, to what the next one takes."""
        value, self.state = self.stage.step(value, self.state)
        return value

    def save(self) -> dict[str, Tensor]:
        """The state as tensors, independent of later steps."""
        return self.stage.save(self.state)

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> None:
        """Continue a scene from the state that `save` gave."""
        self.state = self.stage.load(scene, tensors)


class SceneRunner:
    """All stages of a model over a scene's chunks.

    `around(name)` is entered around each step of the stage of that name, for those who measure.
    """

    def __init__(
        self, restorer: Restorer, around: Callable[[str], AbstractContextManager[object]] = nullcontext
    ) -> None:
        self.runners = {name: StageRunner(stage) for name, stage in restorer.stages.items()}
        self._around = around

    def start(self, scene: SceneStart) -> None:
        """Begin a scene."""
        for runner in self.runners.values():
            runner.start(scene)

    def step(self, chunk: DeviceChunk) -> RestoredChunk:
        """Restore one chunk."""
        value: Any = chunk
        for name, runner in self.runners.items():
            with self._around(name):
                value = runner.step(value)
        assert isinstance(value, RestoredChunk)
        return value

    def save(self) -> dict[str, dict[str, Tensor]]:
        """The states of all stages by name, as tensors."""
        return {name: runner.save() for name, runner in self.runners.items()}

    def load(self, scene: SceneStart, tensors: dict[str, dict[str, Tensor]]) -> None:
        """Continue a scene from the states that `save` gave."""
        for name, runner in self.runners.items():
            runner.load(scene, tensors[name])


def restore_scene(restorer: Restorer, chunks: Iterable[DeviceChunk]) -> Iterator[RestoredChunk]:
    """Restore the chunks of one scene, in order; their sizes must be those of the model's schedule."""
    runner = SceneRunner(restorer)
    for number, chunk in enumerate(chunks):
        if number == 0:
            height, width = chunk.frames.shape[-2:]
            runner.start(SceneStart(0, (height, width), (height * restorer.scale, width * restorer.scale)))
        yield runner.step(chunk)
