"""One file from the Hub into the Hub's own cache: ranged, resumed after any break, hashed before it counts.

Addresses, tokens, offline mode and the cache's layout are `huggingface_hub`'s; the transfer is ours,
because its own neither resumes across runs, nor times out on a lock, nor hashes what arrives.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name

from vrx import __version__
from vrx.errors import ModelError
from vrx.weights import load, lock

ASK_SECONDS = 4.0  # for the answer to a question about a file
READ_SECONDS = 30.0  # without a single byte, while a file arrives
ATTEMPTS = 5  # in a row that bring nothing new
ASK_ATTEMPTS = 3
PAUSE = 0.5  # seconds before the second attempt, doubled after each
PATIENCE = 60.0  # seconds that another's download may stand still
SHA256 = re.compile(r"^[0-9a-f]{64}$")
REDIRECTS = {301, 302, 303, 307, 308}
PARTIAL, BAD, LOCK = ".vrx-part", ".bad", ".vrx-lock"

Progress = Callable[[int, int | None], None]  # bytes here, bytes in all


@dataclass(frozen=True)
class Source:
    """A file in a repository."""

    repo: str
    path: str
    kind: str = "model"
    revision: str = "main"

    def __str__(self) -> str:
        return f"{self.repo}/{self.path}"


@dataclass(frozen=True)
class Facts:
    """What the Hub says of a file: its commit, its name in the cache, its size, where its bytes are."""

    commit: str
    etag: str
    size: int | None
    address: str


def cache_folder() -> Path:
    """The Hub's cache."""
    return Path(constants.HF_HUB_CACHE)


def offline() -> bool:
    """Whether the user forbids the network to all of the Hub's tools."""
    return bool(constants.HF_HUB_OFFLINE)


def storage(source: Source) -> Path:
    """A repository's folder in the cache."""
    return cache_folder() / repo_folder_name(repo_id=source.repo, repo_type=source.kind)


def cached(source: Source) -> Path | None:
    """The file in the cache, where it is."""
    found = huggingface_hub.try_to_load_from_cache(
        source.repo, source.path, revision=source.revision, repo_type=source.kind
    )
    return Path(found) if isinstance(found, str) else None


def fetch(source: Source, size: int | None, digest: str, progress: Progress) -> Path:
    """Bring a file into the cache; what was begun goes on.  Returns its path there.

    `size` and `digest` are the catalogue's, where it knows them.  Raises ModelError, and what arrived
    whole but wrong stands beside as `.bad`.
    """
    with network(source):
        facts = ask(source)
    if size is not None and facts.size is not None and facts.size != size:
        raise ModelError(f"the Hub's {source} has {facts.size} bytes, the catalogue says {size}", "Update vrx")
    blobs = storage(source) / "blobs"
    blob, partial = blobs / facts.etag, blobs / f"{facts.etag}{PARTIAL}"
    try:
        blobs.mkdir(parents=True, exist_ok=True)
        with lock.held(blobs / f"{facts.etag}{LOCK}", lambda: length(partial), PATIENCE):
            if not blob.exists():
                room(blobs, facts.size, length(partial), source)
                with network(source):
                    transfer(source, facts, partial, progress)
                check(source, facts, partial, digest)
                partial.replace(blob)
        return link(source, facts, blob)
    except OSError as error:
        raise ModelError(f"cannot keep {source} in {blobs}: {error.strerror or error}", "Set HF_HOME") from error


# ---------------------------------------------------------------- asking


def ask(source: Source) -> Facts:
    """HEAD, following the Hub's own redirects only: the last one leads to where the bytes are."""
    url = huggingface_hub.hf_hub_url(
        source.repo, source.path, repo_type=source.kind, revision=source.revision, endpoint=constants.ENDPOINT
    )
    headers = plain_headers() | token_headers()
    for attempt in range(ASK_ATTEMPTS):
        answer = session().head(url, headers=headers, follow_redirects=False, timeout=ASK_SECONDS)
        target = answer.headers.get("location", "")
        if answer.status_code in REDIRECTS and not urlsplit(target).netloc:
            url = urljoin(url, target)
            continue
        if answer.status_code < 500 or attempt == ASK_ATTEMPTS - 1:
            break
        time.sleep(PAUSE * 2**attempt)
    refused(source, answer.status_code, answer.headers.get("x-error-code", ""))
    etag = (answer.headers.get("x-linked-etag") or answer.headers.get("etag") or "").removeprefix("W/").strip('"')
    commit = answer.headers.get("x-repo-commit", "")
    if not plain(etag) or not plain(commit):
        raise ModelError(f"the Hub's answer about {source} makes no sense", "Check HF_ENDPOINT")
    linked = answer.headers.get("x-linked-size") or answer.headers.get("content-length")
    return Facts(commit, etag, int(linked) if linked and linked.isdecimal() else None, urljoin(url, target) or url)


def plain_headers() -> dict[str, str]:
    """What every request says.  Not the Hub client's own, which asks the Hub about agents first."""
    return {"User-Agent": f"vrx/{__version__}", "Accept-Encoding": "identity"}


def token_headers() -> dict[str, str]:
    """The user's token, where there is one and it may be sent unasked."""
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else huggingface_hub.get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def plain(name: str) -> bool:
    """Whether a name from outside is one plain file name."""
    return bool(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}", name))


