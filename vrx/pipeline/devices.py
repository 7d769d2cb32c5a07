"""Which device and number type a run gets."""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import cv2
import torch
import torch.nn.functional as F

from vrx.errors import DeviceError

logger = logging.getLogger(__name__)

PROBE_CHANNELS, PROBE_SIDE, PROBE_RUNS = 48, 96, 8
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def pick_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda`, `cuda:N` or `mps`.  Raises DeviceError where an explicit one is not there."""
    if name == "auto":
        return torch.device("cuda" if works(torch.device("cuda")) else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:  # a number no device can have
        raise DeviceError(
            f"the device {name} is not available", "List the available devices with: vrx doctor"
        ) from error
    if not works(device):
        raise DeviceError(f"the device {name} is not available", "List the available devices with: vrx doctor")
    return device


def gpu_memory(device: torch.device) -> int | None:
    """Bytes of a CUDA device, None for any other."""
    if device.type != "cuda":
        return None
    return int(torch.cuda.get_device_properties(device).total_memory)


def free_memory(device: torch.device) -> int | None:
    """Bytes of a CUDA device that this process can still take, those included that torch keeps for reuse."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def memory_of(device: torch.device) -> int | None:
    """Bytes that a device has in all: a GPU's own, else the machine's; None where the system does not report it."""
    if device.type == "cuda":
        return gpu_memory(device)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not on every system
        return None


def works(device: torch.device) -> bool:
    """Whether a real operation runs there."""
    if device.type == "cuda" and not torch.cuda.is_available():
        return False
    try:
        return float((torch.ones(2, device=device) * 2).sum()) == 4.0
    except (RuntimeError, AssertionError, NotImplementedError):
        return False


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number type of the network: bf16 wherever it is the faster one.

    A processor that reports units for it is not measured, so that a run gives the same bytes however busy the
    machine is; any other is.
    """
    if name != "auto":
        return DTYPES[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "cpu":
        units = bf16_units()
        gain = 0.0 if units else bf16_gain()
        logger.debug("bf16: the processor %s", "has units for it" if units else f"is {gain:.1f} times as fast with it")
        return torch.bfloat16 if units or gain > 1.1 else torch.float32
    return torch.float32


def bf16_units() -> bool:
    """Whether the processor reports that it multiplies in bfloat16 (AMX or AVX-512 BF16)."""
    names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(bool(ask()) for ask in (getattr(torch.cpu, name, None) for name in names) if callable(ask))


@cache
def bf16_gain() -> float:
    """How many times faster a convolution is in bfloat16 than in float32 on this processor.

    Measured in turn and by the best of several, so that a busy machine does not choose for the user.
    """
    seconds = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    sides = (1, PROBE_CHANNELS, PROBE_SIDE, PROBE_SIDE)
    inputs = {}
    for dtype in seconds:
        x, weight = torch.rand(sides), torch.rand(PROBE_CHANNELS, PROBE_CHANNELS, 3, 3)
        inputs[dtype] = [t.to(dtype).contiguous(memory_format=torch.channels_last) for t in (x, weight)]
    with torch.inference_mode():
        for _ in range(PROBE_RUNS):
            for dtype, (x, weight) in inputs.items():
                begin = time.perf_counter()
                F.conv2d(x, weight, padding=1)
                seconds[dtype] = min(seconds[dtype], time.perf_counter() - begin)
    return seconds[torch.float32] / seconds[torch.bfloat16]


@contextmanager
def limit_threads(count: int | None) -> Iterator[None]:
    """Networks and optical flow use no more threads each, in all threads that begin meanwhile; None: no change."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    wanted = before if count is None else (count, count)
    torch.set_num_threads(wanted[0])
    cv2.setNumThreads(wanted[1])
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def machine_name(device: torch.device) -> str:
    """The processor, or the GPU, by its name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()}, {torch.get_num_threads()} cores"
    except OSError:
        pass  # not Linux
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} cores"
