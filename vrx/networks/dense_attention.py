"""Attention of everything to everything by one of torch's kernels, never a slow one in silence.

On a GPU torch has several: cuDNN's, FlashAttention, a memory-efficient one, and plain mathematics, which holds all
scores at once.  Which is tried first is set from outside (`prefer`), as it depends on the card.  Knows tensors; does
not know devices' names.

Legend: B batch, h heads, g groups of keys, N queries, K keys, d width of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import _get_current_dispatch_mode

from vrx.networks.fusion import report_failure

BACKENDS = {  # by the words of `VRX_ATTENTION`, in the order in which the rest follows a first one
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}
MOST_SCORES = 1 << 26  # numbers that plain mathematics holds at once
MOST_KNOWN = 1024  # shapes of calls whose kernel is remembered
Key = tuple[object, ...]
held: list[object] = []  # contexts that stay open: one that ends would take the order from all threads


def prefer(order: Sequence[SDPBackend]) -> bool:
    """Have torch try these kernels in this order, in the whole process; whether this version of torch can."""
    try:
        context = sdpa_kernel(list(order), set_priority=True)
        context.__enter__()
    except (TypeError, RuntimeError):
        return False
    held.append(context)
    return True


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, *, grouped: bool = False) -> Tensor:
    """Queries [B, h, N, d] to keys and values [B, g, K, d]; `mask` [.., N, K] is true where a query sees a key.

    `grouped`: several heads share a group of keys.
    """
    if not q.is_cuda or torch.compiler.is_compiling() or _get_current_dispatch_mode() is not None:
        return F.scaled_dot_product_attention(q, k, v, mask, enable_gqa=grouped)
    return on_gpu(q, k, v, mask, grouped)


class Watched:
    """Attention on a GPU: where cuDNN fails the next kernel is taken, and that is said, as is plain mathematics.

    `choose` tells which kernel torch takes for a call, `compute` calls it.
    """

    def __init__(
        self, choose: Callable[..., int] = torch._fused_sdp_choice, compute: Any = F.scaled_dot_product_attention
    ) -> None:
        self._choose, self._compute = choose, compute
        self._kernels: dict[Key, int] = {}
        self._slow = False  # whether that was said

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, grouped: bool) -> Tensor:
        """See `attend`."""
        kernel = self._kernel(q, k, v, mask, grouped)
        if kernel == SDPBackend.MATH.value:
            return self._slowly(q, k, v, mask, grouped)
        try:
            found: Tensor = self._compute(q, k, v, mask, enable_gqa=grouped)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            if kernel != SDPBackend.CUDNN_ATTENTION.value:
                raise
            torch.backends.cuda.enable_cudnn_sdp(False)
            try:
                found = self._compute(q, k, v, mask, enable_gqa=grouped)
            except RuntimeError:  # the cause is another one, so that cuDNN is not given up for it
                torch.backends.cuda.enable_cudnn_sdp(True)
                raise
            self._kernels.clear()
            report_failure("attention-fallback", "attention runs without cuDNN", error)
        return found

    def _kernel(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, grouped: bool) -> int:
        key = (
            q.shape,
            k.shape,
            v.shape,
            q.stride(),
            k.stride(),
            q.dtype,
            None if mask is None else mask.dtype,
            grouped,
        )
        kernel = self._kernels.get(key)  # not asked for twice: another stage's thread may forget all between
        if kernel is None:
            kernel = int(self._choose(q, k, v, mask, enable_gqa=grouped))
            if len(self._kernels) >= MOST_KNOWN:
                self._kernels.clear()
            self._kernels[key] = kernel
        return kernel

    def _slowly(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, grouped: bool) -> Tensor:
        """By mathematics, a part of the queries at a time, so that the scores of all never need memory together."""
        rows = max(1, MOST_SCORES // max(1, q.shape[0] * q.shape[1] * k.shape[2]))
        if rows >= q.shape[2]:
            found: Tensor = self._compute(q, k, v, mask, enable_gqa=grouped)
            return found
        if not self._slow:
            self._slow = True
            what = f"{q.shape[1]} heads of {q.shape[3]} in {str(q.dtype).removeprefix('torch.')}"
            error = RuntimeError(f"no fused kernel takes {what}")
            report_failure("attention-fallback", "attention is slow here", error)
        parts = []
        for first in range(0, q.shape[2], rows):
            seen = None if mask is None or mask.shape[-2] == 1 else mask[..., first : first + rows, :]
            part = mask if seen is None else seen
            parts.append(self._compute(q[:, :, first : first + rows], k, v, part, enable_gqa=grouped))
        return torch.cat(parts, 2)


on_gpu = Watched()
