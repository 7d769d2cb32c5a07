"""Checkpoint reader, the only one in vrx: safetensors, and files of torch.save through the weights-only loader."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vrx.errors import DISK_FULL, ModelError, OutputError
from vrx.files import check_file, path_exists, replace_file
from vrx.weights import key_mapping, pickle_guard, sharded
from vrx.weights.hashes import SAFE

HEADER_MAX = 16_000_000  # bytes; a thousand tensors take 0.1 MB
FOREIGN = re.compile(r"GLOBAL (\S+)")  # in torch's message about an object that is not a tensor


@contextmanager
def open_safetensors(path: Path) -> Iterator[Any]:
    """A safetensors file, its tensors not loaded.  Raises ModelError for another format, or an absurd header."""
    try:
        length = check_file(path).st_size
        with path.open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
            if not 0 < header <= length - 8:
                raise ModelError(f"{path} is not a safetensors checkpoint")
            if header > HEADER_MAX or file.read(header).count(b'"data_offsets"') > sharded.MAX_TENSORS:
                raise ModelError(f"refused to load {path}: it has more than {sharded.MAX_TENSORS:,} tensors")
        with safe_open(path, framework="pt") as file:
            yield file
    except OSError as error:
        raise ModelError(f"cannot read the checkpoint {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise ModelError(f"{path} is truncated or corrupt: {error}") from error


def load_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors and the metadata of a safetensors file.  Raises ModelError."""
    with open_safetensors(path) as file:
        metadata = dict(file.metadata() or {})
        return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors under our networks' names, and the metadata, of a checkpoint in any format.

    Safetensors, or a file of torch.save read by the weights-only loader, which runs nothing in it; or the
    index of several such files, or one of several that are numbered.  A trainer's wrapping and prefixes are removed,
    Diffusers' names translated.  Raises ModelError.
    """
    if sharded.is_sharded(path):
        return key_mapping.to_native_keys(load_shards(path)), {}
    if path.suffix == SAFE:
        found, notes = load_safetensors(path)
        return key_mapping.to_native_keys(found), notes
    return key_mapping.to_native_keys(load_torch(path)), {}


def read_names(path: Path) -> set[str]:
    """Our networks' names for the tensors of a checkpoint in any format, without their values.  Raises ModelError."""
    if path.suffix == SAFE:
        return set(key_mapping.to_native_keys(read_shapes(path)))
    return set(
        key_mapping.to_native_keys(sharded.read_index(path)) if sharded.is_index(path) else load_tensors(path)[0]
    )


def load_shards(path: Path) -> dict[str, Tensor]:
    """The tensors of all files of an index, or of all that are numbered.

    Raises ModelError where their names differ from the index, or two files have one.
    """
    index = sharded.read_index(path) if sharded.is_index(path) else None
    found: dict[str, Tensor] = {}
    for name, shard in existing_shards(path).items():
        tensors = load_safetensors(shard)[0] if shard.suffix == SAFE else load_torch(shard)
        if index is None:
            check_disjoint(shard, tensors, found)
        elif tensors.keys() != (expected := {tensor for tensor, file in index.items() if file == name}):
            differing = sorted(tensors.keys() ^ expected)
            what = f"{len(differing)} tensors ({differing[0]})"
            raise ModelError(f"{shard} and the index {path.name} disagree about {what}")
        found |= tensors
    return found


def existing_shards(path: Path) -> dict[str, Path]:
    """The shards of a checkpoint by their names.  Raises ModelError where a numbered one is missing."""
    shards = sharded.shard_files(path)
    missing = [] if sharded.is_index(path) else [name for name, shard in shards.items() if not path_exists(shard)]
    if missing:
        raise ModelError(
            f"the checkpoint {path} lacks {missing[0]}, one of its {len(shards)} files", "Put it beside the others"
        )
    return shards


def check_disjoint(shard: Path, names: Iterable[str], found: Mapping[str, object]) -> None:
    """Refuse a file with tensors that one before it has.  Raises ModelError."""
    twice = sorted(found.keys() & set(names))
    if twice:
        raise ModelError(
            f"{shard} and another file of its checkpoint both hold {len(twice)} tensors ({twice[0]})",
            "Get its files again from their source",
        )


