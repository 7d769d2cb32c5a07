"""Checks of an installation: torch, devices, ffmpeg and its encoders, models in the package, the cache, the Hub."""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import torch

import vrx
from vrx.environment import Environment
from vrx.errors import ModelError, VrxError
from vrx.files import format_bytes
from vrx.media import encoders, ffmpeg
from vrx.models.registry import FAMILIES
from vrx.pipeline.devices import (
    attention_fault,
    bf16_gain,
    compile_fault,
    device_fault,
    fp8_fault,
    free_memory,
    gpu_memory,
    machine_name,
    pick_dtype,
    torch_fault,
)
from vrx.weights import catalogue, hashes, hub
from vrx.weights.catalogue import Entry

HARDWARE_ENCODERS = ("h264_nvenc", "hevc_nvenc")


@dataclass(frozen=True)
class Check:
    """Result of one check; `needed` if vrx cannot do without it."""

    name: str
    good: bool
    detail: str
    needed: bool = True


def run_checks() -> list[Check]:
    """All checks, in the order in which they are shown."""
    return [*check_torch(), *check_ffmpeg(), *check_packaged_models(), check_cache(), check_hub()]


def check_torch() -> Iterator[Check]:
    """vrx itself, torch, and the devices."""
    cuda = torch.device("cuda")
    yield Check("vrx", True, f"{vrx.__version__}, Python {platform.python_version()}")
    fault = device_fault(torch.device("cpu"))
    yield Check("torch", not fault, fault or f"{torch.__version__}, {torch.get_num_threads()} threads")
    yield Check("bf16 on the processor", True, f"{bf16_gain():.1f} times the speed of float32", needed=False)
    fault = device_fault(cuda)
    yield Check("CUDA", not fault, fault or machine_name(cuda), needed=False)
    if not fault:
        yield from check_gpu(cuda)


def check_gpu(device: torch.device) -> Iterator[Check]:
    """What networks use on a GPU, by using it."""
    free, total = free_memory(device), gpu_memory(device)
    if free is not None and total is not None:
        yield Check("GPU memory", True, f"{format_bytes(free)} of {format_bytes(total)} are free", needed=False)
    dtype = str(pick_dtype("auto", device)).removeprefix("torch.")
    for name, fault, works in (
        ("torch on a GPU", torch_fault(), "no known fault"),
        ("GPU attention", attention_fault(device), f"works in {dtype}"),
        ("GPU compiler", compile_fault(device), "works"),
        ("GPU fp8", fp8_fault(device), "works"),
    ):
        yield Check(name, not fault, fault or works, needed=False)


def check_ffmpeg() -> Iterator[Check]:
    """ffmpeg, and each encoder by encoding with it."""
    try:
        program = ffmpeg.executable()
        version = ffmpeg.version(program)
        yield Check("ffmpeg", bool(version), f"{version} at {program}")
        for name in dict.fromkeys((*encoders.SHORT_NAMES.values(), *HARDWARE_ENCODERS)):
            pix_fmt = "yuv422p10le" if name in encoders.MEZZANINES.values() else "yuv420p"
            error = ffmpeg.encoder_error(program, name, pix_fmt, profile="dnxhr_hqx" if name == "dnxhd" else None)
            yield Check(f"encoder {name}", not error, error or "works", needed=name == "libx264")
    except VrxError as error:
        yield Check("ffmpeg", False, str(error))


def check_packaged_models() -> Iterator[Check]:
    """The files of the models in the package, by their hashes."""
    try:
        entries = catalogue.load_file(catalogue.packaged_path(), FAMILIES).values()
    except VrxError as error:
        yield Check("models", False, str(error))
        return
    for entry in entries:
        if entry.packaged:
            yield check_packaged(entry)


def check_packaged(entry: Entry) -> Check:
    """A model's file; vrx cannot do without that of the default one."""
    name, part, needed = f"{entry.name} model", entry.parts[0], entry.name == catalogue.EMBEDDED
    try:
        path = hashes.packaged_path(part.path)
        hashes.verify_file(path, part.size, part.sha256)
        return Check(name, True, str(path), needed)
    except VrxError as error:
        return Check(name, False, str(error), needed)


def check_cache() -> Check:
    """The folder for what can be made again, by writing into it."""
    folder = Environment.read().cache
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"vrx")
        return Check("cache", True, f"{folder}, {format_bytes(shutil.disk_usage(folder).free)} are free", needed=False)
    except OSError as error:
        return Check("cache", False, f"{folder}: {error.strerror}. Set VRX_HOME to a folder of yours", needed=False)


def check_hub() -> Check:
    """The Hub, by asking it: what a download of a model needs."""
    try:
        return Check("Hub", True, f"{hub.ping()} answers", needed=False)
    except ModelError as error:
        return Check("Hub", False, error.message, needed=False)
