"""Where SATB-VR's tiles of a latent begin, and which part of each counts.  Pure functions.

Tiles overlap, and their results are not blended: every position belongs to one tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True)
class Span:
    """A tile along one axis: latents `start` to `stop`, of which it owns `first` to `last`, counted from its start."""

    start: int
    stop: int
    first: int
    last: int

    @property
    def whole(self) -> slice:
        """The tile."""
        return slice(self.start, self.stop)

    @property
    def owned(self) -> slice:
        """Its part of the result, counted from its start."""
        return slice(self.first, self.last)

    @property
    def target(self) -> slice:
        """Its part of the result, counted from the axis' start."""
        return slice(self.start + self.first, self.start + self.last)


@dataclass(frozen=True, kw_only=True)
class Side:
    """The most latents of a tile along an axis, and about how far the next one begins."""

    tile: int
    stride: int

    def __post_init__(self) -> None:
        if not 0 < self.stride <= self.tile:
            raise ValueError(f"tiles of {self.tile} latents cannot begin {self.stride} apart")

    def spans(self, length: int) -> list[Span]:
        """The tiles that cover so many latents, evenly spread; one more at the end where they miss it."""
        if length <= self.tile:
            return [Span(0, length, 0, length)]
        room = length - self.tile
        stride = -(-room // -(-room // self.stride))
        starts = list(range(0, room + 1, stride))
        overlap = self.tile - stride
        head, tail = -(-overlap // 2), overlap // 2
        spans = [Span(start, start + self.tile, head if start else 0, self.tile - tail) for start in starts]
        if starts[-1] < room:
            return [*spans, Span(room, length, self.tile - tail - room % stride, self.tile)]
        return [*spans[:-1], Span(room, length, head if room else 0, self.tile)]


SPATIAL = Side(tile=128, stride=96)  # latents: 1024 and 768 pixels
TEMPORAL = Side(tile=20, stride=16)  # latent frames: 80 and 64 frames


Index = tuple[slice, ...]  # into a latent [B, F, 16, h, w]


@dataclass(frozen=True)
class Tile:
    """A part of a latent, along time, rows and columns."""

    time: Span
    rows: Span
    columns: Span

    @property
    def whole(self) -> Index:
        """The tile in the latent."""
        return index(self.time.whole, self.rows.whole, self.columns.whole)

    @property
    def owned(self) -> Index:
        """In a result of the tile's size, what counts of it."""
        return index(self.time.owned, self.rows.owned, self.columns.owned)

    @property
    def target(self) -> Index:
        """In the latent, where that belongs."""
        return index(self.time.target, self.rows.target, self.columns.target)


def index(time: slice, rows: slice, columns: slice) -> Index:
    """Into all videos and channels."""
    return slice(None), time, slice(None), rows, columns


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """Which axes are cut: None leaves one whole."""

    temporal: Side | None = None
    spatial: Side | None = None

    def tiles(self, shape: Sequence[int]) -> list[Tile]:
        """The tiles of a latent of `shape` [B, F, 16, h, w], by time, then rows, then columns."""
        sides = (self.temporal, self.spatial, self.spatial)
        lengths = (shape[1], *shape[-2:])
        spans = [spans_of(side, length) for side, length in zip(sides, lengths, strict=True)]
        return [Tile(*parts) for parts in product(*spans)]


def spans_of(side: Side | None, length: int) -> list[Span]:
    """The tiles along an axis; one where it is not cut."""
    return [Span(0, length, 0, length)] if side is None else side.spans(length)
