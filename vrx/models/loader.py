"""From a catalogue entry, or a checkpoint's path, to a loaded model: which family it is, and which files it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vrx.errors import ModelError
from vrx.files import path_exists
from vrx.models import roles
from vrx.models.components import TRANSFORMER, Component, Components, read_config, read_sizes, sizes_by_role
from vrx.models.family import BuildRequest, Family, LoadedModel
from vrx.models.registry import FAMILIES
from vrx.networks.published import Shapes
from vrx.networks.wan.transformer import WanTransformer
from vrx.settings import ModelSettings
from vrx.weights import checkpoint, hashes, key_mapping
from vrx.weights.catalogue import Entry, PartFile
from vrx.weights.download import Downloader

CONFIG = "config.json"  # in a folder: sizes by role, for networks smaller than the published ones
CONTEXT = "text_embedding.0.weight"  # of a Wan transformer, [D, width of its guidance]


def known_components() -> dict[str, Component]:
    """The components of all families by role; of one role the first family's, with the files and folders of all."""
    found: dict[str, Component] = {}
    for family in FAMILIES.values():
        for role, component in family.components.items():
            first = found.get(role, component)
            files, folders = (
                tuple(dict.fromkeys((*one, *other)))
                for one, other in ((first.files, component.files), (first.folders, component.folders))
            )
            found[role] = replace(first, files=files, folders=folders)
    return found


def published_names() -> Mapping[str, tuple[str, ...]]:
    """Names of files by role, for messages."""
    return {role: component.files for role, component in known_components().items()}


def load_model(entry: Entry, request: BuildRequest) -> LoadedModel:
    """The networks of an entry, on their device.

    Raises ModelError where files are missing, damaged or of another family, or an optional dependency is not here.
    """
    FAMILIES[entry.family].require_extra()
    if request.dtype is torch.float32:
        torch.backends.cudnn.allow_tf32 = False  # convolutions would round to 10 bits: float32 was asked for
    return FAMILIES[entry.family].load(request)


# ---------------------------------------------------------------- which family


def entry_from_path(path: Path) -> Entry:
    """What a checkpoint given by its path is: a file, or a folder of components.  Raises ModelError."""
    if not path_exists(path):
        raise ModelError(f"cannot read the checkpoint {path}: no such file")
    name = detect_family(path)
    if name not in FAMILIES:
        raise ModelError(f"this version of vrx cannot run the family {name} of {path}")
    capabilities = FAMILIES[name].capabilities
    return Entry(
        name=path.stem,
        family=name,
        tasks=capabilities.tasks,
        scales=capabilities.scales,
        license="unknown",
        paper="",
        about=f"checkpoint {path}",
        takes_prompt=capabilities.takes_prompt,
        parameters=None,
        memory=None,
        source="given by its path",
        available=True,
        parts=(),
        local=path,
    )


def detect_family(path: Path) -> str:
    """By its metadata, the components of a folder, or the names and shapes of its tensors.  Raises ModelError."""
    if path.is_dir():
        return family_of_folder(path)
    if path.suffix == hashes.SAFE:
        stated = checkpoint.read_metadata(path).get("family")
        if stated:
            return stated
        return family_of_tensors(path, key_mapping.to_native_keys(checkpoint.read_shapes(path)))
    tensors = checkpoint.load_tensors(path)[0]
    return family_of_tensors(path, {name: tuple(tensor.shape) for name, tensor in tensors.items()})


def family_of_tensors(path: Path, shapes: Shapes) -> str:
    """The family of one file: the one that has no other, or that of a transformer alone.  Raises ModelError."""
    for family in FAMILIES.values():
        if len(family.components) == 1 and all(c.matches(shapes) for c in family.components.values()):
            return family.name
    return family_of_transformer(path, shapes)


def family_of_folder(folder: Path) -> str:
    """By the components that only one family has, else all of which only one has, else by the transformer.

    Raises ModelError.
    """
    components = read_folder(folder)
    here = {role for role in known_components() if components.has(role)}
    counts = {name: len(here & unique_roles(family)) for name, family in FAMILIES.items()}
    best = max(counts, key=lambda name: counts[name])
    if counts[best]:
        return best
    having_all = [name for name, family in FAMILIES.items() if here <= family.components.keys()]
    if len(having_all) == 1:
        return having_all[0]
    if not components.has(TRANSFORMER):
        raise ModelError(f"the folder {folder} holds no transformer", "See the parts with: vrx models show NAME")
    tensors = components.tensors(TRANSFORMER)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return family_of_transformer(components.where(TRANSFORMER), shapes)


def unique_roles(family: Family) -> set[str]:
    """Roles that no other family has."""
    others = {role for other in FAMILIES.values() if other is not family for role in other.components}
    return set(family.components) - others


