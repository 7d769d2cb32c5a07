"""Public folders of Google Drive as a backend: a file is found by its path below the folder, and fetched by its id.

Names and ids come from the pages that Drive shows without an account (`drive_pages.py`).  No page and no header has a
file's hash: the hash cache records that of the file that came first.  Cached under the folder's id and the part's path.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NoReturn
from urllib.parse import urlencode

from vrx.environment import Environment
from vrx.errors import ModelError
from vrx.weights import transfer
from vrx.weights.backend import DownloadTask
from vrx.weights.catalogue import DRIVE, PartFile
from vrx.weights.concurrency import run_with_timeout
from vrx.weights.drive_pages import DriveItem, describe_page, parse_confirmation, parse_listing
from vrx.weights.http import (
    HEAD_TIMEOUT,
    QUERY_SECONDS,
    UnavailableError,
    network_errors,
    read_page,
    request_headers,
    session,
)
from vrx.weights.origin import same_server

log = logging.getLogger(__name__)

CONTENT_SERVERS = {"https://drive.google.com": "https://drive.usercontent.google.com"}  # whence the bytes come
LANGUAGE = {"Accept-Language": "en"}  # the pages' language is that of the address they are sent to, else
FIRST_BYTE = {"Range": "bytes=0-0"}  # enough to learn the size, or that a page comes instead
MAX_FOLDERS = 200  # to list in search of one file
QUERY_ATTEMPTS = 3
QUERY_PAUSE = 1.0  # seconds before the second attempt, doubled after each


@dataclass(frozen=True)
class DriveSource:
    """A public folder: the server of its pages, and its id."""

    server: str
    folder: str

    @classmethod
    def of(cls, part: PartFile) -> DriveSource:
        """The folder of a part."""
        match = DRIVE.fullmatch(part.drive)
        assert match is not None
        return cls(match[1], match[2])

    @property
    def content_server(self) -> str:
        """The server of the files' bytes."""
        return CONTENT_SERVERS.get(self.server, self.server)

    def is_own(self, address: str) -> bool:
        """Whether an address is on one of Drive's two servers."""
        return same_server(address, self.server) or same_server(address, self.content_server)


class DriveBackend:
    """The backend of parts with a `drive`."""

    def cache_folder(self) -> Path:
        """The folder of all such files."""
        return Environment.read().cache / "drive"

    def part_folder(self, part: PartFile) -> Path:
        """A folder for each folder of Drive."""
        return self.cache_folder() / DriveSource.of(part).folder

    def find(self, part: PartFile) -> Path | None:
        """The file, if it was downloaded, under the first of its paths."""
        paths = (self.part_folder(part) / variant.path for variant in part.variants)
        return next((path for path in paths if path.is_file()), None)

    def expected_sha256(self, path: Path) -> str:
        """Unknown: Drive states none."""
        return ""

    def partials(self, part: PartFile) -> Iterator[Path]:
        """The partial files of a part, whichever file of Drive they began with."""
        for variant in part.variants:
            target = self.part_folder(part) / variant.path
            if target.parent.is_dir():
                names = (path for path in target.parent.iterdir() if path.name.startswith(f"{target.name}."))
                yield from (path for path in names if path.name.endswith(transfer.PARTIAL))

    def plan(self, part: PartFile) -> DownloadTask:
        """The request for a part's file, found in the folder, its size known.  Raises ModelError."""
        source = DriveSource.of(part)
        variant, item = find_item(source, part)
        address, size = query_file(source, item)
        if part.size is not None and size is not None and size != part.size:
            raise ModelError(f"{item.path} has {size} bytes on the server, {part.size} in the catalogue", "Update vrx")
        target = self.part_folder(part) / variant.path
        request = transfer.FileRequest(
            name=f"{item.path} ({item.id})",  # two files of one path must not continue each other
            server=source.content_server,
            address=address,
            headers=LANGUAGE,
            target=target,
            size=size,
            sha256=part.sha256,
            check_status=lambda status, _: check_status(source, item, status),
            renew_address=lambda: query_file(source, item)[0],
            refuse_page=lambda page: refuse_answer(source, item, page),
        )
        return DownloadTask(name=item.path, request=request, store=lambda: target)


def find_item(source: DriveSource, part: PartFile) -> tuple[PartFile, DriveItem]:
    """The file of a part: of the first of its paths that there is, the newest; with the variant that has that path.

    Newest: last in natural order of their paths, so a run's highest step.  Raises ModelError.
    """
    wanted = {name for variant in part.variants for name in PurePosixPath(variant.path).parts[:-1]}
    files = list_files(source, wanted)
    for variant in part.variants:
        found = [item for item in files if matches(item.path, variant.path)]
        if found:
            found.sort(key=lambda item: natural_key(item.path))
            log.debug("%s: %s", variant.path, ", ".join(item.path for item in found))
            return variant, found[-1]
    names = " or ".join(variant.path for variant in part.variants)
    raise UnavailableError(f"Google Drive's folder has no such file ({names}; {len(files)} others)")


