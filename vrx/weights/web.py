"""One file from a plain address, known by its hash: resumed, hashed and kept by the same rules as the Hub's."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from vrx.errors import ModelError
from vrx.settings import Environment
from vrx.weights import hub, lock


def place(url: str, digest: str) -> Path:
    """Where a file stands once it is here; its hash is part of the path."""
    return Environment.read().cache / "parts" / digest / Path(urlsplit(url).path).name


def cached(url: str, digest: str) -> Path | None:
    """The file, where it is here."""
    path = place(url, digest)
    return path if path.is_file() else None


def fetch(url: str, size: int | None, digest: str, progress: hub.Progress) -> Path:
    """Bring a file here; what was begun goes on.

    Raises ModelError; what arrived whole but wrong stands beside as `.bad`.
    """
    target = place(url, digest)
    partial = target.with_name(f"{target.name}{hub.PARTIAL}")
    source = hub.Source(f"{urlsplit(url).scheme}://{urlsplit(url).netloc}", urlsplit(url).path.lstrip("/"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with lock.held(target.with_name(f"{target.name}{hub.LOCK}"), lambda: hub.length(partial), hub.PATIENCE):
            if not target.exists():
                with hub.network(source):
                    facts = hub.Facts("", digest, size if size is not None else asked(url, source), url)
                    hub.room(target.parent, facts.size, hub.length(partial), source)
                    hub.transfer(source, facts, partial, progress)
                hub.check(source, facts, partial, digest)
                partial.replace(target)
    except OSError as error:
        raise ModelError(
            f"cannot keep {source} in {target.parent}: {error.strerror or error}", "Set VRX_HOME"
        ) from error
    return target


def asked(url: str, source: hub.Source) -> int | None:
    """The size that the server states.  Raises ModelError."""
    answer = hub.session().head(url, headers=hub.plain_headers(), follow_redirects=True, timeout=hub.ASK_SECONDS)
    hub.refused(source, answer.status_code, "")
    stated = answer.headers.get("content-length", "")
    return int(stated) if stated.isdecimal() else None
