"""The bytes of one file: ranged, resumed after any break, hashed before they count, set aside when wrong."""

from __future__ import annotations

import errno
import hashlib
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
from vrx.weights import hashes, lock
from vrx.weights.http import READ_SECONDS, in_words, plain_headers, session, troubles
from vrx.weights.origin import is_private

ATTEMPTS = 5  # in a row that bring nothing new
PAUSE = 0.5  # seconds before the second attempt, doubled after each
PATIENCE = 60.0  # seconds that another's download may stand still
SHA256 = re.compile(r"^[0-9a-f]{64}$")
PARTIAL, BAD, LOCK = ".vrx-part", ".bad", ".vrx-lock"
MARK = 12  # hexadecimal digits in a partial file's name that tell whose it is
LARGER = "Free some space, or set HF_HOME to a larger disk"
KEPT = "Check the network and run again: what arrived is kept"
ELSEWHERE = "Sign in to the network where it asks for that, or run again later"
MANUAL = "Check HF_ENDPOINT, or bring the file: vrx models import"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
EXPIRED = {401, 403, 410}
RANGE = re.compile(r"bytes (\d{1,19})-\d{1,19}/(\d{1,19}|\*)$")

Progress = Callable[[int, int | None], None]  # bytes here, bytes in all


@dataclass(frozen=True, kw_only=True)
class Order:
    """One file to be had: `name` for people, where its bytes are and how to ask for them, what it will be.

    `target` is its place once it is whole and right; `size` in bytes and `sha256` where they are known.
    """

    name: str
    server: str
    address: str
    headers: dict[str, str]
    target: Path
    size: int | None
    sha256: str
    refused: Callable[[int, str], None]  # raises ModelError for a status, and the server's word for it
    renewed: Callable[[], str] | None = None  # another address, where such expire

    @property
    def partial(self) -> Path:
        """Where it grows."""
        return self.target.with_name(partial_name(self.target.name, self.name))

    @property
    def guard(self) -> Path:
        """The lock of those who bring it."""
        return self.target.with_name(f"{self.target.name}{LOCK}")

    def arrived(self) -> int:
        """Bytes here, under whichever name another process brings the same file."""
        names = (path for path in self.target.parent.iterdir() if path.name.startswith(f"{self.target.name}."))
        return sum(length(path) for path in names if path.name.endswith(PARTIAL))

    @property
    def rest(self) -> int:
        """Bytes that are still to come, as far as is known."""
        return 0 if self.size is None or self.target.exists() else max(0, self.size - length(self.partial))


class ExpiredError(Exception):
    """The address of the bytes is no longer good; the file may be."""


class RestartError(Exception):
    """The server does not continue where the partial file ends: only the whole file can be had."""


class BusyError(OSError):
    """The server is busy or in trouble, and may not be in a moment."""


def partial_mark(name: str) -> str:
    """How the names of partial files end that were asked for as `name`."""
    return f".{hashlib.sha256(name.encode()).hexdigest()[:MARK]}{PARTIAL}"


def partial_name(target: str, name: str) -> str:
    """The name of a partial file: which file it becomes, and a mark of what it was asked for as."""
    return f"{target}{partial_mark(name)}"


def guard_of(partial: Path) -> Path:
    """The lock of those who bring the file that a partial one becomes."""
    return partial.with_name(f"{partial.name.removesuffix(PARTIAL)[: -MARK - 1]}{LOCK}")


