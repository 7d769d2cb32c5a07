"""Removes a model's downloads from the caches, and nothing that is not the caches' own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vrx.weights import lock, store, transfer
from vrx.weights.cache_entry import CacheEntry, delete, find_entry, is_own_folder
from vrx.weights.catalogue import Entry, PartFile


@dataclass
class Removal:
    """Files that were removed, and files that were not, each with the reason."""

    removed: list[Path] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)


def remove(entry: Entry, models: Path, keep: set[Path]) -> Removal:
    """Remove an entry's files from the caches, partial ones too, except those in `keep`.

    Files that the user added stay, and so does a file elsewhere that a cache links to: only the link is removed.
    Raises ModelError.
    """
    removal = Removal()
    for part in entry.parts:
        if part.downloadable:
            if store.find_manual(entry, part, models) is None:
                remove_files(entry, part, models, keep, removal)
            remove_partials(part, removal)
    return removal


def remove_files(entry: Entry, part: PartFile, models: Path, keep: set[Path], removal: Removal) -> None:
    """Remove a part's files, and what the hash cache knows of them.  Raises ModelError."""
    for suffix, file in store.part_files(entry, part, models).items():
        found = find_entry(file, store.backend_of(part).part_folder(part))
        if found.file not in keep:
            remove_entry(found, file, removal)
            store.hash_cache().forget(f"{store.cache_key(entry, part)}{suffix}")


def remove_entry(found: CacheEntry, file: Path, removal: Removal) -> None:
    """Remove an entry of a cache: its links, and its bytes where they are the cache's own.  Raises ModelError."""
    delete(found.own)
    if found.own:
        removal.removed.append(file)
    if found.outside:
        done = "only the link to it was removed" if found.own else "nothing was removed"
        removal.skipped.append((found.file, f"it is outside the cache: {done}"))


def remove_partials(part: PartFile, removal: Removal) -> None:
    """Remove incomplete downloads of a part, unless another process continues them.  Raises ModelError."""
    backend = store.backend_of(part)
    partials = list(backend.partials(part))
    if partials and not is_own_folder(partials[0].parent, backend.cache_folder()):
        removal.skipped += [(path, "its folder is a link that leads out of the cache") for path in partials]
        return
    for path in partials:
        if lock.is_free(transfer.lock_of_partial(path)):
            delete([path])
            removal.removed.append(path)
        else:
            removal.skipped.append((path, "another vrx process is downloading it"))