def load_torch(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of torch.save; a single tensor gets the name `tensor`.  Raises ModelError."""
    content = torch_load(path)
    inner = {"tensor": content} if isinstance(content, Tensor) else content
    inner = key_mapping.unwrap(inner) if isinstance(inner, Mapping) else {}
    found = {str(name): value for name, value in inner.items() if isinstance(value, Tensor)}
    if not found:
        raise ModelError(f"{path} has no tensors")
    pickle_guard.check_sizes(path, found)
    return found


def torch_load(path: Path) -> object:
    """The content of a file by torch's weights-only loader.  Raises ModelError that names what was refused."""
    try:
        check_file(path)
        pickle_guard.check_pickle(path)
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # the format before torch 1.6 cannot be mapped into memory
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"cannot read the checkpoint {path}: {error.strerror or error}") from error
    except ModelError:
        raise
    except Exception as error:  # a damaged or hostile file may fail in any way
        foreign = FOREIGN.search(str(error))
        if foreign:
            raise ModelError(
                f"refused to load {path}: it contains {foreign.group(1)}, which is not a tensor",
                "Get the checkpoint as safetensors",
            ) from error
        raise ModelError(f"{path} is truncated or corrupt") from error


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a safetensors file, or of all that are numbered, without tensors.  Raises ModelError."""
    found: dict[str, tuple[int, ...]] = {}
    for shard in existing_shards(path).values() if sharded.numbered_names(path) else (path,):
        with open_safetensors(shard) as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        check_disjoint(shard, shapes, found)
        found |= shapes
    return found


def read_note(path: Path, key: str) -> object:
    """What a safetensors file notes under a key of its metadata, JSON; None for nothing.  Raises ModelError."""
    try:
        return json.loads(read_metadata(path).get(key, "null"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: cannot read its metadata: {error}") from error


def load_section(path: Path, prefix: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file whose names begin with a prefix, without it.  Raises ModelError."""
    with open_safetensors(path) as file:
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
        return {name.removeprefix(prefix): file.get_tensor(name) for name in names}


def save(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file, completely or not at all.  Raises OutputError for a full disk, ModelError."""
    try:
        with replace_file(path) as partial:
            save_file({name: t.contiguous() for name, t in tensors.items()}, partial, metadata)
    except (OSError, SafetensorError) as error:
        if is_disk_full(error):
            hint = "Free some space and run the same command again"
            raise OutputError(f"cannot write {path}: {error}", hint) from error
        raise ModelError(f"cannot write {path}: {error}") from error


def is_disk_full(error: Exception) -> bool:
    """Whether a disk was full; safetensors reports that in its message only."""
    return any(f"(os error {number})" in str(error) for number in DISK_FULL) or (
        isinstance(error, OSError) and error.errno in DISK_FULL
    )


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, without its tensors.  Raises ModelError."""
    with open_safetensors(path) as file:
        return dict(file.metadata() or {})


def parse_config(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """The configuration of a checkpoint's network, from its metadata.  Raises ModelError."""
    try:
        values = json.loads(metadata["config"])
        if not isinstance(values, dict):
            raise ValueError("not a table")
    except (KeyError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} has no `config` metadata (the sizes of its network)") from error
    return values


def is_finite(tensor: Tensor) -> bool:
    """Whether all values are finite; without a copy of what may be gigabytes."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    low, high = torch.aminmax(tensor.float() if tensor.itemsize == 1 else tensor)  # no 8-bit kernel
    return math.isfinite(float(low)) and math.isfinite(float(high))


def check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse values that are not finite.  Raises ModelError."""
    broken = [name for name, tensor in tensors.items() if not is_finite(tensor)]
    if broken:
        raise ModelError(f"{path}: tensor {broken[0]} contains NaN or Inf")


def check_filled(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors without values, whose shapes would be sizes of a network.  Raises ModelError."""
    empty = [name for name, tensor in tensors.items() if not tensor.numel()]
    if empty:
        raise ModelError(f"{path}: tensor {empty[0]} has no values, its shape is {list(tensors[empty[0]].shape)}")


def check_keys(network: torch.nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Refuse tensors whose names, shapes or kinds are not the network's.  Raises ModelError that lists them."""
    expected = network.state_dict()
    missing, unexpected = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    both = sorted(expected.keys() & tensors.keys())
    wrong = [n for n in both if expected[n].shape != tensors[n].shape]
    whole = [n for n in both if expected[n].is_floating_point() and not tensors[n].is_floating_point()]
    if missing or unexpected or wrong or whole:
        parts = [
            f"{len(names)} {word} ({', '.join(names[:3])})"
            for word, names in (
                ("missing", missing),
                ("unexpected", unexpected),
                ("of another shape", wrong),
                ("not floating-point", whole),
            )
            if names
        ]
        raise ModelError(f"{path} does not match the network: tensors {'; '.join(parts)}")


def load_into(network: torch.nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load strictly: every name and shape must agree.  Raises ModelError."""
    check_keys(network, tensors, path)
    check_finite(tensors, path)
    network.load_state_dict(tensors)