def length(path: Path) -> int:
    """Bytes of a file, 0 where it is not."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def amount(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


@contextmanager
def keeping(name: str, folder: Path) -> Iterator[None]:
    """Failures of the disk as one clear line.  Raises ModelError."""
    try:
        yield
    except OSError as error:
        hint = f"What arrived is kept. {LARGER}" if error.errno in FULL else "Set HF_HOME or VRX_HOME to another folder"
        raise ModelError(f"cannot keep {name} in {folder}: {error.strerror or error}", hint) from error


def room(orders: Iterable[Order]) -> None:
    """Refuse before the first byte what the disks cannot hold together.  Raises ModelError."""
    needs: dict[int, list[Order]] = {}
    for order in orders:
        with keeping(order.name, order.target.parent):
            order.target.parent.mkdir(parents=True, exist_ok=True)
            needs.setdefault(order.target.parent.stat().st_dev, []).append(order)
    for together in needs.values():
        folder, need = together[0].target.parent, sum(order.rest for order in together)
        free = shutil.disk_usage(folder).free
        if need > free:
            names = ", ".join(order.name for order in together if order.rest)
            raise ModelError(f"{names}: {amount(need)} more, and {folder} has {amount(free)} free", LARGER)


def complete(order: Order, progress: Progress) -> None:
    """Bring a file to its target, under a lock, unless another brought it meanwhile.

    Raises ModelError; what arrived whole but wrong stands beside as `.bad`.
    """
    with keeping(order.name, order.target.parent):
        order.target.parent.mkdir(parents=True, exist_ok=True)
        with lock.hold(order.guard, order.arrived, PATIENCE):
            if not order.target.exists():
                check(order, fill(order, progress))
                order.partial.replace(order.target)


def fill(order: Order, progress: Progress) -> int | None:
    """Append what is missing; a broken connection is taken up again as long as it brings something.

    Returns the file's size in bytes, where the order or the server stated it.  Raises ModelError.
    """
    fruitless, restarts, address, size = 0, 0, order.address, order.size
    clear(order)
    while size is None or length(order.partial) < size:
        before = length(order.partial)
        try:
            size = run_once(order, address, progress)
            if size is None:  # it came to its end, wherever that is
                return None
        except ExpiredError:
            assert order.renewed is not None
            address = order.renewed()
        except RestartError:
            restarts += 1
            order.partial.unlink(missing_ok=True)
        except troubles() as error:
            if length(order.partial) == before and fruitless >= ATTEMPTS - 1:
                raise ModelError(f"cannot get {order.name} from {order.server}: {in_words(error)}", KEPT) from error
        fruitless = 0 if length(order.partial) > before else fruitless + 1
        if max(fruitless, restarts) >= ATTEMPTS:
            raise ModelError(
                f"{order.server} stops sending {order.name} after {before} bytes", "Run again later: they are kept"
            )
        if fruitless:
            time.sleep(PAUSE * 2 ** (fruitless - 1))
    return size


def clear(order: Order) -> None:
    """Take away what cannot be the beginning of the file: more than it has, or no plain file.  Raises OSError."""
    if order.partial.is_symlink() or (order.partial.exists() and not order.partial.is_file()):
        order.partial.unlink()  # bytes must not go through it to somewhere else
    if order.size is not None and length(order.partial) > order.size:
        set_aside(order.partial, order.target.name)


def run_once(order: Order, address: str, progress: Progress) -> int | None:
    """One GET of the rest, to its end; returns the file's size where the order or the answer states it.

    Raises ExpiredError, RestartError, ModelError, and the client's errors where the connection breaks.
    """
    have = length(order.partial)
    headers = plain_headers() | order.headers | ({"Range": f"bytes={have}-"} if have else {})
    with session().stream("GET", address, headers=headers, follow_redirects=True, timeout=READ_SECONDS) as answer:
        if passing(answer.status_code):
            raise BusyError(f"the server answers {answer.status_code}")
        if answer.status_code in EXPIRED and order.renewed is not None:
            raise ExpiredError
        if answer.status_code == 416 and have:
            raise RestartError
        order.refused(answer.status_code, answer.headers.get("x-error-code", ""))
        start, stated = extent(answer)
        if start not in (0, have):
            raise RestartError
        believable(order, answer, stated)
        receive(order, answer, start, progress)
    return order.size if order.size is not None else stated


def extent(answer: Any) -> tuple[int, int | None]:
    """At which byte an answer begins, and how many the whole file has where that is stated."""
    stated = answer.headers.get("content-length", "")
    if answer.status_code != 206:
        return 0, int(stated) if stated.isdecimal() else None
    match = RANGE.match(answer.headers.get("content-range", ""))
    if match is None:
        return -1, None
    return int(match.group(1)), int(match.group(2)) if match.group(2) != "*" else None


def believable(order: Order, answer: Any, stated: int | None) -> None:
    """Refuse an answer that is not the file, before a byte of it is kept.  Raises ModelError."""
    if order.size is not None and stated is not None and stated < order.size:
        raise ModelError(f"{order.server} sends {stated} bytes as {order.name}, which has {order.size}", ELSEWHERE)
    if answer.headers.get("content-encoding", "identity") not in ("", "identity"):
        raise ModelError(f"{order.server} sends {order.name} compressed, which was not asked for", ELSEWHERE)
    if order.sha256:
        return
    if stated == 0:
        raise ModelError(f"{order.server} sends an empty file as {order.name}", ELSEWHERE)
    if order.size is None and stated is None and "chunked" not in answer.headers.get("transfer-encoding", ""):
        raise ModelError(f"{order.server} says neither size nor hash of {order.name}, so a part may be missing", MANUAL)
    if is_private(order.server) and not is_private(str(answer.url)):
        raise ModelError(f"{order.server} sends {order.name} over plain http, and its hash is not known", MANUAL)


def receive(order: Order, answer: Any, start: int, progress: Progress) -> None:
    """Write an answer's bytes from `start` on.  Raises ModelError where the disk does not take them."""
    done = start
    with keeping(order.name, order.target.parent):
        file = order.partial.open("ab" if start else "wb", buffering=0)  # what fails, fails at its block
    with file:
        for block in answer.iter_raw():  # as it comes: what waits to fill a block is lost with the connection
            with keeping(order.name, order.target.parent):
                write(file, block)
            done += len(block)
            progress(done, order.size)
            if order.size is not None and done > order.size:
                break
        with keeping(order.name, order.target.parent):
            os.fsync(file.fileno())


def passing(status: int) -> bool:
    """Whether a refusal may be over in a moment: the server is busy or in trouble."""
    return status == 429 or status >= 500


def write(file: FileIO, block: bytes) -> None:
    """All of a block, however few bytes the system takes at a time."""
    rest = memoryview(block)
    while rest:
        rest = rest[file.write(rest) :]


def check(order: Order, size: int | None) -> None:
    """Set aside a whole file that is not what it should be; `size` in bytes where it is known.  Raises ModelError."""
    have = length(order.partial)
    wrong = have != size if size is not None else have == 0 and not order.sha256
    if wrong or (order.sha256 and hashes.sha256(order.partial) != order.sha256):
        aside = set_aside(order.partial, order.target.name)
        raise ModelError(f"{order.name} arrived damaged (set aside as {aside})", "Run again to download it anew")


def set_aside(path: Path, name: str) -> Path:
    """Keep a wrong file where nothing takes it for a right one; returns its new place.  Raises OSError."""
    aside, number = path.with_name(f"{name}{BAD}"), 1
    while aside.exists():
        aside, number = path.with_name(f"{name}{BAD}.{number}"), number + 1
    path.rename(aside)
    return aside
