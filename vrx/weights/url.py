"""Plain addresses as a backend: files whose hash the catalogue states, or whose address names their commit."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from vrx.environment import Environment
from vrx.errors import ModelError
from vrx.weights import transfer
from vrx.weights.backend import DownloadTask
from vrx.weights.catalogue import PartFile
from vrx.weights.concurrency import run_with_timeout
from vrx.weights.http import HEAD_TIMEOUT, QUERY_SECONDS, network_errors, request_headers, session

log = logging.getLogger(__name__)


class PlainAddress:
    """The backend of parts with a `url`."""

    def cache_folder(self) -> Path:
        """The folder of all such files."""
        return Environment.read().cache / "parts"

    def part_folder(self, part: PartFile) -> Path:
        """A folder for each hash: of the file, or where that is not known of its address."""
        return self.cache_folder() / (part.sha256 or hashlib.sha256(part.url.encode()).hexdigest())

    def path(self, part: PartFile) -> Path:
        """Where the file is stored once it is downloaded."""
        return self.part_folder(part) / Path(urlsplit(part.url).path).name

    def find(self, part: PartFile) -> Path | None:
        """The file, if it was downloaded."""
        path = self.path(part)
        return path if path.is_file() else None

    def expected_sha256(self, path: Path) -> str:
        """Unknown: the catalogue states it."""
        return ""

    def partials(self, part: PartFile) -> Iterator[Path]:
        """The partial files of a part."""
        return transfer.find_partials(self.part_folder(part), [part.url])

    def plan(self, part: PartFile) -> DownloadTask:
        """The request for a part; the server is queried for a size that is not known.  Raises ModelError."""
        target, size = self.path(part), part.size
        server = f"{urlsplit(part.url).scheme}://{urlsplit(part.url).netloc}"
        if size is None:
            with network_errors(part.url, server):
                size = run_with_timeout(QUERY_SECONDS, partial(query_size, part.url))
        request = transfer.FileRequest(
            name=part.url,
            server=server,
            address=part.url,
            headers={},
            target=target,
            size=size,
            sha256=part.sha256,
            check_status=lambda status, _: check_status(part.url, status),
        )
        return DownloadTask(name=part.path, request=request, store=lambda: target)


def query_size(url: str) -> int | None:
    """The size that the server states.  Raises ModelError."""
    log.debug("HEAD %s", url)
    response = session().head(url, headers=request_headers(), follow_redirects=True, timeout=HEAD_TIMEOUT)
    check_status(url, response.status_code)
    stated = response.headers.get("content-length", "")
    return (int(stated) or None) if stated.isdecimal() else None  # servers without a known size answer HEAD with 0


def check_status(url: str, status: int) -> None:
    """Raise ModelError for a response without a file."""
    if status >= 400:
        raise ModelError(f"the server answers {status} for {url}", "Try again later, or update vrx")
