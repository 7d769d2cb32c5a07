"""Which device and number type a run gets."""

from __future__ import annotations

import gc
import logging
import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import cv2
import torch
import torch.nn.functional as F

from vrx.errors import DeviceError
from vrx.networks.embedded.int8 import multiplies_rightly
from vrx.networks.quantized import LAYERS, MULTIPLE, Fp8Linear, WeightFormat
from vrx.settings import Dtype

logger = logging.getLogger(__name__)

REASON = 200  # characters of an error that are shown
DRIVER_FILES = (Path("/proc/driver/nvidia/version"), Path("/dev/nvidia0"))  # of NVIDIA's driver on Linux
PROBE_CHANNELS, PROBE_SIDE, PROBE_RUNS = 48, 96, 8
FP8_CAPABILITY = (8, 9)  # of CUDA: Ada, Hopper and later multiply in fp8
INT8_UNITS = ("avx512_vnni", "avx_vnni", "amx_int8")  # of processors, as torch names them
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def is_several(name: str) -> bool:
    """Whether a device is several GPUs of this machine."""
    return name == "all" or "," in name


def gpu_numbers(name: str) -> tuple[int, ...]:
    """The numbers of `all` GPUs, of `cuda:0,cuda:1` or of one, in order.  Raises DeviceError where one is not there."""
    if name == "all":
        pick_device("cuda")
        return tuple(range(torch.cuda.device_count()))
    for one in name.split(","):
        pick_device(one)
    return tuple(sorted({int(one.rpartition(":")[2]) for one in name.split(",")}))


def pick_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda`, `cuda:N` or `mps`.  Raises DeviceError where an explicit one is not there."""
    if is_several(name):
        raise DeviceError(f"--device {name} is for runs that restore", "Name one device here: cuda or cuda:N")
    if name == "auto":
        return torch.device("cpu" if device_fault(torch.device("cuda")) else "cuda")
    try:
        device = torch.device(name)
        fault = device_fault(device)
    except RuntimeError as error:  # a number no device can have
        fault = first_line(error)
    if fault:
        raise DeviceError(f"the device {name} is not available: {fault}", "See what works here with: vrx doctor")
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


def capability(device: torch.device) -> tuple[int, int]:
    """The compute capability of a CUDA device."""
    return torch.cuda.get_device_capability(device)


def release_memory(device: torch.device) -> None:
    """Give back what nothing refers to any more, and what torch keeps of it for reuse."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def wider_type(dtype: torch.dtype, device: torch.device) -> Dtype | None:
    """The next type in which fewer numbers overflow, bf16 only where it is the faster one; None after float32."""
    if dtype == torch.float16 and pick_dtype("auto", device) == torch.bfloat16:
        return "bf16"
    return None if dtype == torch.float32 else "fp32"


def device_fault(device: torch.device) -> str:
    """Why no operation runs on a device, in a line; empty where a real one does."""
    try:
        if device.type == "cuda":
            if torch.version.cuda is None and torch.version.hip is None:
                return "this PyTorch was built without CUDA"
            torch.cuda.init()  # type: ignore[no-untyped-call] # says what is wrong with a driver
            if device.index is not None and device.index >= torch.cuda.device_count():
                return f"the last one is cuda:{torch.cuda.device_count() - 1}"
        return "" if float((torch.ones(2, device=device) * 2).sum()) == 4.0 else "its results are wrong"
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        return first_line(error)


def first_line(error: Exception) -> str:
    """The beginning of an error's message, which may go on for pages."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".")[:REASON] if lines else type(error).__name__


def idle_gpu() -> str:
    """Why an NVIDIA GPU of this machine is not used; empty where there is none, or where it is."""
    if not any(path.exists() for path in DRIVER_FILES) and shutil.which("nvidia-smi") is None:
        return ""
    return device_fault(torch.device("cuda"))


def torch_fault(version: str = torch.__version__) -> str:
    """Why large models should not run on a GPU with a version of torch; empty where they may."""
    if version.split(".")[:2] != ["2", "9"]:
        return ""
    return f"torch {version} takes up to 17 times the memory for convolutions in bf16: pip install 'torch>=2.10'"


def attention_fault(device: torch.device) -> str:
    """Why fused attention does not run on a device in the type that networks get there; empty where it does."""
    try:
        states = torch.ones(1, 2, 128, 64, device=device, dtype=pick_dtype("auto", device))
        return (
            ""
            if bool(torch.isfinite(F.scaled_dot_product_attention(states, states, states)).all())
            else "its results are wrong"
        )
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        return first_line(error)


def compile_fault(device: torch.device) -> str:
    """Why nothing can be compiled for a device, which needs Triton and a C compiler; empty where it works."""
    try:
        found = torch.compile(torch.sin)(torch.zeros(8, device=device))
        return "its results are wrong" if bool(found.any()) else ""
    except Exception as error:  # noqa: BLE001 - compilers fail in many ways
        return first_line(error)


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number type of the network: bf16 wherever it is the faster one.

    A processor that reports units for it is not measured, so that a run gives the same bytes however busy the
    machine is; any other is.
    """
    if name in DTYPES:
        return DTYPES[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "cpu":
        units = bf16_units()
        gain = 0.0 if units else bf16_gain()
        logger.debug("bf16: the processor %s", "has units for it" if units else f"is {gain:.1f} times as fast with it")
        return torch.bfloat16 if units or gain > 1.1 else torch.float32
    return torch.float32


def weight_format(name: Dtype) -> WeightFormat | None:
    """The format of weights that a --dtype names, all else being as with `auto`; None for a type of the networks."""
    return next((kind for kind in LAYERS if kind == name), None)


def describe_type(dtype: torch.dtype, quantized: WeightFormat | None) -> str:
    """What networks compute in, for people: `bfloat16`, or `bfloat16, weights in fp8`."""
    return str(dtype).removeprefix("torch.") + (f", weights in {quantized}" if quantized else "")


def check_dtype(name: Dtype, device: torch.device) -> None:
    """Refuse a number type that a device does not have.  Raises DeviceError."""
    fault = fp8_fault(device) if name == "fp8" else ""
    if fault:
        instead = next(name for name, dtype in DTYPES.items() if dtype == pick_dtype("auto", device))
        raise DeviceError(f"--dtype fp8 does not work on {device}: {fault}", f"Use --dtype {instead}")


@cache
def fp8_fault(device: torch.device) -> str:
    """Why nothing is multiplied in fp8 on a device, in a line; empty where it is."""
    if device.type == "cuda" and (found := capability(device)) < FP8_CAPABILITY:
        needed, there = (f"{major}.{minor}" for major, minor in (FP8_CAPABILITY, found))
        return f"{machine_name(device)} has compute capability {there}, fp8 needs {needed}"
    try:
        with torch.inference_mode():
            values = torch.ones(MULTIPLE, MULTIPLE, device=device, dtype=pick_dtype("auto", device))
            return "" if bool((Fp8Linear(values, None)(values) == MULTIPLE).all()) else "its results are wrong"
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        return first_line(error)


def int8_units() -> bool:
    """Whether the processor reports that it multiplies in 8 bits (VNNI, AMX), and this torch does so rightly."""
    found: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    ask = getattr(torch.cpu, "_is_vnni_supported", None)
    units = any(found.get(name) for name in INT8_UNITS) or bool(ask and ask())
    return units and multiplies_rightly()


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
