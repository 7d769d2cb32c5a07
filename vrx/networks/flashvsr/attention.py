"""Locality-constrained sparse attention of FlashVSR (arXiv 2510.12747, section 3.3): which windows see which.

Windows are 2 frames x 8 x 8 tokens.  Every query window attends to all tokens of the key windows that
were kept for it; one that keeps none gives zeros.

Legend: B = 1, h heads, P frame pairs, n windows of a pair, Q = query pairs x n, K = key pairs x n,
S = 128 tokens of a window, d head width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from inspect import signature
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

from vrx.networks import dense_attention
from vrx.networks.fusion import lacks_memory, report_failure

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

WINDOW = (2, 8, 8)  # frames, rows, columns
TOKENS = WINDOW[0] * WINDOW[1] * WINDOW[2]
MASKED_WINDOWS = 8  # query windows under one mask: 1024 rows of it
LIMITS = {"recompile_limit": 256, "accumulated_recompile_limit": 1024, "fail_on_recompile_limit_hit": True}


def to_windows(x: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """[B, h, N, d] in (frame, row, column) order of `grid` to [B, h, windows x S, d].

    Windows in (pair, row, column) order, tokens inside in (frame, row, column) order.  Raises ValueError
    where the grid does not divide.
    """
    if any(side % window for side, window in zip(grid, WINDOW, strict=True)):
        raise ValueError(f"a grid of {grid} tokens does not divide into windows of {WINDOW}")
    f, r, c = (side // window for side, window in zip(grid, WINDOW, strict=True))
    x = x.unflatten(2, (f, WINDOW[0], r, WINDOW[1], c, WINDOW[2]))
    return x.permute(0, 1, 2, 4, 6, 3, 5, 7, 8).flatten(2, 7)


def from_windows(x: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """The inverse of `to_windows`."""
    f, r, c = (side // window for side, window in zip(grid, WINDOW, strict=True))
    x = x.unflatten(2, (f, r, c, *WINDOW))
    return x.permute(0, 1, 2, 5, 3, 6, 4, 7, 8).flatten(2, 7)


@cache
def local_range(rows: int, columns: int, reach: int, device: torch.device) -> Tensor:
    """Which windows of a pair may attend to which, [n, n]: rows and columns from -reach // 2 on, `reach` of them."""

    def near(count: int) -> Tensor:
        place = torch.arange(count, device=device)
        offset = place[None] - place[:, None] + reach // 2  # of the key from the first allowed
        return (offset >= 0) & (offset < reach)

    both = near(rows)[:, None, :, None] & near(columns)[None, :, None, :]
    return both.flatten(2).flatten(0, 1)


def kept_count(windows: int, key_windows: int, ratio: float) -> int:
    """Entries of one query pair's map [n, K] that are attended to: floor(n^2 ratio) - 1, less than all."""
    return max(0, min(int(windows**2 * ratio) - 1, windows * key_windows - 1))


def select(q: Tensor, k: Tensor, local: Tensor, ratio: float) -> Tensor:
    """Which key windows each query window attends to, [h, Q, K] bool.

    `q` [1, h, Q x S, d] and `k` [1, h, K x S, d] in window order, after norm and rotation; `local` [n, n].
    Softmax of the means' products over the allowed windows, then the highest `kept_count` of each query
    pair's whole map, strictly above the next.
    """
    n = len(local)
    means = [x[0].unflatten(1, (-1, TOKENS)).mean(2, dtype=torch.float32) for x in (q, k)]  # [h, windows, d]
    scores = means[0] @ means[1].transpose(1, 2) / q.shape[-1] ** 0.5
    queries, keys = scores.shape[1] // n, scores.shape[2] // n
    scores = scores.masked_fill(~local.repeat(queries, keys), float("-inf")).softmax(-1)
    maps = scores.unflatten(1, (queries, n)).flatten(2)  # [h, query pairs, n x K]
    count = kept_count(n, keys * n, ratio)
    bar = torch.kthvalue(maps, maps.shape[-1] - count, dim=-1, keepdim=True).values
    return (maps > bar).unflatten(2, (n, -1)).flatten(1, 2)


def attend(q: Tensor, k: Tensor, v: Tensor, keep: Tensor) -> Tensor:
    """Attention [1, h, Q x S, d] of every query window to its selected key windows; all in window order."""
    if not q.is_cuda or _get_current_dispatch_mode() is not None:  # nothing compiled runs while operations are counted
        return attend_gathered(q, k, v, keep)
    return on_gpu(q, k, v, keep)