def family_of_transformer(path: Path, shapes: Shapes) -> str:
    """The family of a transformer alone, by its latents and how wide its guidance is; of several by the file's name.

    Raises ModelError where it is none.
    """
    patches, guidance = shapes.get(WanTransformer.SIGNATURE, ()), shapes.get(CONTEXT, ())
    if len(patches) < 2 or not guidance:
        raise ModelError(f"{path}: unknown model family")
    width, channels = guidance[-1], patches[1]
    candidates = [family for family in FAMILIES.values() if family.latent_channels == channels]
    if not candidates:
        raise ModelError(f"{path}: unknown model family")
    fitting = [family for family in candidates if family.context_width == width] or candidates
    named = [family for family in fitting if roles.role_of_name(path, {TRANSFORMER: family.components[TRANSFORMER]})]
    return (named or fitting)[0].name


# ---------------------------------------------------------------- which files


def read_folder(folder: Path) -> Components:
    """The components in a folder, by the folders of their roles or their tensors (see `roles`).

    Raises ModelError for a broken config, and for a file that would have to be the transformer and cannot be read.
    """
    known = known_components()
    found = roles.find(folder, known)
    if found.faults and TRANSFORMER not in {**found.files, **found.ambiguous}:
        raise found.faults[0]
    sizes = {**published_sizes(found.files), **read_sizes(folder / CONFIG, known)}
    return Components(found.files, None, sizes, found.ambiguous, published_names())


def published_sizes(files: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Sizes by role of components that are published with a config: one of the files, or beside the component.

    Those in a file's own metadata too.  Raises ModelError for a config that cannot be read.
    """
    known = known_components()
    tables: dict[str, object] = {}
    for role, component in known.items():
        if role in files and component.config_role:
            tables[role] = read_config(files.get(component.config_role, files[role].parent / CONFIG))
        elif role in files and component.notes and files[role].suffix == hashes.SAFE:
            tables[role] = checkpoint.read_note(files[role], component.notes)
        elif component.beside and component.beside[0] in files:
            other, place = component.beside
            tables[role] = read_config(files.get(role, files[other].parent / place))
    return sizes_by_role(tables, tables)


def find_components(entry: Entry, model: ModelSettings, kin: Mapping[str, Entry], downloader: Downloader) -> Components:
    """The files of an entry; a lone transformer borrows the rest from the catalogue (`kin`).  Raises ModelError."""
    family = FAMILIES[entry.family]
    wanted = family.optional_roles(model)
    path = entry.local
    if path is None:
        return from_entry(entry, wanted, downloader)
    if path.is_dir():
        return read_folder(path)
    if len(family.components) == 1 and not is_combined(path, family):
        return Components(dict.fromkeys(family.components, path), published=published_names())
    metadata = checkpoint.read_metadata(path) if path.suffix == hashes.SAFE else {}
    if "family" in metadata:
        given = sizes_by_role(checkpoint.parse_config(path, metadata), known_components())
        return Components({}, path, given, published=published_names())
    relative = next((e for e in kin.values() if e.family == entry.family and e.local is None), None)
    if relative is None:
        raise ModelError(f"{path} is a transformer alone", "Give a folder that holds its autoencoder and guidance too")
    rest = from_entry(
        replace(relative, parts=tuple(p for p in relative.parts if p.role != TRANSFORMER)), wanted, downloader
    )
    return replace(rest, files={**rest.files, TRANSFORMER: path})


def is_combined(path: Path, family: Family) -> bool:
    """Whether a file has the roles of its components before the names of its tensors, as `combine` writes it."""
    return path.suffix == hashes.SAFE and any(Components({}, path).has(role) for role in family.components)


def from_entry(entry: Entry, wanted: set[str], downloader: Downloader) -> Components:
    """The files of a catalogue entry, with optional ones of the `wanted` roles; downloaded where they are missing."""
    files = downloader.provide(entry, wanted)
    sizes = {**published_sizes(files), **{part.role: part.sizes for part in entry.parts if part.sizes}}
    return Components(files, None, sizes, published=published_names())


def identify_part(entry: Entry, path: Path) -> PartFile:
    """Which part of a model a file is; its network is built from it and thrown away.

    Raises ModelError where it is none, or does not fit.
    """
    tensors = checkpoint.load_tensors(path)[0]
    known_roles = known_components()
    role = roles.role_of_file(
        path, tensors, {p.role: known_roles[p.role] for p in entry.parts if p.role in known_roles}
    )
    part = next((part for part in entry.parts if role and part.role == role), None)
    if part is None or (role == TRANSFORMER and is_foreign(tensors, FAMILIES[entry.family])):
        known = ", ".join(part.role for part in entry.parts if part.role)
        raise ModelError(f"{path} is not a part of {entry.name}", f"Its parts: {known or 'none are known'}")
    FAMILIES[entry.family].require_extra()
    sizes = published_sizes({part.role: path}).get(part.role, {}) | part.sizes
    components = Components({part.role: path}, None, {part.role: sizes}, published=published_names())
    FAMILIES[entry.family].components[part.role].try_load(part.role, components)
    return part


def is_foreign(tensors: Mapping[str, Tensor], family: Family) -> bool:
    """Whether a transformer takes guidance as wide as only that of another family is."""
    width = tensors[CONTEXT].shape[-1] if CONTEXT in tensors else None
    others = {other.context_width for other in FAMILIES.values()} - {family.context_width, None}
    return width in others
