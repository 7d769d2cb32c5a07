"""What is set once in the process before a GPU works: the order of its attention kernels, and how memory is taken."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import cache

import torch
from torch.nn.attention import SDPBackend

from vrx.environment import configures_allocator
from vrx.networks.dense_attention import BACKENDS, prefer
from vrx.networks.fusion import report_failure
from vrx.pipeline.devices import capability, device_fault
from vrx.switches import Switches

logger = logging.getLogger(__name__)

# of CUDA: Hopper and the Blackwell of data centers, where cuDNN's attention is the fastest (up to 2.3 times
# FlashAttention-2; slower on Ampere and the Blackwell of workstations)
CUDNN_FIRST = ((9, 0), (10, 0))
JOINED = "expandable_segments:{}"


@cache
def prepare(device: torch.device) -> None:
    """Set what a device works best with; nothing on a processor.  What cannot be set stays as torch has it."""
    if device.type != "cuda":
        return
    switches = Switches.read()
    try:
        order = attention_order(switches.attention, capability(device))
    except (RuntimeError, AssertionError) as error:
        report_failure("attention-fallback", "attention keeps torch's order of kernels", error)
        order = []
    ordered = bool(order) and prefer(order)
    joined = switches.segments and not configures_allocator() and join_segments(device)
    logger.debug(
        "attention: %s; memory in segments that grow: %s",
        ", ".join(kernel.name for kernel in order) if ordered else "torch's order",
        joined,
    )


def attention_order(wish: str, found: tuple[int, int]) -> list[SDPBackend]:
    """Attention kernels in the order in which they are tried on a card of a capability; none for torch's own."""
    if wish == "torch":
        return []
    first = ("cudnn" if found in CUDNN_FIRST else "flash") if wish == "auto" else wish
    others = BACKENDS if first == "cudnn" else ("flash", "efficient", "cudnn", "math")
    return [BACKENDS[name] for name in (first, *(name for name in others if name != first))]


def join_segments(device: torch.device) -> bool:
    """Have torch take memory in segments that grow, which leaves fewer gaps; whether the device can.

    Linux only; where a first allocation fails, as on some virtual GPUs, it is as before.
    """
    if not sys.platform.startswith("linux") or not set_allocator(JOINED.format(True)):
        return False
    fault = device_fault(device)
    if fault:
        report_failure("memory-in-pieces", "memory is taken in fixed segments", RuntimeError(fault))
        set_allocator(JOINED.format(False))
    return not fault


def set_allocator(settings: str) -> bool:
    """Tell torch's allocator; whether this version has a function for that."""
    names = ("_accelerator_setAllocatorSettings", "_cuda_setAllocatorSettings")
    known: list[Callable[[str], None]] = [getattr(torch._C, name) for name in names if hasattr(torch._C, name)]
    try:
        known[0](settings)
    except (IndexError, RuntimeError, ValueError) as error:
        logger.debug("allocator: %s", error)
        return False
    return True
