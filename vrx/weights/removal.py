"""Taking a model's downloads out of the caches, and nothing that is not theirs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from vrx.errors import ModelError
from vrx.weights import download, hub, lock, sharded, store, transfer, url
from vrx.weights.cache_entry import BLOBS, CacheEntry, delete, entry_of, is_own_folder
from vrx.weights.catalogue import Entry, PartFile


@dataclass
class Removal:
    """What was removed, and what was left alone with the reason."""

    removed: list[Path] = field(default_factory=list)
    left: list[tuple[Path, str]] = field(default_factory=list)


def remove(entry: Entry, models: Path, keep: set[Path]) -> Removal:
    """Remove an entry's files from the caches, partial ones too, but for those in `keep`.

    What came by hand stays, and so does a file elsewhere that an entry of a cache links to: only the link goes.
    Raises ModelError.
    """
    removal = Removal()
    for part in entry.parts:
        if store.find_manual(entry, part, models) is None:
            for name, file in store.part_files(entry, part, models).items():
                found = entry_of(file, store.cache_folder(part))
                if found.file not in keep:
                    remove_entry(found, file, removal)
                    store.hash_cache().forget(f"{store.cache_key(entry, part)}{name}")
        if part.downloadable:
            remove_partials(part, removal)
    return removal


def remove_entry(found: CacheEntry, file: Path, removal: Removal) -> None:
    """Remove an entry of a cache: its links, and its bytes where they are the cache's own.  Raises ModelError."""
    delete(found.own)
    if found.own:
        removal.removed.append(file)
    if found.outside:
        done = "only the link to it was removed" if found.own else "nothing was removed"
        removal.left.append((found.file, f"it is not the cache's own file: {done}"))


def remove_partials(part: PartFile, removal: Removal) -> None:
    """Remove what arrived of a part that is not whole yet, unless it is being downloaded.  Raises ModelError."""
    folder = store.cache_folder(part) / (BLOBS if part.repo else "")
    root = hub.cache_folder() if part.repo else url.cache_folder()
    if not folder.is_dir():
        return
    marks = tuple(transfer.partial_mark(name) for name in download_names(part))
    partials = [path for path in folder.iterdir() if path.name.endswith(marks)]
    if partials and not is_own_folder(folder, root):
        removal.left += [(path, "its folder is a link that leads out of the cache") for path in partials]
        return
    for path in partials:
        if lock.is_free(transfer.guard_of(path)):
            delete([path])
            removal.removed.append(path)
        else:
            removal.left.append((path, "another vrx is downloading it"))


def download_names(part: PartFile) -> Iterator[str]:
    """The names that a part's files are downloaded as: its own, and where it is an index those of its shards."""
    if part.url:
        yield part.url
        return
    source = download.source_of(part)
    yield str(source)
    index = hub.cached(source) if sharded.is_index(part.path) else None
    if index is not None:
        try:
            folder = PurePosixPath(part.path).parent
            yield from (f"{part.repo}/{folder / name}" for name in sharded.shard_names(index))
        except ModelError:
            return  # an index that cannot be read names no shards
