"""The one place that knows how stages are driven here: chunk after chunk by hand, and through the real threads."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vrx.media.frame import Color, Frame, Kind, Layout
from vrx.models.base import DeviceChunk, Restorer, SceneStart
from vrx.models.runner import SceneRunner, StageRunner
from vrx.pipeline.chunking import MaskedFrame, make_chunks
from vrx.pipeline.convert import FrameConverter, OutputFormat
from vrx.pipeline.executor import InFlight, ThreadedExecutor
from vrx.pipeline.streams import stage_streams
from vrx.scenes.detect import Boundary

Size = tuple[int, int]  # height and width
LAYOUT = Layout(Kind.YUV, 8, 1, 1)
HOLE = (slice(4, 10), slice(6, 20))  # rows and columns that masks cover in small pictures


class Stream:
    """One scene of a restorer, driven by hand."""

    def __init__(self, restorer: Restorer, source: Size) -> None:
        self.restorer, self.source = restorer, source
        scale = restorer.scale
        self._scene = SceneStart(0, source, (source[0] * scale, source[1] * scale))
        runner = SceneRunner(restorer)
        runner.start(self._scene)
        self.stages = runner.runners
        self.number = 0

    def chunk(self, frames: Tensor, after: Tensor | None, hole: Tensor | None) -> DeviceChunk:
        """The next chunk from its frames [T, 3, H, W] (padded here), those after it, and a mask [1, 1, H, W]."""
        schedule = self.restorer.schedule
        padding = schedule.padding(len(frames), self.number == 0)
        whole = torch.cat([frames, frames[-1:].expand(padding, -1, -1, -1)])
        masks = None if hole is None else hole.expand(len(whole), -1, -1, -1)
        return DeviceChunk(whole, masks, frozenset({0} if self.number == 0 else ()), after)

    def noise(self, device: torch.device, masked: bool) -> DeviceChunk:
        """The next chunk, of random pixels."""
        schedule = self.restorer.schedule
        count = schedule.size(self.number)
        x = torch.rand(count + schedule.ahead, 3, *self.source, device=device)
        hole = torch.zeros(1, 1, *self.source, device=device) if masked else None
        return self.chunk(x[:count].contiguous(), x[count:] if schedule.ahead else None, hole)

    def steps(self, chunk: DeviceChunk) -> Iterator[tuple[str, Callable[[], None]]]:
        """The stages' steps on a chunk, to be called one after the other; `result` is the chunk's afterwards."""
        value: Any = chunk

        def work(stage: StageRunner) -> None:
            nonlocal value
            value = stage.step(value)

        for name, stage in self.stages.items():
            yield name, partial(work, stage)
        self.result: Tensor = value.frames
        self.number += 1

    def step(self, chunk: DeviceChunk) -> Tensor:
        """A chunk through all stages: frames [T, 3, H, W]."""
        for _, work in self.steps(chunk):
            work()
        return self.result

    def reload(self) -> None:
        """Save every state, to the processor, and go on from the copy."""
        for stage in self.stages.values():
            stage.load(self._scene, {key: tensor.cpu() for key, tensor in stage.save().items()})


@torch.inference_mode()
def restore(restorer: Restorer, clip: Tensor, masked: bool = False, reload_at: int = -1) -> Tensor:
    """All frames [T, 3, H, W] of one scene; before chunk `reload_at` the states are saved and loaded."""
    stream = Stream(restorer, (clip.shape[-2], clip.shape[-1]))
    schedule = restorer.schedule
    hole = None
    if masked:
        hole = torch.zeros(1, 1, *clip.shape[-2:], device=clip.device)
        hole[(..., *HOLE)] = 1
    results, start = [], 0
    while start < len(clip):
        if stream.number == reload_at:
            stream.reload()
        frames = clip[start : start + schedule.size(stream.number)]
        start += len(frames)
        after = torch.cat([clip[start:], clip[-1:].expand(schedule.ahead, -1, -1, -1)])[: schedule.ahead]
        chunk = stream.chunk(frames, after if schedule.ahead else None, hole)
        results.append(stream.step(chunk)[: len(frames)])
    return torch.cat(results)


def moving_pattern(count: int, size: Size) -> Iterator[Frame]:
    """Decoded frames of something that moves."""
    color = Color(matrix="bt709", full_range=False)
    y, x = np.mgrid[: size[0], : size[1]]
    gray = np.full(LAYOUT.chroma_size(size[0], size[1]), 128, np.uint8)
    for t in range(count):
        luma = (128 + 60 * np.sin((x + 2 * t) / 7) * np.cos((y - t) / 5)).astype(np.uint8)
        yield Frame((luma, gray, gray), LAYOUT, color, t, Fraction(1, 25))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run through the threads gave: seconds in all and by stage, and its frames."""

    seconds: float
    stages: Mapping[str, float]
    frames: list[Frame]

    @property
    def fps(self) -> float:
        """Frames a second."""
        return round(len(self.frames) / self.seconds, 1)

    def by_stage(self) -> dict[str, float]:
        """Seconds of each stage, rounded."""
        return {name: round(value, 2) for name, value in self.stages.items()}

    def worst_difference(self, other: Outcome) -> int:
        """The largest difference of a sample, in levels."""
        planes = [
            (a.astype(int), b.astype(int))
            for first, second in zip(self.frames, other.frames, strict=True)
            for a, b in zip(first.planes, second.planes, strict=True)
        ]
        return max(int(abs(a - b).max()) for a, b in planes)


def through_threads(restorer: Restorer, device: torch.device, count: int, source: Size, masked: bool) -> Outcome:
    """Frames through the real stages, threads and conversions, without files."""
    frames = list(moving_pattern(count, source))
    hole = np.zeros(source, bool)
    hole[source[0] // 4 : source[0] // 2, source[1] // 4 : source[1] // 2] = True
    first = frames[0]
    output = OutputFormat(layout=first.layout, color=first.color, scale=restorer.scale, known=masked)
    streams = stage_streams(device, restorer.stages)
    executor = ThreadedExecutor(restorer, FrameConverter(device, output), streams=streams)
    sources = (
        MaskedFrame(f, hole if masked else None, Boundary.NONE if i else Boundary.HARD) for i, f in enumerate(frames)
    )
    begin = perf_counter()
    results: list[Frame] = []
    for item in executor.results(make_chunks(sources, restorer.schedule, restorer.scale)):
        if isinstance(item, InFlight):
            results += item.restored
    return Outcome(perf_counter() - begin, dict(executor.timings.seconds), results)
