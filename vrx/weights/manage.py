"""Models on this machine: list, pull, verify, find and remove their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from vrx.environment import Environment
from vrx.errors import ModelError, did_you_mean
from vrx.events import Watcher
from vrx.weights import checkpoint, removal, store
from vrx.weights.catalogue import UNPUBLISHED, Entry, PartFile
from vrx.weights.download import Downloader, with_sizes
from vrx.weights.removal import Removal

INTERNAL = ("config", "family", "format")  # metadata of a checkpoint that is not for people


class ModelState(NamedTuple):
    """Whether a model can run now, in a word, and what it lacks."""

    word: str
    reason: str = ""


def get_models(names: Sequence[str], entries: Mapping[str, Entry]) -> list[Entry]:
    """Entries of the catalogue by name.  Raises ModelError."""
    for name in names:
        if name not in entries:
            hint = f"{did_you_mean(name, entries)}List the models with: vrx models list"
            raise ModelError(f"unknown model {name!r}", hint)
        if entries[name].fault:
            raise ModelError(entries[name].fault)
    return [entries[name] for name in names]


def model_state(entry: Entry) -> ModelState:
    """Whether a model can run now; where parts are missing, which, and how to get them."""
    if entry.fault:
        return ModelState("broken", entry.fault)
    if not entry.available:
        return ModelState("not in this version")
    if entry.missing_roles:
        return ModelState("incomplete", f"the entry has no part with the role {', '.join(entry.missing_roles)}")
    folder = Environment.read().models
    missing = store.missing_parts(entry, folder)
    if not missing:
        return ModelState("ready")
    manual = [part for part in missing if not part.downloadable]
    if manual and entry.source == UNPUBLISHED:
        return ModelState(UNPUBLISHED, f"{manual[0].path}: a checkpoint of this layout can be imported")
    if manual:
        targets = (f"put {part.path} into {store.manual_path(entry, part, folder).parent}" for part in manual)
        return ModelState("download yourself", "; ".join(targets))
    return ModelState("can be downloaded", f"{', '.join(part.path for part in missing)}: downloaded on first use")


def missing_parts(entry: Entry, everything: bool) -> list[PartFile]:
    """The parts that `pull` would download, with their sizes as servers state them; optional ones with `everything`."""
    folder = Environment.read().models
    parts = store.required_parts(entry, selected_roles(entry, everything))
    return with_sizes([part for part in parts if store.find_part(entry, part, folder) is None])


def selected_roles(entry: Entry, everything: bool) -> set[str]:
    """The roles whose optional parts are wanted: all or none."""
    return {part.role for part in entry.parts} if everything else set()


def pull(entry: Entry, everything: bool, watch: Watcher) -> dict[str, Path]:
    """Download a model's missing parts and verify all; optional ones too with `everything`.

    Raises ModelError.
    """
    if not entry.parts:
        raise ModelError(f"this version of vrx does not know the files of {entry.name}", f"Its source: {entry.source}")
    downloader = Downloader.for_watcher(entry.name, watch, offline=False)
    return downloader.provide(entry, selected_roles(entry, everything))


def part_paths(entry: Entry) -> dict[str, Path]:
    """The files of a model that are on this machine, by role.  Raises ModelError."""
    found = {part.role: store.find_part(entry, part, Environment.read().models) for part in entry.parts}
    return {role: path for role, path in found.items() if path is not None}


def verify(entry: Entry) -> dict[str, Path]:
    """Hash the parts of a model that are on this machine.  Raises ModelError for the first that is wrong."""
    folder = Environment.read().models
    present = [part for part in entry.parts if store.find_part(entry, part, folder) is not None]
    return {part.role: store.verify_part(entry, part, folder, force=True) for part in present}


def remove(entry: Entry, entries: Mapping[str, Entry]) -> Removal:
    """Remove a model's downloads, except files that another complete one of `entries` uses.  Raises ModelError."""
    if entry.packaged:
        raise ModelError(f"the model {entry.name} is part of vrx and cannot be removed")
    folder = Environment.read().models
    others = [other for other in entries.values() if other.name != entry.name and not other.fault]
    complete = [other for other in others if other.parts and not store.missing_parts(other, folder)]
    files = [store.part_files(other, part, folder) for other in complete for part in other.parts]
    return removal.remove(entry, folder, {path.resolve() for found in files for path in found.values()})


def model_metadata(entry: Entry) -> dict[str, str]:
    """What a checkpoint in the package states about itself: how it was trained, how good it is."""
    if not entry.packaged:
        return {}
    paths = (store.find_part(entry, part, Environment.read().models) for part in entry.parts)
    metadata = {key: text for path in paths if path for key, text in checkpoint.read_metadata(path).items()}
    return {key: text for key, text in metadata.items() if key not in INTERNAL}
