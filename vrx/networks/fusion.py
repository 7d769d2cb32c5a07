"""Chains of elementwise operations in one pass over memory: compiled, or as they are where compiling fails."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

logger = logging.getLogger(__name__)
MEMORY = ("out of memory", "alloc_failed", "status_not_initialized")  # of messages of CUDA, cuBLAS and cuDNN
SHORTEST = 1e-12  # a length below it is taken for it


class Failure(NamedTuple):
    """What runs in another way than it was meant to, and why; `code` is that of the note (`vrx.events.NOTE_CODES`)."""

    code: str
    text: str


failures: deque[Failure] = deque(maxlen=8)  # not yet told to the user


def report_failure(code: str, what: str, error: Exception) -> None:
    """Remember that something failed that a run goes on without: `what` says how it runs instead."""
    logger.debug("%s: %s: %s", what, type(error).__name__, error)
    failures.append(Failure(code, f"{what}: {type(error).__name__}: {' '.join(str(error).splitlines()[:2])}"))


def take_failures() -> list[Failure]:
    """What was remembered since the last call."""
    found = []
    while failures:
        found.append(failures.popleft())
    return found


def lacks_memory(error: Exception) -> bool:
    """Whether an error of a GPU's library is about its memory, and so none of the compiler's."""
    words = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or any(part in words for part in MEMORY)


class Compiled:
    """A function of tensors, compiled for any number of rows at its first call.

    Rows are the first axis of every tensor, or by the position of an argument the axis that `rows` names (None for
    arguments without).  From the first failure on (no Triton, no C compiler, an old GPU) it runs as it is, and that is
    reported once.  The function must be safe to call again after a failure.
    """

    def __init__(
        self, function: Callable[..., Any], backend: str = "inductor", rows: tuple[int | None, ...] | None = None
    ) -> None:
        self._function, self._backend, self._rows = function, backend, rows
        self._fails = False

    @cached_property
    def _compiled(self) -> Callable[..., Any]:
        """Not made before it is called: the compiler takes a second to import."""
        return torch.compile(self._function, backend=self._backend, dynamic=False)

    def __call__(self, *arguments: Any) -> Any:
        """What the function gives; uncompiled while operations are counted."""
        if self._fails or _get_current_dispatch_mode() is not None:
            return self._function(*arguments)
        try:
            self._mark(arguments)
            return self._compiled(*arguments)
        except Exception as error:  # compilers fail in many ways, and none of them is fatal
            if lacks_memory(error):
                raise
            report_failure("not-compiled", f"{self._function.__name__} runs uncompiled", error)
            self._fails = True
            return self._function(*arguments)

    def _mark(self, arguments: tuple[Any, ...]) -> None:
        """Have the rows counted anew in every call."""
        if self._rows is None:
            for tensor in arguments:
                if tensor.ndim > 1:
                    torch._dynamo.maybe_mark_dynamic(tensor, 0)
            return
        for argument, axis in zip(arguments, self._rows, strict=True):
            if axis is not None:
                torch._dynamo.maybe_mark_dynamic(argument, axis)


def normalize_rows(x: Tensor, bias: Tensor, gamma: Tensor, out: Tensor) -> None:
    """SiLU of x + bias [rows, C], scaled to the length sqrt(C), times gamma; in float32, written into `out`."""
    wide = x.float() + bias.float()
    length = wide.square().sum(1, keepdim=True).sqrt().clamp_min(SHORTEST)
    out.copy_(F.silu(wide * (x.shape[1] ** 0.5 / length) * gamma.float()))


def add_rows(x: Tensor, bias: Tensor, other: Tensor) -> None:
    """x + bias + other [rows, C], in float32, written into `x`."""
    x.copy_(x.float() + bias.float() + other.float())


def as_rows(x: Tensor) -> Tensor | None:
    """[1, C, T, H, W] as its memory [T x H x W, C]; None for several clips, or where channels are not last."""
    if x.shape[0] > 1 or not x.is_contiguous(memory_format=torch.channels_last_3d):
        return None
    return x[0].permute(1, 2, 3, 0).flatten(0, 2)


normalize = Compiled(normalize_rows)
add = Compiled(add_rows)
