"""The only opener of checkpoints: safetensors, checked before memory is taken."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vrx.errors import ModelError

CHUNK = 1 << 20  # bytes read at a time while hashing
HEADER_MAX = 100_000_000  # bytes, the format's own limit


def sha256(path: Path) -> str:
    """The hash of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def verify(path: Path, size: int | None, digest: str) -> None:
    """Compare a file with what the catalogue says.  Raises ModelError; the file stays as it is."""
    try:
        held = path.stat().st_size
        if size is not None and held != size:
            raise ModelError(f"the checkpoint {path} has {held} bytes, not {size}", "Install vrx again")
        if digest and sha256(path) != digest:
            raise ModelError(f"the checkpoint {path} does not have the hash of the catalogue", "Install vrx again")
    except OSError as error:
        raise ModelError(f"cannot read the checkpoint {path}: {error.strerror}", "Install vrx again") from error


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors and the metadata of a safetensors file.  Raises ModelError."""
    try:
        length = path.stat().st_size
        with path.open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if not 0 < header <= min(HEADER_MAX, length - 8):
            raise ModelError(f"{path} is no safetensors checkpoint")
        with safe_open(path, framework="pt") as checkpoint:
            metadata = dict(checkpoint.metadata() or {})
            return {name: checkpoint.get_tensor(name) for name in checkpoint.keys()}, metadata  # noqa: SIM118
    except OSError as error:
        raise ModelError(f"cannot read the checkpoint {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise ModelError(f"{path} is no whole safetensors checkpoint: {error}") from error


def metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, without its tensors.  Raises ModelError."""
    try:
        with safe_open(path, framework="pt") as checkpoint:
            return dict(checkpoint.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot read the checkpoint {path}: {error}") from error


def config(path: Path, metadata: dict[str, str]) -> dict[str, int]:
    """The sizes a checkpoint was made with, from its metadata."""
    try:
        values = json.loads(metadata["config"])
        if not isinstance(values, dict) or not all(isinstance(v, int) for v in values.values()):
            raise ValueError("not a table of whole numbers")
    except (KeyError, ValueError) as error:
        raise ModelError(f"{path} does not say how large its network is") from error
    return values


def fill(network: torch.nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load strictly: every name and shape must agree.  Raises ModelError that lists what does not."""
    wanted = network.state_dict()
    missing, unexpected = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    wrong = [n for n in wanted.keys() & tensors.keys() if wanted[n].shape != tensors[n].shape]
    if missing or unexpected or wrong:
        parts = [
            f"{len(names)} {word} ({', '.join(names[:3])})"
            for word, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", sorted(wrong)))
            if names
        ]
        raise ModelError(f"{path} does not fit the network: tensors {'; '.join(parts)}")
    broken = [
        n for n, t in tensors.items() if t.is_floating_point() and not math.isfinite(float(t.float().abs().max()))
    ]
    if broken:
        raise ModelError(f"{path} holds values that are no numbers in {broken[0]}")
    network.load_state_dict(tensors)
