"""The bytes of one file: ranged, resumed after any break, hashed before they count, set aside when wrong."""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from vrx.errors import ModelError
from vrx.weights import disk, lock
from vrx.weights.network import READ_SECONDS, plain_headers, session, troubles

ATTEMPTS = 5  # in a row that bring nothing new
PAUSE = 0.5  # seconds before the second attempt, doubled after each
PATIENCE = 60.0  # seconds that another's download may stand still
SHA256 = re.compile(r"^[0-9a-f]{64}$")
PARTIAL, BAD, LOCK = ".vrx-part", ".bad", ".vrx-lock"
LARGER = "Free some space, or set HF_HOME to a larger disk"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

EXPIRED = {401, 403, 410}

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
        return self.target.with_name(f"{self.target.name}{PARTIAL}")

    @property
    def rest(self) -> int:
        """Bytes that are still to come, as far as is known."""
        return 0 if self.size is None or self.target.exists() else max(0, self.size - length(self.partial))


class ExpiredError(Exception):
    """The address of the bytes is no longer good; the file may be."""


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
    guard = order.target.with_name(f"{order.target.name}{LOCK}")
    with keeping(order.name, order.target.parent):
        order.target.parent.mkdir(parents=True, exist_ok=True)
        with lock.held(guard, lambda: length(order.partial), PATIENCE):
            if not order.target.exists():
                fill(order, progress)
                check(order)
                order.partial.replace(order.target)


def fill(order: Order, progress: Progress) -> None:
    """Append what is missing; a broken connection is taken up again as long as it brings something."""
    fruitless, address = 0, order.address
    if order.size is not None and length(order.partial) > order.size:
        set_aside(order.partial, order.target.name)
    if order.size == 0:
        order.partial.touch()
    while order.size is None or length(order.partial) < order.size:
        before, ended = length(order.partial), False
        try:
            ended = run_once(order, address, progress)
        except ExpiredError:
            assert order.renewed is not None
            address = order.renewed()
        except troubles() as error:
            if length(order.partial) == before and fruitless >= ATTEMPTS - 1:
                text = (str(error) or type(error).__name__).splitlines()[0]
                raise ModelError(
                    f"cannot get {order.name} from {order.server}: {text}",
                    "Check the network and run again: what arrived is kept",
                ) from error
        if ended and order.size is None:
            return
        fruitless = 0 if length(order.partial) > before else fruitless + 1
        if fruitless >= ATTEMPTS:
            raise ModelError(
                f"{order.server} stops sending {order.name} after {before} bytes", "Run again later: they are kept"
            )
        if fruitless:
            time.sleep(PAUSE * 2 ** (fruitless - 1))


def run_once(order: Order, address: str, progress: Progress) -> bool:
    """One GET of the rest; whether the server sent all that it meant to.  Raises ExpiredError."""
    have = length(order.partial)
    headers = plain_headers() | order.headers | ({"Range": f"bytes={have}-"} if have else {})
    with session().stream("GET", address, headers=headers, follow_redirects=True, timeout=READ_SECONDS) as answer:
        if passing(answer.status_code):
            return False  # no progress: tried again
        if answer.status_code == 416 and order.size is None:
            with keeping(order.name, order.target.parent):
                set_aside(order.partial, order.target.name)
            return False
        if answer.status_code in EXPIRED and order.renewed is not None:
            raise ExpiredError
        order.refused(answer.status_code, answer.headers.get("x-error-code", ""))
        appends = answer.status_code == 206 and answer.headers.get("content-range", "").startswith(f"bytes {have}-")
        stated = answer.headers.get("content-length", "")
        if order.size is not None and not appends and stated.isdecimal() and int(stated) < order.size:
            raise ModelError(
                f"{order.server} sends {stated} bytes as {order.name}, which has {order.size}",
                "Sign in to the network where it asks for that, or run again later",
            )
        done = have if appends else 0
        with keeping(order.name, order.target.parent):
            file = order.partial.open("ab" if appends else "wb", buffering=0)  # what fails, fails at its block
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
    return True


def passing(status: int) -> bool:
    """Whether a refusal may be over in a moment: the server is busy or in trouble."""
    return status == 429 or status >= 500


def write(file: FileIO, block: bytes) -> None:
    """All of a block, however few bytes the system takes at a time."""
    rest = memoryview(block)
    while rest:
        rest = rest[file.write(rest) :]


def check(order: Order) -> None:
    """Set aside a whole file that is not what it should be.  Raises ModelError."""
    wrong = order.size is not None and length(order.partial) != order.size
    if wrong or (order.sha256 and disk.sha256(order.partial) != order.sha256):
        aside = set_aside(order.partial, order.target.name)
        raise ModelError(f"{order.name} arrived damaged (set aside as {aside})", "Run again to download it anew")


def set_aside(path: Path, name: str) -> Path:
    """Keep a wrong file where nothing takes it for a right one; returns its new place.  Raises OSError."""
    aside, number = path.with_name(f"{name}{BAD}"), 1
    while aside.exists():
        aside, number = path.with_name(f"{name}{BAD}.{number}"), number + 1
    path.rename(aside)
    return aside
