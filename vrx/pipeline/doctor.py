"""Checks of an installation: torch, devices, ffmpeg and its encoders, the models in the package."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass

import torch

import vrx
from vrx.errors import VrxError
from vrx.media import encoders, ffmpeg
from vrx.models.registry import FAMILIES
from vrx.pipeline.devices import bf16_gain, machine_name, works
from vrx.weights import catalogue, hashes
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
    return [*check_torch(), *check_ffmpeg(), *check_packaged_models()]


def check_torch() -> Iterator[Check]:
    """vrx itself, torch, and the devices."""
    cuda = torch.device("cuda")
    yield Check("vrx", True, f"{vrx.__version__}, Python {platform.python_version()}")
    yield Check("torch", works(torch.device("cpu")), f"{torch.__version__}, {torch.get_num_threads()} threads")
    yield Check("bf16 on the processor", True, f"{bf16_gain():.1f} times the speed of float32", needed=False)
    yield Check("CUDA", works(cuda), machine_name(cuda) if works(cuda) else "no device", needed=False)


def check_ffmpeg() -> Iterator[Check]:
    """ffmpeg, and each encoder by encoding with it."""
    try:
        program = ffmpeg.executable()
        version = ffmpeg.version(program)
        yield Check("ffmpeg", bool(version), f"{version} at {program}")
        for name in dict.fromkeys((*encoders.SHORT_NAMES.values(), *HARDWARE_ENCODERS)):
            error = ffmpeg.encoder_error(program, name, "yuv422p10le" if name == "prores_ks" else "yuv420p")
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
