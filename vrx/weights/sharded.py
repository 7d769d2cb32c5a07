"""Checkpoints in several files, the shards: an index maps each tensor to its file, or their names are numbered.

Numbered without an index, `NAME-00001-of-00002.safetensors` stands for all of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path, PurePath

from vrx.errors import ModelError
from vrx.files import read_text
from vrx.weights.safe_paths import is_safe_path

INDEX = ".index.json"
MAX_INDEX_BYTES = 16_000_000  # bytes of an index
MAX_TENSORS = 100_000  # of a checkpoint: the largest published models have about 90,000
MAX_SHARDS = 1_000  # of a checkpoint: the largest published models have about 200
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
SNAPSHOTS = "snapshots"  # in the Hub's cache; its files are links into the repository's folder
NUMBERED = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.[a-z]+)")


def is_index(path: PurePath | str) -> bool:
    """Whether a name is an index's."""
    return str(path).endswith(INDEX)


def read_index(path: Path) -> dict[str, str]:
    """The shard's file name for every tensor.  Raises ModelError for a file that is not an index, or leads out."""
    try:
        table = json.loads(read_text(path, MAX_INDEX_BYTES))
        weight_map = table["weight_map"]
        if not weight_map or not all(isinstance(shard, str) for shard in weight_map.values()):
            raise ValueError("no weight_map from names to files")
    except OSError as error:
        raise ModelError(f"cannot read the index {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path} is not an index of a checkpoint") from error
    if len(weight_map) > MAX_TENSORS or len(set(weight_map.values())) > MAX_SHARDS:
        most = f"{MAX_TENSORS:,} tensors in {MAX_SHARDS:,} files"
        raise ModelError(f"refused the index {path}: it has more than {most}")
    for shard in set(weight_map.values()):
        if not is_safe_path(shard) or not shard.endswith(SUFFIXES):
            raise ModelError(f"refused the index {path}: {shard!r} is not a checkpoint in its folder")
    return dict(weight_map)


def numbered_names(path: PurePath | str) -> list[str]:
    """The names of all shards where a name is that of a numbered one, in their order; else none."""
    match = NUMBERED.fullmatch(PurePath(path).name)
    if match is None or match["suffix"] not in SUFFIXES or not 1 <= int(match["number"]) <= int(match["count"]):
        return []
    if not 1 < int(match["count"]) <= MAX_SHARDS:
        return []
    count = match["count"]
    return [f"{match['stem']}-{number:05}-of-{count}{match['suffix']}" for number in range(1, int(count) + 1)]


def whole_name(path: PurePath | str) -> str:
    """The name of a checkpoint's file, of a numbered shard that of all in one file."""
    match = NUMBERED.fullmatch(PurePath(path).name)
    return f"{match['stem']}{match['suffix']}" if match and numbered_names(path) else PurePath(path).name


def is_sharded(path: PurePath | str) -> bool:
    """Whether a name is that of a checkpoint in several files."""
    return is_index(path) or bool(numbered_names(path))


def shard_names(path: Path) -> list[str]:
    """The shards' file names, each once.  Raises ModelError."""
    return numbered_names(path) or sorted(set(read_index(path).values()))


def shard_files(path: Path) -> dict[str, Path]:
    """The shards by their names.

    Raises ModelError for an index one of whose shards is a link that leads out of the folder.
    """
    numbered = numbered_names(path)
    if numbered:
        return {name: path.with_name(name) for name in numbered}
    root = root_folder(path)
    found = {}
    for shard in shard_names(path):
        place = path.parent / shard
        if root not in place.resolve().parents:
            raise ModelError(f"refused the index {path}: {shard!r} leads out of its folder")
        found[shard] = place
    return found


def find_shards(path: Path) -> dict[str, Path]:
    """The shards that a file leads to, itself not among them; none for a file that is all.  Raises ModelError."""
    if not is_sharded(path):
        return {}
    return {name: shard for name, shard in shard_files(path).items() if shard != path}


def root_folder(path: Path) -> Path:
    """The folder that the shards may not leave: the index's own, or its repository's in the Hub's cache."""
    for parent in path.absolute().parents:
        if parent.name == SNAPSHOTS:
            return parent.parent.resolve()
    return path.parent.resolve()


def is_complete(path: Path) -> bool:
    """Whether a file and all its shards exist; False for an index that is refused."""
    try:
        return path.is_file() and all(shard.is_file() for shard in find_shards(path).values())
    except ModelError:
        return False


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder: indexes, and the files that belong to none.  Raises ModelError."""
    indexes = [path for path in sorted(folder.iterdir()) if is_index(path)]
    shards = {shard for index in indexes for shard in shard_files(index).values()}
    others = [p for p in sorted(folder.iterdir()) if p.suffix in SUFFIXES and p.is_file() and p not in shards]
    return [*indexes, *first_shards(others)]


def first_shards(paths: Iterable[Path]) -> list[Path]:
    """The paths without numbered shards but for the first that there is of each checkpoint."""
    chosen: dict[Path, Path] = {}
    for path in paths:
        numbered = numbered_names(path)
        chosen.setdefault(path.with_name(numbered[0]) if numbered else path, path)
    return list(chosen.values())
