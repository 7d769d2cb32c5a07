"""Checkpoints that users have: imported as parts of a model, or a model's parts converted into one file."""

from __future__ import annotations

from pathlib import Path

from vrx.environment import Environment
from vrx.errors import ModelError, OutputError
from vrx.files import path_exists
from vrx.models.components import combine
from vrx.models.loader import detect_family, identify_part, read_folder
from vrx.models.registry import FAMILIES
from vrx.weights import checkpoint, sharded, store
from vrx.weights.catalogue import Entry
from vrx.weights.hashes import SAFE

NAMES = "Name a .safetensors, .pt, .pth or .ckpt file"


def import_checkpoint(entry: Entry, path: Path) -> list[tuple[str, Path]]:
    """Convert a file, or the files of a folder, to safetensors as parts of a model, after a check against its networks.

    A checkpoint in several files is one part.  Returns each part's role and its new file; all are
    checked before the first is written.  Raises ModelError, and OutputError for a full disk.
    """
    parts = [(file, identify_part(entry, file)) for file in find_checkpoints(path)]
    imported = []
    for file, part in parts:
        target = store.joined(store.manual_path(entry, part, Environment.read().models))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ModelError(
                f"cannot write into {target.parent}: {error.strerror}", "Set VRX_HOME to another folder"
            ) from error
        tensors, notes = checkpoint.load_tensors(file)
        key = FAMILIES[entry.family].components[part.role].notes
        checkpoint.save(target, tensors, {key: notes[key]} if key in notes else {})
        imported.append((part.role, target))
    return imported


def find_checkpoints(path: Path) -> list[Path]:
    """The checkpoints at a path: itself, or those of a folder, an index for those in several files.

    Raises ModelError where there is none.
    """
    if not path_exists(path):
        raise ModelError(f"cannot read the checkpoint {path}: no such file")
    if path.is_dir():
        files = sharded.list_checkpoints(path)
        if not files:
            raise ModelError(f"no checkpoint in the folder {path}", NAMES)
        return files
    if not sharded.is_index(path) and path.suffix not in sharded.SUFFIXES:
        raise ModelError(f"{path} does not have the name of a checkpoint", NAMES)
    return [path]


def convert(folder: Path, target: Path) -> str:
    """Write the parts in a folder as one safetensors file; returns the family.  Raises ModelError, OutputError."""
    if not path_exists(folder) or not folder.is_dir():
        raise ModelError(f"{folder} is not a folder", "Name the folder with the model's parts")
    if target.suffix != SAFE:
        raise OutputError(f"cannot write {target}: its name must end in {SAFE}")
    if target.exists():
        raise OutputError(f"{target} exists", "Choose another name")
    family = detect_family(folder)
    combine(read_folder(folder), family, target)
    return family
