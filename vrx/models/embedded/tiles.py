"""Large pictures in overlapping tiles, so that memory does not grow with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

LARGE = 2560 * 1440  # pixels, from above which frames are restored one at a time and in tiles
SIDE, MARGIN = 1024, 128  # pixels of a tile that are its own, and seen around them; multiples of the network's windows
EXAMINED = (1440, 2560)  # pixels of a large picture, from its middle, that its damage is read from


def is_large(frames: Tensor) -> bool:
    """Whether pictures [..., H, W] are restored in tiles."""
    return frames.shape[-2] * frames.shape[-1] > LARGE


def middle(frames: Tensor, most: tuple[int, int] = EXAMINED) -> Tensor:
    """The middle of pictures [..., H, W], at most so large."""
    top, left = (max(0, (have - want) // 2) for have, want in zip(frames.shape[-2:], most, strict=True))
    return frames[..., top : top + most[0], left : left + most[1]]


def spans(length: int) -> Iterator[tuple[slice, slice, slice]]:
    """Tiles along a side: what each sees, its own part of that, and where this goes."""
    for start in range(0, length, SIDE):
        first, end = max(0, start - MARGIN), min(length, start + SIDE)
        yield slice(first, min(length, end + MARGIN)), slice(start - first, end - first), slice(start, end)


def in_tiles(frames: Tensor, restore: Callable[[Tensor], Tensor]) -> Tensor:
    """Pictures [N, 3, H, W] restored tile by tile, in place; `restore` gives the same size.

    Rows that the next tiles still have to see are kept as they were.
    """
    above = frames[..., :0, :]
    for rows, own_rows, to_rows in spans(frames.shape[-2]):
        seen = torch.cat([above, frames[..., to_rows.start : rows.stop, :]], -2)
        above = frames[..., max(0, to_rows.stop - MARGIN) : to_rows.stop, :].clone()
        for columns, own_columns, to_columns in spans(frames.shape[-1]):
            found = restore(seen[..., columns])
            frames[..., to_rows, to_columns] = found[..., own_rows, own_columns]
    return frames
