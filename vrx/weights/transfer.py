"""The bytes of one file: ranged requests, resumed after any break, hashed before use, set aside when wrong."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from vrx.errors import ModelError
from vrx.files import format_bytes
from vrx.weights import hashes, lock
from vrx.weights.http import (
    IMPORT,
    READ_SECONDS,
    UnavailableError,
    describe,
    network_exceptions,
    read_page,
    request_headers,
    session,
)
from vrx.weights.origin import is_private

log = logging.getLogger(__name__)

ATTEMPTS = 5  # in a row without a new byte
PAUSE = 0.5  # seconds before the second attempt, doubled after each
STALL_SECONDS = 60.0  # without a new byte in another process's download
SHA256 = re.compile(r"^[0-9a-f]{64}$")
PARTIAL, BAD, LOCK = ".vrx-part", ".bad", ".vrx-lock"
DIGEST_DIGITS = 12  # hexadecimal digits in a partial file's name that identify what was requested
FREE_SPACE = "Free some space, or set HF_HOME to a larger disk"
RETRY = "Check the network and run again: downloads resume"
SIGN_IN = "Sign in to the network where it asks for that, or run again later"
ADD_FILE = f"Check HF_ENDPOINT, or add the file yourself: {IMPORT}"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
EXPIRED = {401, 403, 410}
RANGE = re.compile(r"bytes (\d{1,19})-\d{1,19}/(\d{1,19}|\*)$")

Progress = Callable[[int, int | None], None]  # bytes received, bytes in all


@dataclass(frozen=True, kw_only=True)
class FileRequest:
    """One file to download: `name` for people, the address of its bytes, headers, what is known of it.

    `target` is its path once it is complete and verified; `size` in bytes and `sha256` where they are known.
    """

    name: str
    server: str
    address: str
    headers: dict[str, str]
    target: Path
    size: int | None
    sha256: str
    check_status: Callable[[int, str], None]  # raises ModelError for a status and an error code of the server
    renew_address: Callable[[], str] | None = None  # a new address, where addresses expire
    refuse_page: Callable[[str], None] | None = None  # raises for a page in place of the file, where pages come so

    @property
    def partial(self) -> Path:
        """The partial file, to which bytes are appended."""
        return self.target.with_name(partial_name(self.target.name, self.name))

    @property
    def lock_path(self) -> Path:
        """The lock that the process downloading it holds."""
        return self.target.with_name(f"{self.target.name}{LOCK}")

    def bytes_present(self) -> int:
        """Bytes of partial files with this target, whichever process downloads them under whichever name."""
        names = (path for path in self.target.parent.iterdir() if path.name.startswith(f"{self.target.name}."))
        return sum(file_size(path) for path in names if path.name.endswith(PARTIAL))

    @property
    def remaining(self) -> int:
        """Bytes still to download, 0 where the size is unknown."""
        return 0 if self.size is None or self.target.exists() else max(0, self.size - file_size(self.partial))


class ExpiredError(Exception):
    """The address has expired; the file may still be available."""


class RestartError(Exception):
    """The server does not resume where the partial file ends: the download must start over."""


class BusyError(OSError):
    """The server is busy or failing, perhaps only for a moment."""


def partial_suffix(name: str) -> str:
    """How the names of partial files end that were requested as `name`."""
    return f".{hashlib.sha256(name.encode()).hexdigest()[:DIGEST_DIGITS]}{PARTIAL}"


def partial_name(target: str, name: str) -> str:
    """The name of a partial file: its target's, and a digest of the name it was requested by."""
    return f"{target}{partial_suffix(name)}"


def lock_of_partial(partial: Path) -> Path:
    """The lock that belongs to a partial file's target."""
    return partial.with_name(f"{partial.name.removesuffix(PARTIAL)[: -DIGEST_DIGITS - 1]}{LOCK}")


def find_partials(folder: Path, names: Iterable[str]) -> Iterator[Path]:
    """The partial files in a folder that were requested by any of the names."""
    suffixes = tuple(partial_suffix(name) for name in names)
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if path.name.endswith(suffixes))


