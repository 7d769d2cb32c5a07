"""Where the parts of a catalogued model are on this machine, and fetching what is not."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from vrx.errors import ModelError
from vrx.weights import hub, load, web
from vrx.weights.catalogue import Entry, Part
from vrx.weights.ledger import Ledger

Note = Callable[[str], None]
Progress = Callable[[str, int, int | None], None]  # part, bytes here, bytes in all
TOGETHER = 4  # files fetched at a time
TELL_EVERY = 0.1  # seconds between two words about one file


def silent(part: str, done: int, size: int | None) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, kw_only=True)
class Shop:
    """Where parts come from and who hears of it: `models` holds what came by hand, a folder a model."""

    models: Path
    offline: bool
    note: Note
    progress: Progress = silent


def source_of(part: Part) -> hub.Source:
    """The Hub's address of a part."""
    return hub.Source(part.repo, part.path, part.kind, part.revision or "main")


def by_hand(entry: Entry, part: Part, models: Path) -> Path | None:
    """A part that was put into the model's folder, as it is or converted."""
    placed = models / entry.name / Path(part.path).name
    return next((path for path in (placed.with_suffix(load.SAFE), placed) if path.is_file()), None)


def here(entry: Entry, part: Part, models: Path) -> Path | None:
    """The file of a part: one that was put into the model's folder by hand, or the Hub's cache."""
    placed = by_hand(entry, part, models)
    if placed is not None:
        return placed
    if part.url:
        return web.cached(part.url, part.sha256)
    return hub.cached(source_of(part)) if part.repo else None


def wanted(entry: Entry, roles: set[str]) -> list[Part]:
    """The parts of a run: those that all need, and the optional ones in `roles`."""
    return [p for p in entry.parts if p.role and (not p.optional or p.role in roles)]


def missing(entry: Entry, models: Path) -> list[Part]:
    """Parts that every run needs and that are not here."""
    return [p for p in wanted(entry, set()) if here(entry, p, models) is None]


def locate(entry: Entry, roles: set[str], shop: Shop) -> dict[str, Path]:
    """A verified file for each role of an entry; what is not here is fetched, unless offline.

    Size and license are said first.  Raises ModelError for what can be had in neither way, or is not what
    the catalogue says or what was first seen.
    """
    parts = wanted(entry, roles)
    absent = [part for part in parts if here(entry, part, shop.models) is None]
    for part in absent:
        if not part.fetchable:
            raise ModelError(
                f"the model {entry.name} lacks {part.path} ({part.role}), which is not on the Hub",
                f"Get it ({entry.source}) and put it into {shop.models / entry.name}",
            )
        if shop.offline:
            raise ModelError(f"{part.where} is not on this machine", "Run once without --offline to download it")
    if absent:
        announce(entry, absent, shop.note)
        progress = now_and_then(shop.progress)
        with ThreadPoolExecutor(TOGETHER) as pool:
            list(pool.map(lambda part: fetched(part, progress), absent))
    return {part.role: verified(entry, part, shop.models) for part in parts}


def now_and_then(progress: Progress) -> Progress:
    """The same progress, told ten times a second and at a file's end: bytes come in thousands of pieces."""
    told: dict[str, float] = {}

    def tell(part: str, done: int, size: int | None) -> None:
        now = monotonic()
        if done == size or now - told.get(part, 0.0) > TELL_EVERY:
            told[part] = now
            progress(part, done, size)

    return tell


def announce(entry: Entry, parts: list[Part], note: Note) -> None:
    """Say what is about to be downloaded."""
    known = sum(part.size or 0 for part in parts)
    more = " and files of unknown size" if any(part.size is None for part in parts) else ""
    names = ", ".join(part.where for part in parts)
    note(f"downloading {names}: {known / 1e9:.2f} GB{more}; license: {entry.license}")


def fetched(part: Part, progress: Progress) -> Path:
    """One part from the Hub into its cache, or from its address.  Raises ModelError."""
    if part.url:
        return web.fetch(part.url, part.size, part.sha256, lambda done, size: progress(part.path, done, size))
    source = source_of(part)
    return hub.fetch(source, part.size, part.sha256, lambda done, size: progress(str(source), done, size))


def ledger() -> Ledger:
    """The notes beside the Hub's cache."""
    return Ledger(hub.cache_folder())


def key_of(entry: Entry, part: Part) -> str:
    """A part's name in the ledger."""
    return f"{source_of(part)}@{part.revision or 'main'}" if part.repo else f"{entry.name}/{part.path}"


def verified(entry: Entry, part: Part, models: Path, force: bool = False) -> Path:
    """A part's file, once it is what it should be.  Raises ModelError."""
    path = here(entry, part, models)
    if path is not None and path.suffix == load.SAFE and Path(part.path).suffix != load.SAFE:
        ledger().check(f"{path}", path, None, "", force)  # converted: the catalogue knows the original's hash
        return path
    if path is None:
        raise ModelError(f"{part.path} of {entry.name} is not on this machine", f"Try: vrx models pull {entry.name}")
    ledger().check(key_of(entry, part), path, part.size, part.sha256, force)
    return path


def remove(entry: Entry, models: Path, keep: set[Path]) -> list[Path]:
    """Remove an entry's files from the Hub's cache, but for those in `keep`; what came by hand stays."""
    removed = []
    for part in entry.parts:
        path = web.cached(part.url, part.sha256) if part.url else None
        path = hub.cached(source_of(part)) if part.repo else path
        if path is None or path.resolve() in keep:
            continue
        blob = path.resolve()
        path.unlink()
        blob.unlink(missing_ok=True)
        ledger().forget(key_of(entry, part))
        removed.append(path)
    return removed