def list_files(source: DriveSource, wanted: set[str]) -> list[DriveItem]:
    """The files of a folder and those below it, breadth first.  Raises ModelError.

    Once folders have one of the `wanted` names, only those are gone into: data sets beside them have many.
    """
    files: list[DriveItem] = []
    level, listed = [DriveItem("", source.folder, is_folder=True)], 0
    while level:
        listed += len(level)
        if listed > MAX_FOLDERS:
            raise UnavailableError(f"Google Drive's folder has more than {MAX_FOLDERS} folders to search")
        items = [item for folder in level for item in list_folder(source, folder)]
        files += [item for item in items if not item.is_folder]
        folders = [item for item in items if item.is_folder]
        level = [item for item in folders if PurePosixPath(item.path).name in wanted] or folders
    return files


def matches(path: str, pattern: str) -> bool:
    """Whether a path has the names of `pattern` in their order, others between them or not, and ends with its last."""
    names = iter(PurePosixPath(path).parts)
    wanted = PurePosixPath(pattern).parts
    return PurePosixPath(path).name == wanted[-1] and all(name in names for name in wanted)


def natural_key(path: str) -> list[tuple[int, str]]:
    """A key that sorts numbers in names by their value."""
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in re.split(r"(\d{1,30})", path)]


def list_folder(source: DriveSource, folder: DriveItem) -> list[DriveItem]:
    """The items of one folder.  Raises ModelError."""
    name = folder.path or "the folder"
    address = f"{source.server}/embeddedfolderview?{urlencode({'id': folder.id})}"
    answer = request(address, name, source.server, of_file=False)
    check_status(source, folder, answer.status)
    items = parse_listing(answer.text, folder.path) if same_server(answer.address, source.server) else None
    if items is None:
        refuse_page(source, folder, answer.text)
    return items


def query_file(source: DriveSource, item: DriveItem) -> tuple[str, int | None]:
    """The address of a file's bytes, and its size in bytes where the server states it.  Raises ModelError.

    Of a large file a page may come first that asks whether to download it unscanned; its form leads on.
    """
    fields = {"id": item.id, "export": "download", "confirm": "t"}
    address = f"{source.content_server}/download?{urlencode(fields)}"
    answer = request(address, item.path, source.content_server, of_file=True)
    onward = parse_confirmation(answer.text, answer.address)
    if onward and source.is_own(onward):
        address = onward
        answer = request(address, item.path, source.content_server, of_file=True)
    check_status(source, item, answer.status)
    if answer.is_page:
        refuse_page(source, item, answer.text)
    return address, answer.size


@dataclass(frozen=True)
class Answer:
    """What a query gave: its status, the address it was led to, the text of a page, the size of a file."""

    status: int
    address: str
    is_page: bool
    text: str
    size: int | None


def request(address: str, what: str, server: str, of_file: bool) -> Answer:
    """A page, or what is learned from a file's first byte; where the server is busy, after a pause again.

    Raises ModelError.
    """
    headers = request_headers() | LANGUAGE | (FIRST_BYTE if of_file else {})
    for attempt in range(QUERY_ATTEMPTS):
        log.debug("GET %s", address)
        with network_errors(what, server):
            answer = run_with_timeout(QUERY_SECONDS, partial(request_once, address, headers))
        if not transfer.is_transient(answer.status) or attempt == QUERY_ATTEMPTS - 1:
            break
        time.sleep(QUERY_PAUSE * 2**attempt)
    return answer


def request_once(address: str, headers: dict[str, str]) -> Answer:
    """One GET.  Raises the client's errors."""
    with session().stream("GET", address, headers=headers, follow_redirects=True, timeout=HEAD_TIMEOUT) as response:
        is_page = transfer.is_page(response)
        text = read_page(response) if is_page else ""
        size = None if is_page else transfer.response_range(response)[1]
        return Answer(response.status_code, str(response.url), is_page, text, size)


def check_status(source: DriveSource, item: DriveItem, status: int) -> None:
    """Raise UnavailableError for a response without a file or a listing."""
    if status >= 400:
        name = item.path or "the folder"
        raise UnavailableError(f"Google Drive answers {status} for {name}", link=link(source, item))


def refuse_page(source: DriveSource, item: DriveItem, page: str) -> NoReturn:
    """Raise UnavailableError for a page in place of a file or a listing, with what it states."""
    raise UnavailableError(f"{item.path or 'the folder'} {describe_page(page)}", link=link(source, item))


def refuse_answer(source: DriveSource, item: DriveItem, page: str) -> NoReturn:
    """The same while bytes are requested: a page that asks for confirmation means that the address has expired."""
    if parse_confirmation(page, source.content_server):
        raise transfer.ExpiredError
    refuse_page(source, item, page)


def link(source: DriveSource, item: DriveItem) -> str:
    """The address of an item's page for people."""
    return f"{source.server}{item.page}"
