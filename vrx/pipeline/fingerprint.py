"""What decides how a result looks, as words that two runs can compare."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import vrx
from vrx.media import ffmpeg
from vrx.media.stills import is_pattern, sequence_members
from vrx.pipeline.journal import Fingerprint
from vrx.settings import Job

# wishes whose outcome is compared instead, or that change nothing in the picture
IRRELEVANT = {"model.name", "model.device", "model.dtype", "model.offline"}
IRRELEVANT |= {"output.path", "output.overwrite", "output.skip_existing", "output.resume"}
FILES = ("restore.mask", "selection.scenes")  # settings that may name a file


def fingerprint(
    job: Job, model: str, checkpoints: Iterable[Path], where: tuple[torch.device, torch.dtype]
) -> Fingerprint:
    """Names to values; where all are equal, a run may go on with another's work."""
    device, dtype = where
    found = {
        "the input": stamp(Path(job.source)),
        "the model": model,
        "the checkpoint": "; ".join(stamp(path) for path in checkpoints),
        "the device": str(device),
        "the number type": str(dtype),
        "vrx": vrx.__version__,
        "torch": torch.__version__,
        "ffmpeg": ffmpeg.version(ffmpeg.executable()),
    }
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
                found[f"the file of {option}"] = stamp(Path(value))
    return found


def stamp(path: Path) -> str:
    """Name, size and time of a file, or of the pictures in a folder or sequence."""
    if is_pattern(path):
        members = sequence_members(path)
    elif path.is_dir():
        members = sorted(path.iterdir())
    else:
        members = [path]
    facts = ((member.name, member.stat()) for member in members)
    return " ".join(f"{name}:{fact.st_size}:{fact.st_mtime_ns}" for name, fact in facts)
