"""Disk cache of prompt embeddings, by prompt and text encoder checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from vrx.errors import ModelError
from vrx.weights import checkpoint
from vrx.weights.hashes import SAFE

ROWS = "rows"


def cache_key(prompt: str, checkpoint: Path) -> str:
    """The key of a prompt and a checkpoint, whose size and time identify its content."""
    status = checkpoint.stat()
    text = f"{checkpoint.resolve()}\n{status.st_size}\n{status.st_mtime_ns}\n{prompt}"
    return hashlib.sha256(text.encode()).hexdigest()


def cached(folder: Path, name: str, encode: Callable[[], Tensor]) -> Tensor:
    """The cached rows [1, L, D] of a key, or those that `encode` gives, which are then cached."""
    rows = load(folder, name)
    if rows is None:
        rows = encode()
        save(folder, name, rows)
    return rows


def load(folder: Path, name: str) -> Tensor | None:
    """The cached rows [1, L, D] of a key, or None; a corrupt file is deleted."""
    path = folder / f"{name}{SAFE}"
    try:
        return checkpoint.load_safetensors(path)[0].get(ROWS) if path.is_file() else None
    except ModelError:
        path.unlink(missing_ok=True)
        return None


def save(folder: Path, name: str, rows: Tensor) -> None:
    """Cache rows [1, L, D]; a failure to write only costs time at the next run."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint.save(folder / f"{name}{SAFE}", {ROWS: rows}, {})
    except (OSError, ModelError):
        pass