class Sparse:
    """FlexAttention on a GPU; from the first failure to compile it on, fused attention with a mask.

    FlexAttention needs Triton, a C compiler and an Ampere card or newer; uncompiled it would hold all scores of
    all heads at once, tens of gigabytes.  Before it is given up, it is tried with the lists of a gradient as well.
    """

    def __init__(self) -> None:
        self._lists = [False, True]  # what is left to try

    @property
    def fails(self) -> bool:
        """Whether FlexAttention was given up."""
        return not self._lists

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, keep: Tensor) -> Tensor:
        """See `attend`."""
        while self._lists:
            try:
                return attend_flex(q, k, v, keep, lists=self._lists[0])
            except Exception as error:  # compilers fail in many ways, and there is another one
                if lacks_memory(error):
                    raise
                del self._lists[0]
                then = "with all its lists" if self._lists else "as masked attention, which is slower"
                report_failure("not-compiled", f"sparse attention runs {then}", error)
        return attend_masked(q, k, v, keep)


on_gpu = Sparse()


def attend_masked(q: Tensor, k: Tensor, v: Tensor, keep: Tensor) -> Tensor:
    """The same by fused attention under a mask of all keys, a few query windows at a time.

    Everything is computed and what is not kept thrown away.
    """
    out = torch.empty_like(q)
    for first in range(0, keep.shape[1], MASKED_WINDOWS):
        part = keep[:, first : first + MASKED_WINDOWS]
        rows = slice(first * TOKENS, first * TOKENS + part.shape[1] * TOKENS)
        mask = part.repeat_interleave(TOKENS, 1).repeat_interleave(TOKENS, 2)[None]
        seen = dense_attention.attend(q[:, :, rows], k, v, mask)
        some = part.any(-1).repeat_interleave(TOKENS, 1)[None, ..., None]
        out[:, :, rows] = seen.where(some, torch.zeros_like(seen))  # a row that keeps nothing is not a number
    return out


def attend_gathered(q: Tensor, k: Tensor, v: Tensor, keep: Tensor) -> Tensor:
    """Window by window, over its selected keys gathered into one tensor: no masked-out work."""
    queries, keys, values = (x[0].unflatten(1, (-1, TOKENS)) for x in (q, k, v))
    out = torch.zeros_like(queries)
    for head, row in keep.any(-1).nonzero().tolist():
        kept = keep[head, row].nonzero()[:, 0]
        # four dimensions, or the fused kernel is not taken
        query, key, value = (
            x.view(1, 1, -1, x.shape[-1]) for x in (queries[head, row], keys[head, kept], values[head, kept])
        )
        out[head, row] = F.scaled_dot_product_attention(query, key, value)[0, 0]
    return out.flatten(1, 2)[None]


def attend_flex(q: Tensor, k: Tensor, v: Tensor, keep: Tensor, lists: bool = False) -> Tensor:
    """The same by FlexAttention over a block mask, one kernel (compiled on CUDA).

    `lists`: with those of query windows, which only a gradient needs.
    """
    from torch.nn.attention.flex_attention import BlockMask

    count = keep.sum(-1, dtype=torch.int32)[None]
    order = keep.to(torch.int8).argsort(dim=-1, descending=True, stable=True).to(torch.int32)[None]
    nothing = torch.zeros_like(count)

    def is_kept(_: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return keep[head, query // TOKENS, key // TOKENS]

    make = BlockMask.from_kv_blocks if lists else block_mask_maker()
    mask = make(nothing, torch.zeros_like(order), count, order, TOKENS, mask_mod=is_kept)
    kernel = flex(q.is_cuda)
    return kernel(q.contiguous(), k.contiguous(), v.contiguous(), block_mask=mask)


@cache
def block_mask_maker() -> Callable[..., BlockMask]:
    """Makes block masks without the lists of a gradient, 32 kernels a layer, in a torch that can leave them out."""
    from torch.nn.attention.flex_attention import BlockMask

    known = "compute_q_blocks" in signature(BlockMask.from_kv_blocks).parameters
    options: dict[str, Any] = {"compute_q_blocks": False} if known else {}
    return partial(BlockMask.from_kv_blocks, **options)


@cache
def flex(compiled: bool) -> Callable[..., Tensor]:
    """FlexAttention, compiled or eager.

    Compiled it makes a kernel for every shape; past Dynamo's limit of kernels it would silently run uncompiled,
    so that limit is raised far above what sizes a process meets, and reaching it is an error.
    """
    from torch.nn.attention.flex_attention import flex_attention

    if not compiled:
        return cast("Callable[..., Tensor]", flex_attention)
    from torch._dynamo import config

    kernel = cast("Callable[..., Tensor]", torch.compile(flex_attention, dynamic=False))

    def call(q: Tensor, k: Tensor, v: Tensor, block_mask: BlockMask, enable_gqa: bool = False) -> Tensor:
        with config.patch(LIMITS):
            return kernel(q, k, v, block_mask=block_mask, enable_gqa=enable_gqa)

    return call
