"""When an autoencoder works in tiles, where they begin, and how their seams blend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vrx.networks.causal_conv import ConvCache

SPATIAL = 8  # pixels a side of a latent, in every autoencoder that is tiled here
TILE, STRIDE = 128, 110  # latents; as InfVSR's release
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

    def tiles(self, height: int, width: int) -> Tiles | None:
        """Tiles for an output of so many pixels, None for one piece."""
        if self.wanted not in ("auto", "off"):
            side = int(self.wanted) // SPATIAL
            return Tiles(side, side - max(4, side * (TILE - STRIDE) // TILE))
        fits = height <= TILED_FROM if self.untiled is None else height * width <= self.untiled
        return None if self.wanted == "off" or fits else Tiles()

    def offload(self, cache: ConvCache, device: torch.device) -> ConvCache:
        """The cache of a tile that waits for the next step: on the device while there is room, else on the host."""
        free = None if self.free is None else self.free()
        if device.type != "cuda" or (free is not None and free >= RESERVE):
            return cache
        return cache.to(torch.device("cpu"))


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
