"""What is installed, and the ceilings of the machine."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from functools import partial
from importlib import metadata

import torch

from vrx.bench.gpu import stubs
from vrx.bench.gpu.context import Context
from vrx.pipeline.cost import bandwidth, matrix_rate
from vrx.pipeline.devices import pick_dtype

PACKAGES = ("triton", "numpy", "safetensors", "opencv-python-headless", "opencv-python", "av", "scenedetect", "pytest")
ATTENTION = ("flash", "mem_efficient", "math", "cudnn")
GIB = 1 << 30


def measure(context: Context, words: Sequence[str]) -> None:
    """Versions, matrix rate, bandwidth, and what vrx itself makes of them."""
    with context.results.guard("env", what="versions"):
        context.results.emit("env", **versions(context))
    with context.results.guard("env", what="matrix rate"), torch.inference_mode():
        side = 512 if context.tiny else 8192
        for dtype in (torch.bfloat16, torch.float32):
            a, b = (torch.randn(side, side, device=context.device, dtype=dtype) for _ in range(2))
            rate = round(2 * side**3 / context.time(partial(torch.matmul, a, b)) / 1e9, 1)
            context.results.emit("env", what=f"{dtype} matrix product", tflops=rate)
    with context.results.guard("env", what="bandwidth"), torch.inference_mode():
        copies(context)
    with context.results.guard("env", what="vrx's own probes"):
        dtype = pick_dtype("auto", context.device)
        found = {"dtype": str(dtype), "tflops": round(matrix_rate(context.device, dtype) / 1e12, 1)}
        if not context.tiny:
            found["gb_s"] = round(bandwidth(context.device) / 1e9)
        context.results.emit("env", what="vrx's own probes", **found)


def versions(context: Context) -> dict[str, object]:
    """Of all that matters."""
    found: dict[str, object] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "cores": os.cpu_count(),
        "gcc": shutil.which("gcc"),
        "ffmpeg": shutil.which("ffmpeg"),
        "missing": [name for name in stubs.OPTIONAL if is_missing(name)],
    }
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    if context.cuda:
        properties = torch.cuda.get_device_properties(0)
        found |= {"gpu": properties.name, "memory": properties.total_memory, "sms": properties.multi_processor_count}
        found["sdpa"] = {name: getattr(torch.backends.cuda, f"{name}_sdp_enabled")() for name in ATTENTION}
    return found


def is_missing(name: str) -> bool:
    """Whether a package is not there, or stood in for."""
    try:
        return isinstance(__import__(name), stubs.Stub)
    except ImportError:
        return True


def copies(context: Context) -> None:
    """On the device, and between it and the host."""
    x = torch.empty(1 << (20 if context.tiny else 31), dtype=torch.uint8, device=context.device).fill_(1)
    y = torch.empty_like(x)
    rate = round(2 * x.numel() / context.time(lambda: y.copy_(x)) / 1e6)
    context.results.emit("env", what="copy on the device", gb_s=rate)
    if not context.cuda:
        return
    part, pinned = x[:GIB], torch.empty(GIB, dtype=torch.uint8, pin_memory=True)
    plain = torch.empty(GIB, dtype=torch.uint8).fill_(1)
    there = {"pageable_ms": context.time(part.cpu, 3, 1), "pinned_ms": context.time(lambda: pinned.copy_(part))}
    context.results.emit("env", what="1 GiB to the host", **there)
    back = {
        "pageable_ms": context.time(lambda: part.copy_(plain)),
        "pinned_ms": context.time(lambda: part.copy_(pinned)),
    }
    context.results.emit("env", what="1 GiB from the host", **back)
