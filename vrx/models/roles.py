"""Which component of a model a file is: by the folder it is in, then by the tensors it holds; its name comes last.

Published components share their names: `vae/diffusion_pytorch_model.safetensors` and the same in `transformer/`.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vrx.errors import ModelError
from vrx.models.components import SENTENCEPIECE, TOKENIZER, Component
from vrx.networks.published import PublishedNetwork
from vrx.weights import checkpoint, sharded
from vrx.weights.hashes import SAFE

TOKENIZER_FILE = "tokenizer.json"
TOKENIZERS = (TOKENIZER_FILE, SENTENCEPIECE)  # the first where both are in a folder
IGNORED = (
    "unet",
    "controlnet",
    "image_encoder",
    "scheduler",
    "optimizer",
)  # folders that hold no component
MOST_FILES = 10_000  # in a model's folder, those of its folders included
DEEPEST = 5  # folders below a model's


@dataclass
class FoundFiles:
    """The files of a folder by role; roles that several files may be; and why some could not be read."""

    files: dict[str, Path] = field(default_factory=dict)
    ambiguous: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    faults: list[ModelError] = field(default_factory=list)


Known = Mapping[str, Component]  # components by role


def role_of_file(path: Path, names: Collection[str], known: Known) -> str | None:
    """Which component a file with tensors of these names is; of several, the one that its folder or its name means.

    A network that adds to another has the other's tensors too: it is what it adds to no longer.
    """
    fitting = {role: component for role, component in known.items() if component.matches(names)}
    networks = [component.network for component in fitting.values() if component.network]
    fitting = {
        role: component
        for role, component in fitting.items()
        if not any(is_base(component.network, other) for other in networks)
    }
    for role, component in fitting.items():
        if path.parent.name in (role, *component.folders):
            return role
    return role_of_name(path, fitting) or next(iter(fitting), None)


def is_base(network: type[PublishedNetwork] | None, other: type[PublishedNetwork]) -> bool:
    """Whether another network adds to one."""
    return network is not None and network is not other and issubclass(other, network)


def find(folder: Path, known: Known) -> FoundFiles:
    """The components in a folder and the folders below it.

    A file in a folder that is named for a component is that; any other is recognized by its tensors.  One
    that is not is taken for what its name suggests where no other file is that component, so that the error names it.

    Raises ModelError for a folder that cannot be listed, or is too large for a model's.
    """
    found = FoundFiles()
    by_folder: dict[str, list[Path]] = {}
    by_tensors: dict[str, list[Path]] = {}
    by_name: dict[str, list[Path]] = {}
    folders = roles_of_folders(known)
    for path in candidates(folder):
        roles = next((folders[name] for name in reversed(path.relative_to(folder).parts[:-1]) if name in folders), None)
        if roles == ():
            continue
        try:
            names = [] if path.name in TOKENIZERS else checkpoint.read_names(path)
            role = TOKENIZER if path.name in TOKENIZERS else role_of_file(path, names, known)
        except ModelError as fault:
            found.faults.append(fault)
            role = None
        if roles and role in (None, *roles):
            by_folder.setdefault(role or roles[0], []).append(path)
        elif role:
            by_tensors.setdefault(role, []).append(path)
        elif named := role_of_name(path, known):
            by_name.setdefault(named, []).append(path)
    for role in {**by_folder, **by_tensors, **by_name}:
        choices = prefer_safetensors(by_folder.get(role) or by_tensors.get(role) or by_name[role])
        if len(choices) == 1:
            found.files[role] = choices[0]
        else:
            found.ambiguous[role] = tuple(choices)
    return found


def roles_of_folders(known: Known) -> dict[str, tuple[str, ...]]:
    """What folders hold by their names, the first where tensors do not decide; nothing in those of other systems."""
    found: dict[str, tuple[str, ...]] = dict.fromkeys(IGNORED, ())
    for role, component in known.items():
        for name in (role, *component.folders):
            found[name] = (*found.get(name, ()), role)
    return found


def role_of_name(path: Path, known: Known) -> str | None:
    """The component that is published under a file's name; only where its tensors do not decide."""
    fitting = (
        role
        for role, component in known.items()
        if any(fnmatch.fnmatch(path.name, pattern) for pattern in component.files)
    )
    return next(fitting, None)


def prefer_safetensors(paths: Iterable[Path]) -> list[Path]:
    """One file of those that are one checkpoint in several formats, as safetensors where it is there.

    Checkpoints of one name and format in other numbers of files are several: nothing tells which is meant.
    """
    chosen: dict[tuple[Path, str], list[Path]] = {}
    for path in sorted(paths, key=lambda path: (SAFE not in path.suffixes, path)):
        stem = Path(sharded.whole_name(path).removesuffix(sharded.INDEX)).stem.removeprefix("pytorch_")
        same = chosen.setdefault((path.parent, stem), [])
        if not same or (path.suffix == same[0].suffix and all(map(sharded.numbered_names, (path, same[0])))):
            same.append(path)
    return [path for same in chosen.values() for path in same]


def candidates(folder: Path) -> list[Path]:
    """The checkpoints, indexes and tokenizers of a folder; of one in several files only the first.

    Raises ModelError.
    """
    members = [path for path in files_below(folder) if is_candidate(path)]
    shards_of_all: set[Path] = set()
    for path in members:
        if sharded.is_index(path):
            shards_of_all.update(path.parent / name for name in sharded.shard_names(path))
    return sharded.first_shards(path for path in members if path not in shards_of_all)


def is_candidate(path: Path) -> bool:
    """Whether a file may be a part by the end of its name."""
    if path.name == SENTENCEPIECE and path.with_name(TOKENIZER_FILE).is_file():
        return False
    named = path.suffix in sharded.SUFFIXES or sharded.is_index(path) or path.name in TOKENIZERS
    return named and path.is_file()


def files_below(folder: Path) -> Iterator[Path]:
    """Every name in a folder and those below it; hidden folders and links to folders are left out.

    Raises ModelError once there are more than a model has.
    """

    def raise_error(error: OSError) -> None:
        if Path(str(error.filename)) == folder:
            raise ModelError(f"cannot list the folder {folder}: {error.strerror or error}") from error

    count = 0
    for place, folders, names in os.walk(folder, onerror=raise_error):
        here = Path(place)
        deep = len(here.relative_to(folder).parts) >= DEEPEST
        folders[:] = [] if deep else sorted(name for name in folders if not name.startswith("."))
        count += len(folders) + len(names)
        if count > MOST_FILES:
            raise ModelError(
                f"the folder {folder} holds more than {MOST_FILES:,} files", "Name the folder of one model"
            )
        yield from (here / name for name in sorted(names))
