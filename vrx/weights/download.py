"""From a catalogue entry to verified files: find what is missing, announce it, download it, verify everything."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from threading import Event
from time import monotonic

from vrx.environment import Environment
from vrx.errors import ModelError
from vrx.events import Fetching, Note, Noted, Notify, Watcher
from vrx.files import format_bytes
from vrx.weights import sharded, store, transfer
from vrx.weights.backend import DownloadTask, Progress
from vrx.weights.catalogue import UNPUBLISHED, Entry, PartFile
from vrx.weights.concurrency import run_concurrently
from vrx.weights.http import IMPORT, UnavailableError

log = logging.getLogger(__name__)

REPORT_SECONDS = 0.1  # between two reports of progress about one file


def ignore_progress(part: str, done: int, size: int | None) -> None:
    """Ignore progress."""


@dataclass(frozen=True, kw_only=True)
class Downloader:
    """Provides the files of models.

    `models` is the folder of files that users added, `offline` forbids downloads; what is downloaded is
    announced to `notify`, with its size and license, and bytes that arrive are reported to `progress`.
    """

    models: Path
    offline: bool
    notify: Notify
    progress: Progress = ignore_progress

    @classmethod
    def for_watcher(cls, source: str, watch: Watcher, offline: bool) -> Downloader:
        """One that reports to a watcher, as events about the input or model `source`; folders are the environment's."""

        def notify(note: Note) -> None:
            watch(Noted.of(source, note))

        def progress(part: str, done: int, size: int | None) -> None:
            watch(Fetching(input=source, part=part, done=done, size=size))

        return cls(models=Environment.read().models, offline=offline, notify=notify, progress=progress)

    def provide(self, entry: Entry, roles: set[str]) -> dict[str, Path]:
        """A verified file for each role that every run needs, and for the optional ones in `roles`.

        Raises ModelError for a file that cannot be downloaded, or is not the one of the catalogue.
        """
        parts = store.required_parts(entry, roles)
        missing = [part for part in parts if store.find_part(entry, part, self.models) is None]
        if missing:
            self.download(entry, missing)
        return {part.role: store.verify_part(entry, part, self.models) for part in parts}

    def download(self, entry: Entry, parts: Sequence[PartFile]) -> None:
        """Download parts.  Raises ModelError before the first byte where one cannot be had, or space is short."""
        for part in parts:
            self._check(entry, part)
        progress = throttle(self.progress)
        files = [(part, file) for part in parts for file in list_files(part, progress)]
        tasks = run_concurrently([partial(plan_for, entry, part, file) for part, file in files])
        jobs = [partial(run_for, entry, part, task, progress) for (part, _), task in zip(files, tasks, strict=True)]
        requests = list({task.request.target: task.request for task in tasks}.values())
        found = dict.fromkeys(location(part, task) for (part, _), task in zip(files, tasks, strict=True))
        self.notify(announcement(entry, list(found), requests))
        transfer.check_space(requests)
        run_concurrently(jobs)

    def _check(self, entry: Entry, part: PartFile) -> None:
        """Refuse a part that is not downloaded, with what to do instead.  Raises ModelError."""
        if entry.packaged:
            raise ModelError(f"the package lacks {part.path}", "Install vrx again")
        if not part.downloadable and entry.source == UNPUBLISHED:
            raise ModelError(
                f"the weights of {entry.name} are not published",
                f"A checkpoint of its layout can be added: vrx models import {entry.name} FILE",
            )
        if not part.downloadable:
            target = store.manual_path(entry, part, self.models).parent
            raise ModelError(
                f"{entry.name} needs {part.path} ({part.role}), which you must download yourself ({entry.source})",
                f"Then: vrx models import {entry.name} {PurePosixPath(part.path).name}, or put it into {target}",
            )
        if self.offline and part.drive:
            raise by_hand(entry, part, None, UnavailableError("it is not on this machine, and --offline is set"))
        if self.offline:
            raise ModelError(f"{part.location} is not on this machine", "Run once without --offline to download it")


