"""Which tokens attend to one another in SwiftVR: windows over rows and columns that hold all frames of a chunk.

Windows overlap where they would leave the picture; a token in several of them has its result from one.  Pure functions.

Legend: F frames, R x C rows x columns of tokens, W windows, S tokens of a window.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from vrx.networks import dense_attention

WINDOW = 16  # tokens a side: 512 pixels

Grid = tuple[int, int, int]  # frames, rows, columns


@dataclass(frozen=True)
class Windows:
    """`gather` [W, S]: the token at each place of each window; `owner` [F x R x C]: the place W x S of its result."""

    gather: Tensor
    owner: Tensor


def axis_starts(tokens: int, window: int, shifted: bool) -> list[int]:
    """Where windows begin along an axis; `shifted` by half a window, in every second layer."""
    if tokens <= window:
        return [0]
    shift = window // 2 if shifted else 0
    places = (place * window - shift for place in range(-(-tokens // window) + 2))
    starts = sorted({min(max(start, 0), tokens - window) for start in places})
    inner = zip(starts, starts[1:-1], starts[2:], strict=False)
    covered = {start for before, start, after in inner if after <= before + window}
    return [start for start in starts if start not in covered]


def axis_owners(tokens: int, starts: list[int], window: int, last: bool) -> Tensor:
    """The window that each place of an axis has its result from: the first that holds it, or the last."""
    places = torch.arange(tokens)
    begins = torch.tensor(starts)
    holds = (places[:, None] >= begins) & (places[:, None] < begins + window)
    if last:
        return len(starts) - 1 - holds.flip(1).int().argmax(1)
    return holds.int().argmax(1)


@lru_cache(maxsize=16)
def plan(grid: Grid, window: int, shifted: bool, device: torch.device) -> Windows | None:
    """The windows of a grid; None where one holds everything."""
    frames, rows, columns = grid
    high, wide = min(window, rows), min(window, columns)
    tops, lefts = axis_starts(rows, window, shifted), axis_starts(columns, window, shifted)
    if len(tops) == len(lefts) == 1:
        return None
    row = torch.tensor(tops)[:, None] + torch.arange(high)
    column = torch.tensor(lefts)[:, None] + torch.arange(wide)
    frame = torch.arange(frames)[:, None, None] * rows * columns
    places = frame + row[:, None, None, :, None] * columns + column[None, :, None, None, :]
    row_owner, column_owner = axis_owners(rows, tops, high, shifted), axis_owners(columns, lefts, wide, shifted)
    number = row_owner[:, None] * len(lefts) + column_owner
    down = torch.arange(rows) - torch.tensor(tops)[row_owner]
    across = torch.arange(columns) - torch.tensor(lefts)[column_owner]
    inside = down[:, None] * wide + across
    size = high * wide
    owner = number * frames * size + torch.arange(frames)[:, None, None] * size + inside
    return Windows(places.flatten(2).flatten(0, 1).to(device), owner.flatten().to(device))


def attend(q: Tensor, k: Tensor, v: Tensor, windows: Windows | None) -> Tensor:
    """Attention inside of windows, all of them at once; tensors [B, heads, F x R x C, D], queries and keys rotated."""
    if windows is None:
        return dense_attention.attend(q, k, v)
    parts = [x.transpose(1, 2)[:, windows.gather].flatten(0, 1).transpose(1, 2) for x in (q, k, v)]
    attended = dense_attention.attend(parts[0], parts[1], parts[2])  # [B x W, heads, S, D]
    slots = attended.transpose(1, 2).unflatten(0, (q.shape[0], -1)).flatten(1, 2)
    return slots[:, windows.owner].transpose(1, 2)
