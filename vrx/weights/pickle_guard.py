"""Checks a pickled checkpoint before it is loaded: what it would run, and how much memory it would take.

Torch's weights-only loader runs no foreign code, but allocates whatever memory a file requests: compressed
archives, byte arrays, tensors that repeat one value.  This refuses them first.
"""

from __future__ import annotations

import pickle
import pickletools
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from vrx.errors import ModelError
from vrx.weights.pickle_cost import CostError, Follower

MANUAL = "Get the checkpoint as safetensors"
ARCHIVE = b"PK\x03\x04"
PROGRAM = "data.pkl"
MAX_PROGRAM = 64_000_000  # bytes; a thousand tensors take about 0.2 MB
MAX_MEMBERS = 200_000  # files in an archive: one a tensor, and a few
LEGACY_PROGRAMS = 5  # before the raw bytes: magic number, protocol, system, content, storages' names
REBUILD = {"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_parameter_with_state"}
ALLOWED_GLOBALS = {
    "collections OrderedDict",
    "collections Counter",
    "builtins set",
    "__builtin__ set",
    "_codecs encode",
    *(f"torch._utils {name}" for name in REBUILD),
    "torch Size",
    "torch device",
    *(f"torch {name}" for name, kind in vars(torch).items() if isinstance(kind, torch.dtype)),
}
STORAGE = re.compile(r"^torch(\.storage)? (\w+Storage)$")


def check_pickle(path: Path) -> None:
    """Refuse a file that would run code, take more memory than it fills, or not end.  Raises ModelError, OSError."""
    try:
        check_globals(path)
    except CostError:
        raise ModelError(f"refused to load {path}: too many keys, or keys nested too deeply", MANUAL) from None


def check_globals(path: Path) -> None:
    """Refuse globals other than tensors, and compressed archives.  Raises ModelError, CostError and OSError."""
    with path.open("rb") as file:
        packed = file.read(len(ARCHIVE)) == ARCHIVE  # by the first bytes, as torch does, not the last
        file.seek(0)
        names = archive_globals(path, file, path.stat().st_size) if packed else list(legacy_globals(file))
        for name in names:
            if name not in ALLOWED_GLOBALS and not STORAGE.match(name):
                word = name.replace(" ", ".", 1)
                raise ModelError(f"refused to load {path}: it contains {word}, which is not a tensor", MANUAL)


def archive_globals(path: Path, file: IO[bytes], length: int) -> list[str]:
    """The globals that an archive's program imports.  Raises ModelError."""
    try:
        with zipfile.ZipFile(file) as box:
            members = box.infolist()
            if len(members) > MAX_MEMBERS:
                raise CostError
            packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
            if packed or sum(member.file_size for member in members) > length:
                raise ModelError(f"refused to load {path}: it unpacks to more bytes than it has", MANUAL)
            programs = [member for member in members if member.filename.rsplit("/", 1)[-1] == PROGRAM]
            return [name for member in programs for name in iter_globals(box.open(member))]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ModelError(f"{path} is truncated or corrupt") from error


def legacy_globals(file: IO[bytes]) -> Iterator[str]:
    """The globals that a file in the format before torch 1.6 imports."""
    for _ in range(LEGACY_PROGRAMS):
        yield from iter_globals(file)


class Program:
    """A file for `pickletools`, which reads each argument whole: bounded before memory is allocated."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._rest = file, MAX_PROGRAM

    def read(self, count: int) -> bytes:
        """That many bytes.  Raises CostError where the program is too long."""
        self._spend(count)
        return self._file.read(count)

    def readline(self) -> bytes:
        """Up to a line's end.  Raises CostError where the program is too long."""
        line = self._file.readline(self._rest + 1)
        self._spend(len(line))
        return line

    def _spend(self, count: int) -> None:
        self._rest -= count
        if self._rest < 0:
            raise CostError


def iter_globals(file: IO[bytes]) -> Iterator[str]:
    """The globals of one program, `module name`; ends where it makes no sense: the loader refuses that itself.

    Raises CostError where reading it would take more steps than any checkpoint does.
    """
    follower = Follower()
    try:
        for code, argument, _ in pickletools.genops(Program(file)):  # type: ignore[arg-type]
            if code.name in ("GLOBAL", "INST"):
                yield str(argument)
            elif code.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
                yield f"pickle {code.name}"
            follower.follow(code.name, argument)
    except (ValueError, LookupError, OverflowError, pickle.UnpicklingError):
        return


def check_sizes(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors with more values than the file has.  Raises ModelError."""
    for name, tensor in tensors.items():
        claimed, stored = tensor.numel() * tensor.itemsize, tensor.untyped_storage().nbytes()
        if claimed > stored:
            raise ModelError(f"refused to load {path}: {name} claims {claimed} bytes and has {stored}", MANUAL)
