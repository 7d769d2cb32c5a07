"""Tiles for networks whose latents are 16 pixels a side and whose tokens are two latents: Wan 2.2's."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from vrx.models.tiling import SPATIAL, Mosaic, Tiles, Tiling

LATENT = 16  # pixels of output a side
PATCH = 2  # latents of a token, a side
SHARE = 8  # of a tile's side, one part overlaps the next tile

Cut = Callable[[Tensor, int], Tensor]  # the tile of an input [..., rows, columns] of so many pixels a latent
Run = Callable[[int, Cut], Tensor]  # what tile number so much gives


def latent_tiles(tiling: Tiling, height: int, width: int) -> Tiles | None:
    """Tiles for an output of so many pixels, None for one piece; whole tokens, and at least one of overlap."""
    wanted = tiling.tiles(height, width)
    if wanted is None:
        return None
    side = even(wanted.side * SPATIAL // LATENT)
    tiles = Tiles(side, side - even(side // SHARE))
    return None if max(height, width) <= side * LATENT else tiles


def even(count: int) -> int:
    """So many latents as whole tokens, one at least."""
    return max(PATCH, count - count % PATCH)


def tile_sizes(tiles: Tiles | None, grid: tuple[int, int]) -> list[tuple[int, int]]:
    """Rows and columns of every tile of a grid of latents."""
    if tiles is None:
        return [grid]
    places = Mosaic(grid, tiles, 1).places
    return [(min(tiles.side, grid[0] - top), min(tiles.side, grid[1] - left)) for top, left in places]


def in_tiles(grid: tuple[int, int], tiles: Tiles | None, scale: int, run: Run) -> Tensor:
    """What `run` gives for a grid of latents, `scale` pixels each: of its tiles, blended, or of all at once."""
    if tiles is None:
        return run(0, lambda x, _: x)
    mosaic = Mosaic(grid, tiles, scale)
    for number, place in enumerate(mosaic.places):

        def cut(x: Tensor, pixels: int, place: tuple[int, int] = place) -> Tensor:
            return mosaic.cut(x, place, pixels)

        mosaic.add(place, run(number, cut))
    return mosaic.result()
