"""When an autoencoder works in tiles, where they begin, and how their seams blend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vrx.networks.causal_conv import ConvCache

SPATIAL = 8  # pixels a side of a latent, in most autoencoders
TILE, STRIDE = 128, 110  # latents of 8 pixels; as InfVSR's release
TILED_FROM = 1024  # rows of output above which `auto` tiles where the memory is not known
RESERVE = 8_000_000_000  # bytes that stay free where caches of tiles stay on a GPU: the maps of one tile


@dataclass(frozen=True)
class Tiles:
    """Side and stride of tiles in latents."""

    side: int = TILE
    stride: int = STRIDE

    def __post_init__(self) -> None:
        if not 0 < self.stride <= self.side:
            raise ValueError(f"tiles of {self.side} latents cannot begin {self.stride} apart")


@dataclass(frozen=True)
class Tiling:
    """When an autoencoder works in tiles: `wanted` is `auto`, `off`, or a side in pixels of output.

    `untiled` pixels of output fit the device in one piece, and `free` asks for its free bytes; None where
    neither is known.
    """

    wanted: str = "auto"
    untiled: int | None = None
    free: Callable[[], int | None] | None = None

    def tiles(self, height: int, width: int, spatial: int = SPATIAL) -> Tiles | None:
        """Tiles for an output of so many pixels, None for one piece; `spatial` pixels a side of a latent."""
        if self.wanted not in ("auto", "off"):
            side = int(self.wanted) // spatial
            return Tiles(side, side - max(4, side * (TILE - STRIDE) // TILE))
        fits = height <= TILED_FROM if self.untiled is None else height * width <= self.untiled
        return None if self.wanted == "off" or fits else usual_tiles(spatial)

    def offload(self, cache: ConvCache, device: torch.device) -> ConvCache:
        """The cache of a tile that waits for the next step: on the device while there is room, else on the host."""
        return cache if self.has_room(device) else cache.to(torch.device("cpu"))

    def has_room(self, device: torch.device) -> bool:
        """Whether what tiles keep may stay on a device between their turns."""
        free = None if self.free is None else self.free()
        return device.type != "cuda" or (free is not None and free >= RESERVE)


def usual_tiles(spatial: int) -> Tiles:
    """Tiles of 1024 pixels; `spatial` pixels a side of a latent."""
    return Tiles(TILE * SPATIAL // spatial, STRIDE * SPATIAL // spatial)


class Mosaic:
    """An output of `grid` (rows, columns of latents), put together from overlapping tiles; `scale` pixels a latent.

    `places` are where tiles begin; what a tile gave is added there, weighted so that the seams blend.
    """

    def __init__(self, grid: tuple[int, int], tiles: Tiles, scale: int) -> None:
        self._grid, self._tiles, self._scale = grid, tiles, scale
        self._rows, self._columns = (starts(length, tiles) for length in grid)
        self.places = [(top, left) for top in self._rows for left in self._columns]
        self._total = self._weights = torch.empty(0)

    def cut(self, x: Tensor, place: tuple[int, int], scale: int) -> Tensor:
        """The tile of an input [..., rows, columns] of `scale` pixels a latent."""
        rows, columns = (slice(begin * scale, (begin + self._tiles.side) * scale) for begin in place)
        return x[..., rows, columns]

    def add(self, place: tuple[int, int], out: Tensor) -> None:
        """What a tile gave."""
        if not self._total.numel():
            height, width = (length * self._scale for length in self._grid)
            self._total = out.new_zeros(*out.shape[:-2], height, width)
            self._weights = out.new_zeros(height, width)
        window, weight = self._weigh(place, out)
        self._total[(..., *window)] += out * weight
        self._weights[window] += weight

    def _weigh(self, place: tuple[int, int], out: Tensor) -> tuple[tuple[slice, slice], Tensor]:
        """Where a tile's output goes, and its weights [rows, columns]."""
        (top, left), (height, width) = place, out.shape[-2:]
        overlap = (self._tiles.side - self._tiles.stride) * self._scale
        vertical = ramp(height, overlap, top == 0, top == self._rows[-1], out)
        level = ramp(width, overlap, left == 0, left == self._columns[-1], out)
        rows, columns = top * self._scale, left * self._scale
        return (slice(rows, rows + height), slice(columns, columns + width)), vertical[:, None] * level[None]

    def result(self) -> Tensor:
        """All of it, once every tile is there."""
        return self._total / self._weights


def starts(length: int, tiles: Tiles) -> list[int]:
    """Where tiles begin along an axis; no tile is added where the one before reaches the end."""
    found = [0]
    while found[-1] + tiles.side < length:
        found.append(found[-1] + tiles.stride)
    return found


def ramp(length: int, overlap: int, first: bool, last: bool, like: Tensor) -> Tensor:
    """Weights of a tile along an axis: linear over the overlap toward a neighbor, 1 elsewhere."""
    weight = torch.ones(length, device=like.device)
    if not overlap:
        return weight
    rise = (torch.arange(overlap, device=like.device) + 1) / overlap
    edge = min(overlap, length)
    if not first:
        weight[:edge] = torch.minimum(weight[:edge], rise[:edge])
    if not last:
        weight[-edge:] = torch.minimum(weight[-edge:], rise.flip(0)[-edge:])
    return weight
