"""What a backend of the downloader does: one for the Hub, one for Google Drive, one for plain addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Protocol

from vrx.errors import ModelError
from vrx.weights import transfer
from vrx.weights.catalogue import PartFile
from vrx.weights.concurrency import Cancelled


class NoFileError(ModelError):
    """The server has no such file."""


Progress = Callable[[str, int, int | None], None]  # file, bytes received, bytes in all


@dataclass(frozen=True, kw_only=True)
class DownloadTask:
    """One file to download: the request for its bytes, and how its backend stores it once they are verified.

    `name` is for people; `store` returns the file's path in the cache.
    """

    name: str
    request: transfer.FileRequest
    store: Callable[[], Path]

    def run(self, progress: Progress, cancel: Event | None = None) -> Path:
        """Download the file.  Raises ModelError, and Cancelled once `cancel` is set."""

        def report(done: int, size: int | None) -> None:
            if cancel is not None and cancel.is_set():
                raise Cancelled
            progress(self.name, done, size)

        transfer.fetch(self.request, report)
        return self.store()


class Backend(Protocol):
    """A kind of server, and the cache that files from there are stored in."""

    def cache_folder(self) -> Path:
        """The folder of the whole cache."""

    def part_folder(self, part: PartFile) -> Path:
        """The folder in the cache that a part's file belongs to."""

    def find(self, part: PartFile) -> Path | None:
        """A part's complete file in the cache, if any."""

    def expected_sha256(self, path: Path) -> str:
        """The recorded hash of a file in the cache; empty where there is none."""

    def partials(self, part: PartFile) -> Iterator[Path]:
        """The partial files of a part, and of its shards."""

    def plan(self, part: PartFile) -> DownloadTask:
        """Query the server about a part's file.  Raises ModelError within seconds where it does not answer."""