def file_size(path: Path) -> int:
    """Bytes of a file, 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


@contextmanager
def disk_errors(name: str, folder: Path) -> Iterator[None]:
    """Failures of the disk as one clear line.  Raises ModelError."""
    try:
        yield
    except OSError as error:
        hint = f"Downloads resume. {FREE_SPACE}" if error.errno in FULL else "Set HF_HOME or VRX_HOME to another folder"
        raise ModelError(f"cannot write {name} into {folder}: {error.strerror or error}", hint) from error


def check_space(requests: Iterable[FileRequest]) -> None:
    """Refuse downloads that do not fit the disks together, before the first byte.  Raises ModelError."""
    needs: dict[int, list[FileRequest]] = {}
    for request in requests:
        with disk_errors(request.name, request.target.parent):
            request.target.parent.mkdir(parents=True, exist_ok=True)
            needs.setdefault(request.target.parent.stat().st_dev, []).append(request)
    for group in needs.values():
        folder, need = group[0].target.parent, sum(request.remaining for request in group)
        free = shutil.disk_usage(folder).free
        if need > free:
            names = ", ".join(request.name for request in group if request.remaining)
            raise ModelError(
                f"not enough space for {names}: {format_bytes(need)} needed, {format_bytes(free)} free in {folder}",
                FREE_SPACE,
            )


def fetch(request: FileRequest, progress: Progress) -> None:
    """Download a file to its target, under a lock, unless another process has done so meanwhile.

    Raises ModelError; a complete but wrong file is kept beside the target as `.bad`.
    """
    with disk_errors(request.name, request.target.parent):
        request.target.parent.mkdir(parents=True, exist_ok=True)
        with lock.hold(request.lock_path, request.bytes_present, STALL_SECONDS):
            if not request.target.exists():
                verify(request, append_rest(request, progress))
                request.partial.replace(request.target)


def append_rest(request: FileRequest, progress: Progress) -> int | None:
    """Append what is missing; a broken connection is resumed as long as new bytes arrive.

    Returns the file's size in bytes, where the request or the server stated it.  Raises ModelError.
    """
    fruitless, restarts, address, size = 0, 0, request.address, request.size
    discard_unusable(request)
    while size is None or file_size(request.partial) < size:
        before = file_size(request.partial)
        try:
            size = request_rest(request, address, progress)
            if size is None:  # complete, as far as is known
                return None
        except ExpiredError:
            assert request.renew_address is not None
            address = request.renew_address()
        except RestartError:
            restarts += 1
            request.partial.unlink(missing_ok=True)
        except network_exceptions() as error:
            if file_size(request.partial) == before and fruitless >= ATTEMPTS - 1:
                raise UnavailableError(
                    f"cannot download {request.name} from {request.server}: {describe(error)}", RETRY
                ) from error
            log.debug("connection lost: %s: %s", request.name, describe(error))
        fruitless = 0 if file_size(request.partial) > before else fruitless + 1
        if max(fruitless, restarts) >= ATTEMPTS:
            raise UnavailableError(
                f"{request.server} stops sending {request.name} after {before} bytes",
                "Run again later; the download resumes",
            )
        if fruitless:
            time.sleep(PAUSE * 2 ** (fruitless - 1))
    return size


def discard_unusable(request: FileRequest) -> None:
    """Remove a partial file that cannot be the beginning: too long, or not a regular file.  Raises OSError."""
    if request.partial.is_symlink() or (request.partial.exists() and not request.partial.is_file()):
        request.partial.unlink()  # bytes must not be written through a link to somewhere else
    if request.size is not None and file_size(request.partial) > request.size:
        set_aside(request.partial, request.target.name)


def request_rest(request: FileRequest, address: str, progress: Progress) -> int | None:
    """One GET of the remaining bytes, to its end; returns the file's size where request or response state it.

    Raises ExpiredError, RestartError, ModelError, and the client's errors where the connection breaks.
    """
    have = file_size(request.partial)
    headers = request_headers() | request.headers | ({"Range": f"bytes={have}-"} if have else {})
    log.debug("GET %s from byte %d", address.partition("?")[0], have)
    with session().stream("GET", address, headers=headers, follow_redirects=True, timeout=READ_SECONDS) as response:
        if is_transient(response.status_code):
            raise BusyError(f"the server answers {response.status_code}")
        if response.status_code in EXPIRED and request.renew_address is not None:
            raise ExpiredError
        if response.status_code == 416 and have:
            raise RestartError
        request.check_status(response.status_code, response.headers.get("x-error-code", ""))
        if request.refuse_page is not None and is_page(response):
            request.refuse_page(read_page(response))
        start, stated = response_range(response)
        if start not in (0, have):
            raise RestartError
        check_response(request, response, stated)
        write_body(request, response, start, progress)
    return request.size if request.size is not None else stated


def response_range(response: Any) -> tuple[int, int | None]:
    """The byte at which a response begins, and the size of the whole file where that is stated."""
    stated = response.headers.get("content-length", "")
    if response.status_code != 206:
        return 0, int(stated) if stated.isdecimal() else None
    match = RANGE.match(response.headers.get("content-range", ""))
    if match is None:
        return -1, None
    return int(match.group(1)), int(match.group(2)) if match.group(2) != "*" else None


def check_response(request: FileRequest, response: Any, stated: int | None) -> None:
    """Refuse a response that is not the file, before a byte of it is written.  Raises ModelError."""
    if request.size is not None and stated is not None and stated < request.size:
        raise ModelError(f"{request.server} sends {stated} bytes as {request.name}, which has {request.size}", SIGN_IN)
    if response.headers.get("content-encoding", "identity") not in ("", "identity"):
        raise ModelError(f"{request.server} sends {request.name} compressed, which was not requested", SIGN_IN)
    if request.sha256:
        return
    if stated == 0:
        raise ModelError(f"{request.server} sends an empty file as {request.name}", SIGN_IN)
    if request.size is None and stated is None and "chunked" not in response.headers.get("transfer-encoding", ""):
        raise ModelError(f"{request.server} states neither size nor hash of {request.name}", ADD_FILE)
    if is_private(request.server) and not is_private(str(response.url)):
        raise ModelError(f"{request.server} sends {request.name} over plain http, and its hash is not known", ADD_FILE)


def write_body(request: FileRequest, response: Any, start: int, progress: Progress) -> None:
    """Write a response's bytes from `start` on.  Raises ModelError where the disk fails."""
    done = start
    with disk_errors(request.name, request.target.parent):
        file = request.partial.open("ab" if start else "wb", buffering=0)  # unbuffered: an error is raised at its block
    with file:
        for block in response.iter_raw():  # as they come: bytes that wait for a full block are lost with the connection
            with disk_errors(request.name, request.target.parent):
                write_all(file, block)
            done += len(block)
            progress(done, request.size)
            if request.size is not None and done > request.size:
                break
        with disk_errors(request.name, request.target.parent):
            os.fsync(file.fileno())


