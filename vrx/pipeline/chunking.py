"""Marked frames to chunks and back: sizes by the restorer's schedule, tails padded, results trimmed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vrx.media.frame import Frame
from vrx.models.base import ChunkSchedule, SceneStart
from vrx.scenes.detect import Boundary, SceneFrame


@dataclass(frozen=True)
class Source:
    """One frame for the network: the picture, its mask [H, W] bool or None, and what begins with it."""

    frame: Frame
    mask: np.ndarray | None
    boundary: Boundary


@dataclass(frozen=True)
class Chunk:
    """Frames of one scene that go through the stages together.

    `padding` frames at the end repeat the last one and are trimmed after; `index` counts from 0 in the
    scene; `first_frame` counts from 0 in the stream; `ahead` are frames that follow in the scene, its
    last one repeated where it ends.
    """

    frames: tuple[Source, ...]
    padding: int
    index: int
    first_frame: int
    ahead: tuple[Source, ...] = ()

    @property
    def refresh(self) -> frozenset[int]:
        """Places of frames that become the reference."""
        return frozenset(i for i, s in enumerate(self.frames) if s.boundary is not Boundary.NONE)


Item = Chunk | SceneStart


def sources(marked: Iterator[SceneFrame]) -> Iterator[Source]:
    """Marked frames without masks."""
    return (Source(item.frame, None, item.boundary) for item in marked)


@dataclass(frozen=True)
class Place:
    """Where a stream stands: the running scene, its next chunk, and the next frame of the stream."""

    scene: int
    index: int
    frame: int


def chunked(
    frames: Iterator[Source], schedule: ChunkSchedule, scale: int, place: Place | None = None
) -> Iterator[Item]:
    """Scene starts and chunks in order; a hard cut ends a chunk wherever it falls.

    With a `place` the first frame goes on in that scene instead of starting one.
    """
    scene, index, count = (place.scene, place.index, place.frame) if place else (-1, 0, 0)
    waiting: list[Source] = []
    for source in frames:
        if source.boundary is Boundary.HARD or scene < 0:
            yield from rest(waiting, schedule, index, count)
            waiting = []
            scene, index = scene + 1, 0
            size = (source.frame.height, source.frame.width)
            yield SceneStart(scene, size, (size[0] * scale, size[1] * scale))
        waiting.append(source)
        count += 1
        if len(waiting) == schedule.size(index) + schedule.ahead:
            chunk = cut(waiting, schedule, index, count)
            yield chunk
            waiting, index = waiting[len(chunk.frames) :], index + 1
    yield from rest(waiting, schedule, index, count)


def rest(waiting: list[Source], schedule: ChunkSchedule, index: int, count: int) -> Iterator[Chunk]:
    """The chunks of the frames that wait at a scene's end."""
    while waiting:
        chunk = cut(waiting, schedule, index, count)
        yield chunk
        waiting, index = waiting[len(chunk.frames) :], index + 1


def cut(waiting: list[Source], schedule: ChunkSchedule, index: int, count: int) -> Chunk:
    """A chunk of the frames that wait, with the padding it needs; `count` frames were seen so far."""
    frames, after = waiting[: schedule.size(index)], waiting[schedule.size(index) :]
    ahead = [*after, *[waiting[-1]] * schedule.ahead][: schedule.ahead]
    padding = schedule.padding(len(frames), index == 0)
    return Chunk(tuple(frames), padding, index, count - len(waiting), tuple(ahead))
