"""Where the files of a model are on this machine, verified before they are used.

A file is in the package, in the folder of files that the user added, or in a backend's cache.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from vrx.errors import ModelError
from vrx.weights import hashes, hub, sharded, transfer
from vrx.weights.backend import Backend
from vrx.weights.cache_entry import find_entry
from vrx.weights.catalogue import Entry, PartFile
from vrx.weights.drive import DriveBackend
from vrx.weights.hash_cache import DamagedError, HashCache
from vrx.weights.hashes import SAFE
from vrx.weights.url import PlainAddress

log = logging.getLogger(__name__)

HUB: Backend = hub.HubBackend()
PLAIN: Backend = PlainAddress()
DRIVE: Backend = DriveBackend()


def backend_of(part: PartFile) -> Backend:
    """The backend of a part that can be downloaded."""
    if part.repo:
        return HUB
    return DRIVE if part.drive else PLAIN


def required_parts(entry: Entry, roles: Collection[str]) -> list[PartFile]:
    """The parts of a run: those that every run needs, and the optional ones in `roles`."""
    return [part for part in entry.parts if not part.optional or part.role in roles]


def missing_parts(entry: Entry, models: Path, roles: Collection[str] = ()) -> list[PartFile]:
    """Parts that every run needs, and optional ones in `roles`, that are not on this machine."""
    return [part for part in required_parts(entry, roles) if find_part(entry, part, models) is None]


def find_part(entry: Entry, part: PartFile, models: Path) -> Path | None:
    """The file of a part, of one in several files the index; None until all of them are on this machine."""
    if entry.packaged:
        path = hashes.packaged_path(part.path)
        return path if path.is_file() else None
    manual = find_manual(entry, part, models)
    if manual is not None or not part.downloadable:
        return manual
    return backend_of(part).find(part)


def find_manual(entry: Entry, part: PartFile, models: Path) -> Path | None:
    """A part that the user put into the model's folder, as published or converted.

    In the folder of its role, under its published path, or under its file name where no other part has that.
    """
    places = [place for variant in part.variants for place in manual_places(entry, variant, models)]
    forms = (form for place in places for form in (joined(place), place.with_suffix(SAFE), place))
    return next((path for path in forms if path.is_file()), None)


def joined(path: Path) -> Path:
    """A checkpoint as it is imported: safetensors, in one file."""
    return path.with_name(sharded.whole_name(path)).with_suffix(SAFE)


def is_converted(part: PartFile, path: Path) -> bool:
    """Whether a part's file is not the published one but what it was imported as."""
    published = PurePosixPath(part.path)
    return path.suffix == SAFE and (
        published.suffix != SAFE or path.name == sharded.whole_name(published.name) != published.name
    )


def manual_places(entry: Entry, part: PartFile, models: Path) -> list[Path]:
    """Where a file that the user added may be."""
    folder, name = models / entry.name, PurePosixPath(part.path).name
    places = [manual_path(entry, part, models)]
    if len(PurePosixPath(part.path).parts) > 1:
        places.append(folder / part.path)
    if not any(other.role != part.role and same_stem(other, part) for other in entry.parts):
        places.append(folder / name)
    return places


def manual_path(entry: Entry, part: PartFile, models: Path) -> Path:
    """Where a part that the user adds belongs: a folder for each role, as published files share their names."""
    return models / entry.name / part.role / PurePosixPath(part.path).name


def same_stem(one: PartFile, other: PartFile) -> bool:
    """Whether two parts would have one name in one folder, as published or converted."""
    return PurePosixPath(one.path).stem == PurePosixPath(other.path).stem


def part_files(entry: Entry, part: PartFile, models: Path) -> dict[str, Path]:
    """All files of a part on this machine, by the suffix of their keys in the hash cache.  Raises ModelError."""
    path = find_part(entry, part, models)
    if path is None:
        return {}
    return {"": path} | {f":{name}": shard for name, shard in sharded.find_shards(path).items()}


def hash_cache() -> HashCache:
    """The hash cache, beside the Hub's cache."""
    return HashCache(HUB.cache_folder())


def cache_key(entry: Entry, part: PartFile) -> str:
    """A part's key in the hash cache."""
    return f"{hub.Source.of(part)}@{part.revision or 'main'}" if part.repo else f"{entry.name}/{part.path}"


def verify_part(entry: Entry, part: PartFile, models: Path, force: bool = False) -> Path:
    """A part's file, after its size and hash were compared with what is known; `force` hashes it in any case.

    Raises ModelError; a wrong file in a cache is set aside, one that the user added stays.
    """
    path = find_part(entry, part, models)
    if path is None:
        raise ModelError(f"{part.path} of {entry.name} is not on this machine", f"Try: vrx models pull {entry.name}")
    log.debug("%s of %s: %s", part.role, entry.name, path)
    if entry.packaged:
        hashes.verify_file(path, part.size, part.sha256)
        return path
    if is_converted(part, path):
        hash_cache().check(f"{path}", path, None, "", force)  # converted: the catalogue has the original's hash
        return path
    manual = path == find_manual(entry, part, models)
    try:
        for suffix, file in part_files(entry, part, models).items():
            size, stated = (None, "") if suffix else (part.size, part.sha256)
            expected = stated or ("" if manual else backend_of(part).expected_sha256(file))
            hash_cache().check(f"{cache_key(entry, part)}{suffix}", file, size, expected, force)
    except DamagedError as damage:
        if manual:
            raise
        raise quarantine(entry, part, damage) from damage
    return path


def quarantine(entry: Entry, part: PartFile, damage: DamagedError) -> ModelError:
    """Set a wrong file of a cache aside, without deleting it; returns the error that reports it.

    Of a file elsewhere that the cache links to, only the link is removed.
    """
    found = find_entry(damage.path, backend_of(part).part_folder(part))
    again = f"Download it again with: vrx models pull {entry.name}"
    try:
        if not found.outside:
            aside = transfer.set_aside(found.file, found.file.name)
        for link in found.links:
            link.unlink(missing_ok=True)
    except OSError as error:
        return ModelError(
            f"{damage.message}, and cannot be set aside: {error.strerror or error}",
            f"Remove {found.file}, then: vrx models pull {entry.name}",
        )
    if found.outside:
        return ModelError(
            f"{damage.message}; the cache's link to {found.file} was removed, that file left alone", again
        )
    return ModelError(f"{damage.message}; set aside as {aside}", again)