def refused(source: Source, status: int, code: str) -> None:
    """Raise ModelError for an answer that is no file."""
    if status < 400:
        return
    if "://" in source.repo:
        raise ModelError(f"the server answers {status} for {source}", "Try again later, or update vrx")
    page = f"{constants.ENDPOINT}/{source.repo}"
    if code == "GatedRepo" or (status in (401, 403) and code != "RepoNotFound"):
        raise ModelError(f"{source} is gated", f"Accept its terms at {page}, then set HF_TOKEN")
    if code == "RevisionNotFound":
        raise ModelError(f"the Hub has no revision {source.revision} of {source.repo}", "Update vrx")
    if code == "EntryNotFound":
        raise ModelError(f"the Hub has no file {source.path} in {source.repo}", "Update vrx")
    if status in (401, 404):
        raise ModelError(f"the Hub has no {source}, or it is private", f"See {page}, and set HF_TOKEN if it is yours")
    raise ModelError(f"the Hub answers {status} for {source}", "Try again later")


def session() -> Any:
    """`huggingface_hub`'s HTTP client, with its proxies, certificates and offline mode."""
    return huggingface_hub.get_session()


def troubles() -> tuple[type[Exception], ...]:
    """What its HTTP client raises when the network fails; the library under it changed more than once."""
    client = type(session())
    bases = {base for name in ("HTTPError", "TransportError") if (base := exported(client.__module__, name))}
    return (*bases, OSError)


def exported(module: str, name: str) -> type[Exception] | None:
    """A class that the package of `module` exports."""
    found = getattr(sys.modules.get(module.split(".", maxsplit=1)[0]), name, None)
    return found if isinstance(found, type) and issubclass(found, Exception) else None


@contextmanager
def network(source: Source) -> Iterator[None]:
    """Failures of the network as one clear line."""
    if offline():
        raise ModelError(f"{source} is not on this machine and HF_HUB_OFFLINE is set", "Unset it to download")
    try:
        yield
    except ModelError:
        raise
    except troubles() as error:
        text = str(error) or type(error).__name__
        raise ModelError(
            f"cannot get {source}{'' if '://' in source.repo else f' from {constants.ENDPOINT}'}: {text}".splitlines()[
                0
            ],
            "Check the network and run again: what arrived is kept; --offline uses what is here",
        ) from error


# ---------------------------------------------------------------- bytes


def length(path: Path) -> int:
    """Bytes of a file, 0 where it is not."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def room(folder: Path, size: int | None, have: int, source: Source) -> None:
    """Refuse before the first byte what the disk cannot hold."""
    free = shutil.disk_usage(folder).free
    if size is not None and size - have > free:
        raise ModelError(
            f"{source} needs {(size - have) / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free",
            "Free some space, or set HF_HOME to a larger disk",
        )


def transfer(source: Source, facts: Facts, partial: Path, progress: Progress) -> None:
    """Append what is missing; a broken connection is taken up again as long as it brings something."""
    fruitless = 0
    if facts.size is not None and length(partial) > facts.size:
        partial.unlink()
    while facts.size is None or length(partial) < facts.size:
        before = length(partial)
        try:
            run_once(source, facts, partial, progress)
            if facts.size is None:
                return
        except troubles():
            if length(partial) == before and fruitless >= ATTEMPTS - 1:
                raise
        fruitless = 0 if length(partial) > before else fruitless + 1
        if fruitless >= ATTEMPTS:
            raise ModelError(f"the Hub stops sending {source} after {before} bytes", "Run again later: they are kept")
        if fruitless:
            time.sleep(PAUSE * 2 ** (fruitless - 1))


def run_once(source: Source, facts: Facts, partial: Path, progress: Progress) -> None:
    """One GET of the rest."""
    have = length(partial)
    headers = plain_headers()
    if urlsplit(facts.address).netloc == urlsplit(constants.ENDPOINT).netloc:
        headers |= token_headers()  # the token is for the Hub alone
    if have:
        headers["Range"] = f"bytes={have}-"
    with session().stream("GET", facts.address, headers=headers, follow_redirects=True, timeout=READ_SECONDS) as answer:
        if answer.status_code >= 500:
            return  # no progress: tried again
        refused(source, answer.status_code, answer.headers.get("x-error-code", ""))
        appends = answer.status_code == 206 and answer.headers.get("content-range", "").startswith(f"bytes {have}-")
        with partial.open("ab" if appends else "wb") as file:
            done = have if appends else 0
            for block in answer.iter_raw():  # as it comes: what waits to fill a block is lost with the connection
                file.write(block)
                done += len(block)
                progress(done, facts.size)
                if facts.size is not None and done > facts.size:
                    break
            file.flush()
            os.fsync(file.fileno())


def check(source: Source, facts: Facts, partial: Path, digest: str) -> None:
    """Set aside a whole file that is not what it should be.  Raises ModelError."""
    expected = digest or (facts.etag if SHA256.match(facts.etag) else "")
    held = length(partial)
    wrong = facts.size is not None and held != facts.size
    if not wrong and (not expected or load.sha256(partial) == expected):
        return
    aside = partial.with_name(f"{facts.etag}{BAD}")
    partial.replace(aside)
    raise ModelError(f"{source} arrived damaged (set aside as {aside})", "Run again to download it anew")


def link(source: Source, facts: Facts, blob: Path) -> Path:
    """Name the bytes as the Hub's own tools do: refs, and a snapshot that points to the blob."""
    folder = storage(source)
    snapshot = folder / "snapshots" / facts.commit
    pointer = snapshot / source.path
    if snapshot.resolve() not in pointer.parent.resolve().parents and pointer.parent.resolve() != snapshot.resolve():
        raise ModelError(f"the path {source.path} leaves its folder")
    pointer.parent.mkdir(parents=True, exist_ok=True)
    if source.revision != facts.commit:
        reference = folder / "refs" / source.revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(facts.commit)
    if pointer.is_symlink() or pointer.exists():
        pointer.unlink()
    try:
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    except OSError:  # a file system without links
        shutil.copyfile(blob, pointer)
    return pointer
