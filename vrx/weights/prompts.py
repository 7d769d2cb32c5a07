"""Embeddings of prompts on disk, by the prompt and the checkpoint that made them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from torch import Tensor

from vrx.errors import ModelError
from vrx.weights import checkpoint
from vrx.weights.hashes import SAFE

ROWS = "rows"


def cache_key(prompt: str, checkpoint: Path) -> str:
    """A name for a prompt under a checkpoint: its size and time stand for its content."""
    held = checkpoint.stat()
    text = f"{checkpoint.resolve()}\n{held.st_size}\n{held.st_mtime_ns}\n{prompt}"
    return hashlib.sha256(text.encode()).hexdigest()


def load(folder: Path, name: str) -> Tensor | None:
    """Rows [1, L, D] that were kept, or None; a damaged file counts as none."""
    path = folder / f"{name}{SAFE}"
    try:
        return checkpoint.load_safetensors(path)[0].get(ROWS) if path.is_file() else None
    except ModelError:
        path.unlink(missing_ok=True)
        return None


def save(folder: Path, name: str, rows: Tensor) -> None:
    """Keep rows; a disk that does not take them only costs time at the next run."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint.save(folder / f"{name}{SAFE}", {ROWS: rows}, {})
    except (OSError, ModelError):
        pass