def plan(part: PartFile, cancel: Event | None = None) -> DownloadTask:
    """Query the server of a part's file.  Raises ModelError."""
    task = store.backend_of(part).plan(part)
    log.debug("%s: %s bytes, %d to download", task.name, task.request.size, task.request.remaining)
    return task


def plan_for(entry: Entry, part: PartFile, file: PartFile, cancel: Event) -> DownloadTask:
    """`plan` one file of an entry's part.  Raises ModelError."""
    with named_errors(entry, part, part.size):
        return plan(file, cancel)


def run_for(entry: Entry, part: PartFile, task: DownloadTask, progress: Progress, cancel: Event) -> Path:
    """Download one file of an entry's part.  Raises ModelError, and Cancelled once `cancel` is set."""
    with named_errors(entry, part, task.request.size):
        return task.run(progress, cancel)


@contextmanager
def named_errors(entry: Entry, part: PartFile, size: int | None) -> Iterator[None]:
    """Name the model in how to add a part by hand; where Google Drive does not send it, say how to with a browser.

    Raises ModelError.
    """
    try:
        yield
    except ModelError as error:
        if part.drive and isinstance(error, UnavailableError):
            raise by_hand(entry, part, size, error) from error
        error.hint = error.hint.replace(IMPORT, f"vrx models import {entry.name} {PurePosixPath(part.path).name}")
        raise


def by_hand(entry: Entry, part: PartFile, size: int | None, reason: UnavailableError) -> ModelError:
    """Which file a model lacks, how large it is (`size` in bytes), why it was not downloaded, and how to add it."""
    large = format_bytes(size) if size else f"over {format_bytes(entry.minimum_size_of(part))}"
    return ModelError(
        f"{entry.name} needs {part.path} ({part.role}, {large}): {reason.message}",
        f"Open {reason.link or part.drive} in a browser and download it, then: "
        f"vrx models import {entry.name} {PurePosixPath(part.path).name}",
    )


def list_files(part: PartFile, progress: Progress) -> list[PartFile]:
    """A part in several files as one part for each; an index is downloaded to read their names, and one of them."""
    if not sharded.is_sharded(part.path):
        return [part]
    path = PurePosixPath(part.path)
    names = sharded.numbered_names(path) or sharded.shard_names(plan(part).run(progress))
    others = [name for name in names if name != path.name]
    return [part, *(replace(part, path=str(path.parent / name), size=None, sha256="") for name in others)]


def with_sizes(parts: Sequence[PartFile]) -> list[PartFile]:
    """The same parts with the sizes that servers state, where the catalogue does not; unchanged without an answer."""
    return run_concurrently([partial(with_size, part) for part in parts])


def with_size(part: PartFile, cancel: Event | None = None) -> PartFile:
    """A part with its size, where that can be queried."""
    if part.size is not None or not part.downloadable:
        return part
    try:
        return replace(part, size=plan(part).request.size)
    except ModelError as error:
        log.debug("no size of %s: %s", part.location, error)
        return part


def throttle(progress: Progress, seconds: float = REPORT_SECONDS) -> Progress:
    """The same progress, reported at most every `seconds` and at a file's end: bytes come in thousands of pieces."""
    latest: dict[str, float] = {}

    def report(part: str, done: int, size: int | None) -> None:
        now = monotonic()
        if done == size or now - latest.get(part, 0.0) > seconds:
            latest[part] = now
            progress(part, done, size)

    return report


def location(part: PartFile, task: DownloadTask) -> str:
    """Where a part comes from, for people; of a folder that was searched, the file that was found."""
    return f"{part.drive}/{task.name}" if part.drive else part.location


def announcement(entry: Entry, locations: Sequence[str], requests: Sequence[transfer.FileRequest]) -> Note:
    """What is about to be downloaded, how large it is, under which license."""
    known = sum(request.remaining for request in requests)
    unknown = any(request.size is None for request in requests)
    sizes = [format_bytes(known)] * bool(known) + ["files of unknown size"] * unknown
    return Note(
        "download-started",
        f"downloading {', '.join(locations)}: {' and '.join(sizes) or 'nothing'}; license: {entry.license}",
        {"model": entry.name, "files": len(requests), "bytes": None if unknown else known, "license": entry.license},
    )
