"""Tiles for Wan 2.2's networks, in tokens: 32 pixels of output a side, of two latents a side."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from vrx.models.tiling import SPATIAL, Mosaic, Tiles, Tiling

PIXELS = 32  # of output, a side of a token
PATCH = 2  # latents, a side of a token
SHARE = 8  # of a tile's side, one part overlaps the next tile

Grid = tuple[int, int]  # rows and columns of tokens
Cut = Callable[[Tensor, int], Tensor]  # the tile of an input [..., rows, columns] of so many values a token
Run = Callable[[int, Cut], Tensor]  # what tile number so much gives


def token_tiles(tiling: Tiling, grid: Grid) -> Tiles | None:
    """Tiles for an output of so many tokens, None for one piece; one token of overlap at least."""
    wanted = tiling.tiles(grid[0] * PIXELS, grid[1] * PIXELS)
    if wanted is None:
        return None
    side = max(2, wanted.side * SPATIAL // PIXELS)
    return None if max(grid) <= side else Tiles(side, side - max(1, side // SHARE))


def tile_sizes(tiles: Tiles | None, grid: Grid) -> list[Grid]:
    """Rows and columns of every tile of a grid."""
    if tiles is None:
        return [grid]
    places = Mosaic(grid, tiles, 1).places
    return [(min(tiles.side, grid[0] - top), min(tiles.side, grid[1] - left)) for top, left in places]


def in_tiles(grid: Grid, tiles: Tiles | None, scale: int, run: Run) -> Tensor:
    """What `run` gives for a grid of tokens, `scale` values each: of its tiles, blended, or of all at once."""
    if tiles is None:
        return run(0, lambda x, _: x)
    mosaic = Mosaic(grid, tiles, scale)
    for number, place in enumerate(mosaic.places):

        def cut(x: Tensor, values: int, place: tuple[int, int] = place) -> Tensor:
            return mosaic.cut(x, place, values)

        mosaic.add(place, run(number, cut))
    return mosaic.result()
