"""Bringing parts of models to this machine: asked for together, announced, then fetched some at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from threading import Event
from time import monotonic

from vrx.errors import ModelError
from vrx.weights import hub, sharded, transfer, url
from vrx.weights.catalogue import Entry, PartFile
from vrx.weights.concurrency import Stopped, together

Note = Callable[[str], None]
Progress = Callable[[str, int, int | None], None]  # part, bytes here, bytes in all
TELL_EVERY = 0.1  # seconds between two words about one file
NEVER = Event()  # that nobody sets


def silent(part: str, done: int, size: int | None) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, kw_only=True)
class Shop:
    """Where parts come from and who hears of it: `models` holds what came by hand, a folder a model."""

    models: Path
    offline: bool
    note: Note
    progress: Progress = silent


def source_of(part: PartFile) -> hub.Source:
    """The Hub's address of a part."""
    return hub.Source(part.repo, part.path, part.kind, part.revision or "main")


def bring(entry: Entry, parts: list[PartFile], shop: Shop) -> None:
    """Fetch parts: all servers are asked first, so that sizes are announced and refusals come at once.

    Raises ModelError.
    """
    progress = now_and_then(shop.progress)
    files = [file for part in parts for file in files_of(part, progress)]
    errands = together([partial(Errand.asked, file) for file in files])
    orders = list({errand.order.target: errand.order for errand in errands}.values())
    announce(entry, parts, orders, shop.note)
    transfer.room(orders)
    together([partial(errand.run, progress) for errand in errands])


def files_of(part: PartFile, progress: Progress) -> list[PartFile]:
    """A part in several files as one part each, its index included, which is fetched to know them."""
    if not sharded.is_index(part.path) or part.url:
        return [part]
    index = Errand.asked(part).run(progress)
    folder = PurePosixPath(part.path).parent
    others = [replace(part, path=str(folder / name), size=None, sha256="") for name in sharded.shard_names(index)]
    return [part, *others]


@dataclass(frozen=True)
class Errand:
    """One file to be fetched, and what the Hub said of it."""

    part: PartFile
    order: transfer.Order
    facts: hub.Facts | None = None

    @classmethod
    def asked(cls, part: PartFile, stop: Event = NEVER) -> Errand:
        """Ask for a part's file.  Raises ModelError."""
        if part.url:
            return cls(part, url.order(part.url, part.size, part.sha256))
        source = source_of(part)
        facts = hub.find(source)
        if part.size is not None and facts.size is not None and facts.size != part.size:
            raise ModelError(f"the Hub's {source} has {facts.size} bytes, the catalogue says {part.size}", "Update vrx")
        return cls(part, hub.order(source, facts, part.sha256), facts)

    def run(self, progress: Progress, stop: Event = NEVER) -> Path:
        """Bring the file to its place.  Raises ModelError, Stopped once `stop` is set."""
        name = self.part.path if self.part.url else str(source_of(self.part))

        def tell(done: int, size: int | None) -> None:
            if stop.is_set():
                raise Stopped
            progress(name, done, size)

        transfer.complete(self.order, tell)
        return self.order.target if self.facts is None else hub.link(source_of(self.part), self.facts)


def priced(parts: Sequence[PartFile]) -> list[PartFile]:
    """The same with the sizes that servers tell, where the catalogue does not; as they are where nobody answers."""
    return together([partial(sized, part) for part in parts])


def sized(part: PartFile, stop: Event = NEVER) -> PartFile:
    """A part with its size, where that can be had."""
    if part.size is not None or not part.downloadable:
        return part
    try:
        return replace(part, size=Errand.asked(part).order.size)
    except ModelError:
        return part


def now_and_then(progress: Progress) -> Progress:
    """The same progress, told ten times a second and at a file's end: bytes come in thousands of pieces."""
    told: dict[str, float] = {}

    def tell(part: str, done: int, size: int | None) -> None:
        now = monotonic()
        if done == size or now - told.get(part, 0.0) > TELL_EVERY:
            told[part] = now
            progress(part, done, size)

    return tell


def announce(entry: Entry, parts: list[PartFile], orders: Sequence[transfer.Order], note: Note) -> None:
    """Say what is about to be downloaded."""
    known = sum(order.rest for order in orders)
    sizes = [transfer.amount(known)] if known else []
    sizes += ["files of unknown size"] if any(order.size is None for order in orders) else []
    names = ", ".join(part.location for part in parts)
    note(f"downloading {names}: {' and '.join(sizes) or 'nothing'}; license: {entry.license}")
