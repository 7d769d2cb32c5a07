"""Files of checkpoints as bytes: the paths of the package's own, sizes and hashes."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path

from vrx.errors import ModelError
from vrx.files import check_file

CHUNK = 1 << 20  # bytes read at a time while hashing
SAFE = ".safetensors"


def packaged_path(part: str) -> Path:
    """The path of a checkpoint inside the package."""
    return Path(str(resources.files("vrx"))) / "data" / part


def sha256(path: Path) -> str:
    """The hash of a file, in hexadecimal.  Raises OSError."""
    check_file(path)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def verify_file(path: Path, size: int | None, digest: str) -> None:
    """Compare a file's size and hash with the catalogue.  Raises ModelError; the file stays as it is."""
    try:
        found = path.stat().st_size
        if size is not None and found != size:
            raise ModelError(f"the checkpoint {path} has {found} bytes, not {size}", "Install vrx again")
        if digest and sha256(path) != digest:
            raise ModelError(f"the checkpoint {path} does not have its published hash", "Install vrx again")
    except OSError as error:
        raise ModelError(
            f"cannot read the checkpoint {path}: {error.strerror or error}", "Install vrx again"
        ) from error
