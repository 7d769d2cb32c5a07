"""Where the parts of a catalogued model are on this machine, verified before they are used."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from vrx.errors import ModelError
from vrx.weights import hub, sharded, transfer, url
from vrx.weights.cache_entry import entry_of
from vrx.weights.catalogue import Entry, PartFile
from vrx.weights.download import Shop, bring, source_of
from vrx.weights.hash_cache import DamagedError, HashCache
from vrx.weights.hashes import SAFE


def manual_path(entry: Entry, part: PartFile, models: Path) -> Path:
    """Where a part that comes by hand belongs: a folder for each role, as published files share their names."""
    return models / entry.name / part.role / PurePosixPath(part.path).name


def find_manual(entry: Entry, part: PartFile, models: Path) -> Path | None:
    """A part that was put into the model's folder, as it is or converted.

    In the folder of its role, under its published path, or under its bare name where no other part has that.
    """
    folder, name = models / entry.name, PurePosixPath(part.path).name
    places = [manual_path(entry, part, models)]
    if len(PurePosixPath(part.path).parts) > 1:
        places.append(folder / part.path)
    if not any(other is not part and same_stem(other, part) for other in entry.parts):
        places.append(folder / name)
    forms = (form for place in places for form in (place.with_suffix(SAFE), place))
    return next((path for path in forms if path.is_file()), None)


def same_stem(one: PartFile, other: PartFile) -> bool:
    """Whether two parts would have one name in one folder, as they are or converted."""
    return PurePosixPath(one.path).stem == PurePosixPath(other.path).stem


def find_part(entry: Entry, part: PartFile, models: Path) -> Path | None:
    """The file of a part: one that was put into the model's folder by hand, or the Hub's cache.

    Of a part in several files it is the index, once all of them are here.
    """
    placed = find_manual(entry, part, models)
    if placed is not None:
        return placed
    if part.url:
        return url.cached(part.url, part.sha256)
    found = hub.cached(source_of(part)) if part.repo else None
    return None if found is None or (sharded.is_index(found) and not sharded.is_complete(found)) else found


def required_parts(entry: Entry, roles: set[str]) -> list[PartFile]:
    """The parts of a run: those that all need, and the optional ones in `roles`."""
    return [p for p in entry.parts if p.role and (not p.optional or p.role in roles)]


def missing_parts(entry: Entry, models: Path) -> list[PartFile]:
    """Parts that every run needs and that are not here."""
    return [p for p in required_parts(entry, set()) if find_part(entry, p, models) is None]


def locate(entry: Entry, roles: set[str], shop: Shop) -> dict[str, Path]:
    """A verified file for each role of an entry; what is not here is fetched, unless offline.

    Size and license are said first.  Raises ModelError for what can be had in neither way, or is not what
    the catalogue says or what was first seen.
    """
    parts = required_parts(entry, roles)
    absent = [part for part in parts if find_part(entry, part, shop.models) is None]
    for part in absent:
        if not part.downloadable:
            raise ModelError(
                f"the model {entry.name} lacks {part.path} ({part.role}), which is not on the Hub",
                f"Get it ({entry.source}) and put it into {manual_path(entry, part, shop.models).parent}",
            )
        if shop.offline:
            raise ModelError(f"{part.location} is not on this machine", "Run once without --offline to download it")
    if absent:
        bring(entry, absent, shop)
    return {part.role: verify_part(entry, part, shop.models) for part in parts}


def hash_cache() -> HashCache:
    """The notes beside the Hub's cache."""
    return HashCache(hub.cache_folder())


def cache_key(entry: Entry, part: PartFile) -> str:
    """A part's name in the ledger."""
    return f"{source_of(part)}@{part.revision or 'main'}" if part.repo else f"{entry.name}/{part.path}"


def verify_part(entry: Entry, part: PartFile, models: Path, force: bool = False) -> Path:
    """A part's file, once it is what it should be.

    Raises ModelError; a file of a cache that is known to be wrong is set aside, one that came by hand stays.
    """
    placed, path = find_manual(entry, part, models), find_part(entry, part, models)
    if path is None:
        raise ModelError(f"{part.path} of {entry.name} is not on this machine", f"Try: vrx models pull {entry.name}")
    if path.suffix == SAFE and Path(part.path).suffix != SAFE:
        hash_cache().check(f"{path}", path, None, "", force)  # converted: the catalogue knows the original's hash
        return path
    try:
        known = part.sha256 or ("" if placed else hub.digest_of(path))
        hash_cache().check(cache_key(entry, part), path, part.size, known, force)
        for name, shard in sharded.find_shards(path).items():
            known = "" if placed else hub.digest_of(shard)
            hash_cache().check(f"{cache_key(entry, part)}:{name}", shard, None, known, force)
    except DamagedError as damage:
        if placed is not None:
            raise
        raise quarantine(entry, part, damage) from damage
    return path


def quarantine(entry: Entry, part: PartFile, damage: DamagedError) -> ModelError:
    """Take a wrong file out of a cache, without deleting it; returns the error that says so.

    Of a file elsewhere that the cache links to, only the link goes.
    """
    found = entry_of(damage.path, cache_folder(part))
    again = f"To have it again: vrx models pull {entry.name}"
    try:
        if not found.outside:
            aside = transfer.set_aside(found.file, found.file.name)
        for link in found.links:
            link.unlink(missing_ok=True)
    except OSError as error:
        return ModelError(
            f"{damage.message}, and cannot be set aside: {error.strerror or error}",
            f"Remove {found.file} where you may, then: vrx models pull {entry.name}",
        )
    if found.outside:
        return ModelError(
            f"{damage.message}; the cache's link to {found.file} was removed, that file left alone", again
        )
    return ModelError(f"{damage.message}; set aside as {aside}", again)


def part_files(entry: Entry, part: PartFile, models: Path) -> dict[str, Path]:
    """All files of a part that are here, by what their names in the ledger end with.  Raises ModelError."""
    path = find_part(entry, part, models)
    if path is None:
        return {}
    return {"": path} | {f":{name}": shard for name, shard in sharded.find_shards(path).items()}


def cache_folder(part: PartFile) -> Path:
    """The folder of a cache that a part's file belongs to: its repository's, or its own."""
    return hub.storage(source_of(part)) if part.repo else url.place(part.url, part.sha256).parent
