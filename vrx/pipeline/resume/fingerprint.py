"""Fingerprint: everything that decides what a result looks like, as text that two runs can compare."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

import vrx
from vrx.media import ffmpeg
from vrx.media.file_types import is_pattern, sequence_members
from vrx.networks.quantized import WeightFormat
from vrx.pipeline.resume.journal import Fingerprint
from vrx.pipeline.session import Session
from vrx.settings import Job
from vrx.switches import Switches

# settings whose outcome is compared instead, or that do not change the picture
IRRELEVANT = {"model.name", "model.device", "model.dtype", "model.prefer", "model.offline", "model.threads"}
IRRELEVANT |= {"output.path", "output.overwrite", "output.skip_existing", "output.resume"}
SAMPLE, SAMPLES = 1 << 18, 64  # bytes of a sample, and samples of a file; smaller files are hashed completely
FILES = ("restore.mask", "selection.scenes")  # settings that may name a file


def fingerprint(
    job: Job,
    model: str,
    checkpoints: Iterable[Path],
    where: tuple[torch.device, torch.dtype],
    quantized: WeightFormat | None = None,
) -> Fingerprint:
    """Names to values; where all are equal, a run may continue another's work.

    `quantized`: the format of weights in 8 bits.
    """
    device, dtype = where
    found = {
        "the input": describe_files(Path(job.source)),
        "the model": model,
        "the checkpoint": "; ".join(describe_files(path) for path in checkpoints),
        "the device": str(device),
        "the number type": str(dtype),
        "vrx": vrx.__version__,
        "torch": torch.__version__,
        "ffmpeg": ffmpeg.version(ffmpeg.executable()),
    }
    if quantized:
        found["the weights"] = f"in {quantized}"
    kernel = Switches.read().attention
    if device.type == "cuda" and kernel != "auto":  # its sums have another order; all other switches change no number
        found["the attention kernel"] = kernel
    rooms: dict[str, Any] = {
        "model": job.model,
        "restore": job.restore,
        "selection": job.selection,
        "output": job.output,
    }
    for room, settings in rooms.items():
        for name, value in asdict(settings).items():
            key = f"{room}.{name}"
            if key in IRRELEVANT:
                continue
            option = "--" + name.replace("_", "-")
            found[option] = str(value)
            if key in FILES and value is not None and Path(value).exists():
                found[f"the file of {option}"] = describe_files(Path(value))
    return found


def describe_files(path: Path) -> str:
    """Name, size, time and a hash of a file, or of the pictures in a folder or sequence."""
    if is_pattern(path):
        members = sequence_members(path)
    elif path.is_dir():
        members = sorted(path.iterdir())
    else:
        members = [path]
    return " ".join(describe_file(member) for member in members)


def fingerprint_of(session: Session, checkpoints: Iterable[Path]) -> Fingerprint:
    """The fingerprint of a run of an open session."""
    where = (session.device, session.dtype)
    return fingerprint(session.job, session.entry.name, checkpoints, where, session.quantized) | encoder_mark(session)


def encoder_mark(session: Session) -> Fingerprint:
    """The encoder that was chosen to keep up with a GPU: by the processor's cores, which no setting tells."""
    target = session.target
    return {"the encoder": f"{target.rule.name} {target.preset}"} if session.encoder_remark else {}


def describe_file(path: Path) -> str:
    """Name, size, time and hash of one file; large ones are hashed in sample_ranges spread over all of them.

    Another file of the same name, size and time (a copy tool may keep them) differs nearly everywhere.
    """
    found = path.stat()
    return f"{path.name}:{found.st_size}:{found.st_mtime_ns}:{hash_samples(path)}"


def hash_samples(path: Path) -> str:
    """The hash of one file's samples; of what is not a file, that of nothing."""
    found = path.stat()
    digest = sha256()
    if stat.S_ISREG(found.st_mode):
        with path.open("rb") as file:
            for place, length in sample_ranges(found.st_size):
                file.seek(place)
                digest.update(file.read(length))
    return digest.hexdigest()[:16]


def sample_ranges(size: int) -> list[tuple[int, int]]:
    """Starts and lengths of the samples of a file of `size` bytes; the first and the last byte are in them."""
    if size <= SAMPLES * SAMPLE:
        return [(0, size)]
    return [(number * (size - SAMPLE) // (SAMPLES - 1), SAMPLE) for number in range(SAMPLES)]
