"""Frames to chunks: lengths by the model's schedule, the last one of a scene padded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vrx.media.frame import Frame
from vrx.models.base import ChunkSchedule, SceneStart
from vrx.scenes.detect import Boundary


@dataclass(frozen=True)
class MaskedFrame:
    """A frame, its mask [H, W] bool or None, and the scene boundary that it begins, if any."""

    frame: Frame
    mask: np.ndarray | None
    boundary: Boundary


@dataclass(frozen=True)
class Chunk:
    """Frames of one scene that go through the stages together.

    `padding` frames at the end repeat the last one and are trimmed after; `index` counts from 0 in the
    scene; `first_frame` counts from 0 in the stream; `ahead` are frames that follow in the scene, its
    last one repeated where it ends; `last` says that none follow, where the schedule has frames ahead.
    """

    frames: tuple[MaskedFrame, ...]
    padding: int
    index: int
    first_frame: int
    ahead: tuple[MaskedFrame, ...] = ()
    last: bool = False

    @property
    def refresh(self) -> frozenset[int]:
        """Places of frames that become the reference."""
        return frozenset(i for i, s in enumerate(self.frames) if s.boundary is not Boundary.NONE)


Item = Chunk | SceneStart


@dataclass(frozen=True)
class StreamPosition:
    """A position in a stream: the running scene, its next chunk, and the next frame of the stream."""

    scene: int
    index: int
    frame: int


def make_chunks(
    frames: Iterator[MaskedFrame], schedule: ChunkSchedule, scale: int, start: StreamPosition | None = None
) -> Iterator[Item]:
    """Scene starts and chunks in order; a hard cut ends a chunk wherever it falls.

    The first frame continues the scene of `start`, where one is given, instead of beginning one.
    """
    scene, index, count = (start.scene, start.index, start.frame) if start else (-1, 0, 0)
    waiting: list[MaskedFrame] = []
    for source in frames:
        schedule = schedule.within(source.frame.height * source.frame.width * scale**2)
        if source.boundary is Boundary.HARD or scene < 0:
            yield from flush(waiting, schedule, index, count)
            waiting = []
            scene, index = scene + 1, 0
            size = (source.frame.height, source.frame.width)
            yield SceneStart(scene, size, (size[0] * scale, size[1] * scale))
        waiting.append(source)
        count += 1
        while len(waiting) >= schedule.size(index) + schedule.lookahead(index):
            chunk = make_chunk(waiting, schedule, index, count)
            yield chunk
            waiting, index = waiting[len(chunk.frames) :], index + 1
    yield from flush(waiting, schedule, index, count)


def flush(waiting: list[MaskedFrame], schedule: ChunkSchedule, index: int, count: int) -> Iterator[Chunk]:
    """The chunks of the frames that are left at a scene's end."""
    while waiting:
        chunk = make_chunk(waiting, schedule, index, count)
        yield chunk
        waiting, index = waiting[len(chunk.frames) :], index + 1


def make_chunk(waiting: list[MaskedFrame], schedule: ChunkSchedule, index: int, count: int) -> Chunk:
    """A chunk of the first of the waiting frames, with the padding it needs; `count` frames were seen so far."""
    frames, after = waiting[: schedule.size(index)], waiting[schedule.size(index) :]
    lookahead = schedule.lookahead(index)
    ahead = [*after, *[waiting[-1]] * lookahead][:lookahead]
    padding = schedule.padding(len(frames), index == 0)
    last = bool(lookahead) and not after
    return Chunk(tuple(frames), padding, index, count - len(waiting), tuple(ahead), last)
