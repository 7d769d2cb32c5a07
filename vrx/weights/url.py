"""Files from a plain address, known by their hash: kept beside other things that can be had again."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from vrx.errors import ModelError
from vrx.settings import Environment
from vrx.weights import transfer
from vrx.weights.concurrency import within
from vrx.weights.http import ASK_IN_ALL, ASK_SECONDS, plain_headers, reached, session


def cache_folder() -> Path:
    """The folder of all such files."""
    return Environment.read().cache / "parts"


def place(url: str, digest: str) -> Path:
    """Where a file stands once it is here; its hash is part of the path."""
    return cache_folder() / digest / Path(urlsplit(url).path).name


def cached(url: str, digest: str) -> Path | None:
    """The file, where it is here."""
    path = place(url, digest)
    return path if path.is_file() else None


def order(url: str, size: int | None, digest: str) -> transfer.Order:
    """What it takes to have a file; the server is asked for a size that is not known.  Raises ModelError."""
    server = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
    if size is None:
        with reached(url, server):
            size = within(ASK_IN_ALL, lambda: asked(url))
    return transfer.Order(
        name=url,
        server=server,
        address=url,
        headers={},
        target=place(url, digest),
        size=size,
        sha256=digest,
        refused=lambda status, _: refused(url, status),
    )


def asked(url: str) -> int | None:
    """The size that the server states.  Raises ModelError."""
    answer = session().head(url, headers=plain_headers(), follow_redirects=True, timeout=ASK_SECONDS)
    refused(url, answer.status_code)
    stated = answer.headers.get("content-length", "")
    return (int(stated) or None) if stated.isdecimal() else None  # 0 is how servers that do not know answer HEAD


def refused(url: str, status: int) -> None:
    """Raise ModelError for an answer that is no file."""
    if status >= 400:
        raise ModelError(f"the server answers {status} for {url}", "Try again later, or update vrx")
