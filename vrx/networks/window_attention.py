"""Attention of every query to a rectangle of tokens around it, in each of several frames of a grid.

Two rules for borders: a window is cut there, or moved inward so that it keeps its size.  Pure functions.

Legend: B batch, h query heads, g groups of keys and values, F frames of queries, K frames of keys, R x C rows x
columns, d head width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

from vrx.networks import dense_attention
from vrx.networks.flashvsr.attention import block_mask_maker, flex
from vrx.networks.fusion import lacks_memory, report_failure

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

SIDE = 8  # rows and columns of queries that are computed together
TILE = (8, 16)  # rows and columns of tokens that are a block of a GPU's kernel
TOKENS = TILE[0] * TILE[1]
Grid = tuple[int, int]  # rows, columns
Span = tuple[int, int]  # the first place that is seen along an axis, and the one after the last


@dataclass(frozen=True)
class Window:
    """Rows and columns of a frame that a query sees: from half a window before it on.

    `inward`: at borders it is moved so that it keeps its size, where the grid has it; else it is cut.
    """

    rows: int
    columns: int
    inward: bool = False

    def spans(self, grid: Grid) -> tuple[list[Span], list[Span]]:
        """What the queries of each row see of the rows, and those of each column of the columns."""
        rows, columns = (
            [self._span(place, length, window) for place in range(length)]
            for length, window in zip(grid, (self.rows, self.columns), strict=True)
        )
        return rows, columns

    def _span(self, place: int, length: int, window: int) -> Span:
        if self.inward:
            window = min(window, length)
            first = min(max(place - window // 2, 0), length - window)
            return first, first + window
        return max(0, place - window // 2), min(length, place - window // 2 + window)

    def covers(self, grid: Grid) -> bool:
        """Whether every query sees all of a frame."""
        return all(span == (0, length) for spans, length in zip(self.spans(grid), grid, strict=True) for span in spans)


Windows = tuple[Window, ...]  # one a frame of keys


@dataclass(frozen=True)
class Block:
    """Queries that are computed together, what they see of each frame of keys, and a mask where they differ in that.

    `queries`: rows and columns; `keys`: those of each frame.  `mask`: [queries of one frame, keys].
    """

    queries: tuple[slice, slice]
    keys: tuple[tuple[slice, slice], ...]
    mask: Tensor | None


@lru_cache(maxsize=8)
def blocks(grid: Grid, windows: Windows, device: torch.device) -> tuple[Block, ...]:
    """All queries of a frame in blocks; blocks whose masks are equal share one."""
    masks: dict[tuple[object, ...], Tensor | None] = {}
    spans = [window.spans(grid) for window in windows]
    found = []
    for top, left in places(grid):
        queries = (slice(top, min(top + SIDE, grid[0])), slice(left, min(left + SIDE, grid[1])))
        seen = [tuple(axis[part] for axis, part in zip(both, queries, strict=True)) for both in spans]
        keys = tuple((extent(rows), extent(columns)) for rows, columns in seen)
        pattern = tuple(tuple((low - part[0][0], high - part[0][0]) for low, high in part) for s in seen for part in s)
        if pattern not in masks:
            masks[pattern] = block_mask(pattern, device)
        found.append(Block(queries, keys, masks[pattern]))
    return tuple(found)


def places(grid: Grid) -> Iterator[tuple[int, int]]:
    """The first row and column of every block."""
    return ((top, left) for top in range(0, grid[0], SIDE) for left in range(0, grid[1], SIDE))


def extent(spans: list[Span]) -> slice:
    """From the first place that any of them has to the last."""
    return slice(min(low for low, _ in spans), max(high for _, high in spans))


def block_mask(pattern: tuple[tuple[Span, ...], ...], device: torch.device) -> Tensor | None:
    """Which keys each query of a block sees, made on the processor; None where that is all of them.

    `pattern`: spans of rows and of columns by turns, for each frame, counted from the first key.
    """
    axes = []
    for spans in pattern:
        place = torch.arange(max(high for _, high in spans))
        bounds = torch.tensor(spans)
        axes.append((place >= bounds[:, :1]) & (place < bounds[:, 1:]))  # [queries, keys] along an axis
    frames = [
        (rows[:, None, :, None] & columns[None, :, None, :]).flatten(0, 1).flatten(1)
        for rows, columns in zip(axes[::2], axes[1::2], strict=True)
    ]
    mask = torch.cat(frames, 1)
    return None if bool(mask.all()) else mask.to(device)


def attend(q: Tensor, k: Tensor, v: Tensor, grid: Grid, windows: Windows) -> Tensor:
    """Attention [B, h, F R C, d] of queries to keys and values [B, g, K R C, d], one window for each of K frames.

    Tokens are in (frame, row, column) order; the heads of a group follow each other; one softmax over all frames.
    """
    if all(window.covers(grid) for window in set(windows)):
        return dense_attention.attend(q, k, v, grouped=q.shape[1] != k.shape[1])
    if not q.is_cuda or _get_current_dispatch_mode() is not None:  # nothing compiled runs while operations are counted
        return attend_blocks(q, k, v, grid, windows)
    return on_gpu(q, k, v, grid, windows)


class Compiled:
    """FlexAttention on a GPU; block by block from the first failure to compile it on, which is reported once."""

    def __init__(self) -> None:
        self.fails = False

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, grid: Grid, windows: Windows) -> Tensor:
        """See `attend`."""
        if not self.fails:
            try:
                return attend_flex(q, k, v, grid, windows)
            except Exception as error:  # compilers fail in many ways, and there is another one
                if lacks_memory(error):
                    raise
                report_failure("not-compiled", "window attention runs block by block", error)
                self.fails = True
        return attend_blocks(q, k, v, grid, windows)


on_gpu = Compiled()


def attend_blocks(q: Tensor, k: Tensor, v: Tensor, grid: Grid, windows: Windows) -> Tensor:
    """The same, block by block of queries, each with the rectangles of keys that any of them sees."""
    queries, keys, values = (x.unflatten(2, (-1, *grid)) for x in (q, k, v))
    grouped = q.shape[1] != k.shape[1]
    out = torch.empty_like(queries)
    for block in blocks(grid, windows, q.device):
        rows, columns = block.queries
        query = queries[:, :, :, rows, columns]
        key, value = (gather(x, block) for x in (keys, values))
        mask = None if block.mask is None else block.mask.repeat(query.shape[2], 1)
        seen = dense_attention.attend(query.flatten(2, 4), key, value, mask, grouped=grouped)
        out[:, :, :, rows, columns] = seen.view(query.shape)
    return out.flatten(2, 4)


def gather(x: Tensor, block: Block) -> Tensor:
    """What a block sees of keys or values [B, g, K, R, C, d], as [B, g, tokens, d]."""
    parts = [x[:, :, frame, rows, columns].flatten(2, 3) for frame, (rows, columns) in enumerate(block.keys)]
    return torch.cat(parts, 2)


# ---------------------------------------------------------------- FlexAttention


@dataclass(frozen=True, eq=False)
class TiledTokens:
    """The tokens of a frame in tiles, padded to whole ones.

    `order`: [n] place of every token in (row, column) order, that of some other for padding; `back`: [N] the inverse.
    `rows` and `columns`: [n] of every token; those of padding lie beyond the grid, where nobody sees.
    """

    order: Tensor
    back: Tensor
    rows: Tensor
    columns: Tensor

    @classmethod
    def of(cls, grid: Grid) -> TiledTokens:
        """Those of a grid."""
        tall, wide = (-(-side // tile) * tile for side, tile in zip(grid, TILE, strict=True))
        place = torch.arange(tall * wide).view(tall // TILE[0], TILE[0], wide // TILE[1], TILE[1])
        tiles = place.transpose(1, 2).flatten()
        rows, columns = tiles // wide, tiles % wide
        order = rows.clamp_max(grid[0] - 1) * grid[1] + columns.clamp_max(grid[1] - 1)
        inside = (rows < grid[0]) & (columns < grid[1])
        back = torch.empty(grid[0] * grid[1], dtype=torch.long)
        back[order[inside]] = inside.nonzero()[:, 0]
        return cls(order, back, rows, columns)

    def __len__(self) -> int:
        return len(self.order)


@dataclass(frozen=True, eq=False)
class FlexPlan:
    """For `attend_flex`: token orders of queries and keys, that of the result, and the mask by blocks."""

    queries: Tensor
    keys: Tensor
    back: Tensor
    mask: BlockMask


def over_frames(index: Tensor, frames: int, size: int) -> Tensor:
    """Places in a frame of `size` tokens as places in several."""
    return (index[None] + size * torch.arange(frames)[:, None]).flatten()


@lru_cache(maxsize=16)
def flex_plan(grid: Grid, windows: Windows, frames: int, device: torch.device) -> FlexPlan:
    """The plan for queries of so many frames."""
    tokens, size = TiledTokens.of(grid), grid[0] * grid[1]
    count = len(tokens)
    bounds = token_bounds(tokens, grid, windows)
    rows, columns = tokens.rows.to(device), tokens.columns.to(device)
    top, bottom, left, right = (bound.to(device) for bound in bounds)

    def is_seen(_: Tensor, __: Tensor, query: Tensor, key: Tensor) -> Tensor:
        frame, q, k = key // count, query % count, key % count
        inside = (rows[k] >= top[frame, q]) & (rows[k] < bottom[frame, q])
        return inside & (columns[k] >= left[frame, q]) & (columns[k] < right[frame, q])

    some, every = (part.repeat(frames, 1) for part in seen_blocks(tokens, bounds))
    lists = [block_lists(part.to(device)) for part in (some & ~every, every)]
    mask = block_mask_maker()(*lists[0], *lists[1], TOKENS, mask_mod=is_seen)
    return FlexPlan(
        queries=over_frames(tokens.order, frames, size).to(device),
        keys=over_frames(tokens.order, len(windows), size).to(device),
        back=over_frames(tokens.back, frames, count).to(device),
        mask=mask,
    )


def token_bounds(tokens: TiledTokens, grid: Grid, windows: Windows) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """First row, row after the last, first column, column after the last that each token sees, [K, n] each.

    Padding sees what the token beside it does: what it gives is thrown away.
    """
    spans = [window.spans(grid) for window in windows]
    rows, columns = (torch.tensor([both[axis] for both in spans]) for axis in (0, 1))  # [K, places, 2]
    row, column = tokens.rows.clamp_max(grid[0] - 1), tokens.columns.clamp_max(grid[1] - 1)
    return rows[:, row, 0], rows[:, row, 1], columns[:, column, 0], columns[:, column, 1]


def seen_blocks(tokens: TiledTokens, bounds: tuple[Tensor, Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Of which blocks of keys a block of queries sees some, and every token: [blocks, K blocks] bool each."""
    some = every = torch.ones((), dtype=torch.bool)
    for axis, part in enumerate((tokens.rows, tokens.columns)):
        first, last = part.view(-1, TOKENS).aminmax(dim=1)  # of each block of keys
        low, high = (bound.unflatten(1, (-1, TOKENS)) for bound in bounds[2 * axis : 2 * axis + 2])
        some = some & (low.amin(2)[..., None] <= last) & (high.amax(2)[..., None] > first)
        every = every & (low.amax(2)[..., None] <= first) & (high.amin(2)[..., None] > last)
    return some.transpose(0, 1).flatten(1), every.transpose(0, 1).flatten(1)


def block_lists(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks of keys are chosen for each block of queries, and which: as block masks take them."""
    count = chosen.sum(-1, dtype=torch.int32)[None, None]
    order = chosen.to(torch.int8).argsort(dim=-1, descending=True, stable=True).to(torch.int32)[None, None]
    return count, order


def attend_flex(q: Tensor, k: Tensor, v: Tensor, grid: Grid, windows: Windows) -> Tensor:
    """The same by FlexAttention, one kernel over the blocks that are seen (compiled on CUDA)."""
    plan = flex_plan(grid, windows, q.shape[2] // (grid[0] * grid[1]), q.device)
    kernel = flex(q.is_cuda)
    queries, keys, values = q[:, :, plan.queries], k[:, :, plan.keys], v[:, :, plan.keys]
    out = kernel(queries, keys, values, block_mask=plan.mask, enable_gqa=q.shape[1] != k.shape[1])
    return out[:, :, plan.back]