def is_page(response: Any) -> bool:
    """Whether a response is a page for people, whatever its status."""
    return bool(response.headers.get("content-type", "").startswith("text/html"))


def is_transient(status: int) -> bool:
    """Whether a status may pass in a moment: the server is busy or failing."""
    return status == 429 or status >= 500


def write_all(file: FileIO, block: bytes) -> None:
    """Write all of a block, however few bytes the system takes at a time."""
    rest = memoryview(block)
    while rest:
        rest = rest[file.write(rest) :]


def verify(request: FileRequest, size: int | None) -> None:
    """Set aside a complete file whose size or hash is wrong; `size` in bytes where known.  Raises ModelError."""
    have = file_size(request.partial)
    wrong = have != size if size is not None else have == 0 and not request.sha256
    if wrong or (request.sha256 and hashes.sha256(request.partial) != request.sha256):
        aside = set_aside(request.partial, request.target.name)
        raise ModelError(f"the download of {request.name} is corrupt (moved to {aside})", "Run again to repeat it")


def set_aside(path: Path, name: str) -> Path:
    """Rename a wrong file so that nothing uses it; returns its new path.  Raises OSError."""
    aside, number = path.with_name(f"{name}{BAD}"), 1
    while aside.exists():
        aside, number = path.with_name(f"{name}{BAD}.{number}"), number + 1
    path.rename(aside)
    return aside
