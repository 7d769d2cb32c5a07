"""The same threads, each on a CUDA stream of its own, or with one copy a chunk: faster, and the same result?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vrx.bench.gpu.context import Context
from vrx.bench.gpu.driver import tensors_in, through_threads
from vrx.bench.gpu.restorers import Spec, embedded, restorer_of
from vrx.models.base import AnyStage, SceneStart, Stage

Ready = dict[int, "torch.cuda.Event"]  # what a stage gave, by its identity, and when the device is done with it


class OnStream(Stage[Any, Any, Any]):
    """A stage whose thread works on a stream of its own; what it gives is handed over by an event."""

    def __init__(self, stage: AnyStage, ready: Ready) -> None:
        self._stage, self._ready = stage, ready
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def start(self, scene: SceneStart) -> Any:
        """As the stage does; from here on its thread, conversions included, uses the stream."""
        torch.cuda.set_stream(self._stream)
        return self._stage.start(scene)

    def step(self, chunk: Any, state: Any) -> tuple[Any, Any]:
        """As the stage does, after the stage before."""
        before = self._ready.pop(id(chunk), None)
        if before is not None:
            self._stream.wait_event(before)
            for tensor in tensors_in(chunk):
                if tensor.is_cuda:
                    tensor.record_stream(self._stream)
        result, state = self._stage.step(chunk, state)
        self._ready[id(result)] = self._stream.record_event()
        return result, state

    def save(self, state: Any) -> dict[str, Tensor]:
        """As the stage does."""
        return self._stage.save(state)

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> Any:
        """As the stage does."""
        return self._stage.load(scene, tensors)


def measure_copies(context: Context, words: Sequence[str]) -> None:
    """The embedded model at some sizes, with a copy for every plane and with one a chunk each way, in turn."""
    for word in words:
        task, size = word.split(":")
        width, height = (int(side) for side in size.split("x"))
        scale = 4 if task == "upscale" else 1
        source = (32, 48) if context.tiny else (height // scale, width // scale)
        with context.results.guard("embedded", what=word, part="copies"):
            restorer = embedded(task, scale, context.device, context.dtype)
            count, masked, found = 8 if context.tiny else 80, task == "inpaint", []
            for packed in ("off", "on", "off", "on"):
                os.environ["VRX_PACKED"] = packed  # of this process alone
                context.clear()
                found.append(through_threads(restorer, context.device, count, source, masked))
            one = {"many": [found[0].fps, found[2].fps], "packed": [found[1].fps, found[3].fps]}
            worst = found[0].worst_difference(found[1])
            context.results.emit("embedded", what=word, part="copies", fps=one, worst_levels=worst)


def measure(context: Context, words: Sequence[str]) -> None:
    """Frames a second on one stream and on three, and the largest difference."""
    for word in words:
        with context.results.guard("bench", what=word, part="streams"):
            spec = Spec.parse(word, context.tiny)
            restorer = restorer_of(spec, context)
            schedule, source = restorer.schedule, (spec.height // restorer.scale, spec.width // restorer.scale)
            count = schedule.first + schedule.next * (1 if context.tiny else 6)
            warm = schedule.first + schedule.next * 2
            through_threads(restorer, context.device, warm, source, spec.masked)
            context.sync()
            one = through_threads(restorer, context.device, count, source, spec.masked)
            if context.cuda:
                ready: Ready = {}
                restorer.stages = {name: OnStream(stage, ready) for name, stage in restorer.stages.items()}
                through_threads(restorer, context.device, warm, source, spec.masked)
                context.sync()
            three = through_threads(restorer, context.device, count, source, spec.masked)
            worst = one.worst_difference(three)
            found = {"fps_one_stream": one.fps, "fps_three_streams": three.fps, "worst_levels": worst}
            context.results.emit("bench", what=word, steady=True, part="streams", **found)
