"""Where SATB-VR's tiles of a latent begin, and which part of each counts.  Pure functions.

Tiles overlap, and their results are not blended: every position belongs to one tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from vrx.networks.axis_tiles import Span


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
        cuts = [0, *(start + head for start in starts[1:])]
        ends = [start + self.tile - tail for start in starts]
        spans = [Span(start, start + self.tile, *owned) for start, *owned in zip(starts, cuts, ends, strict=True)]
        if starts[-1] < room:
            return [*spans, Span(room, length, ends[-1], length)]
        return [*spans[:-1], Span(room, length, cuts[-1], length)]


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
        return index(self.time.inside, self.rows.inside, self.columns.inside)

    @property
    def target(self) -> Index:
        """In the latent, where that belongs."""
        return index(self.time.counted, self.rows.counted, self.columns.counted)


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
