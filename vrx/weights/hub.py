"""Files of the Hub, in the Hub's own cache.

Addresses, tokens, offline mode and the cache's layout are `huggingface_hub`'s; the transfer is ours,
because its own neither resumes across runs, nor times out on a lock, nor hashes what arrives.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name

from vrx.errors import ModelError
from vrx.settings import user_home
from vrx.weights import transfer
from vrx.weights.network import ASK_IN_ALL, ASK_SECONDS, plain_headers, reached, session, troubles
from vrx.weights.together import within

ASK_ATTEMPTS = 3
ASK_PAUSE = 0.5  # seconds before the second attempt, doubled after each
HOPS = 5  # redirects within the Hub
REDIRECTS = {301, 302, 303, 307, 308}


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
    found = Path(constants.HF_HUB_CACHE)
    return user_home() / found.relative_to("~") if found.parts[:1] == ("~",) else found  # a user without a home


def storage(source: Source) -> Path:
    """A repository's folder in the cache."""
    return cache_folder() / repo_folder_name(repo_id=source.repo, repo_type=source.kind)


def cached(source: Source) -> Path | None:
    """The file in the cache, where it is."""
    found = huggingface_hub.try_to_load_from_cache(
        source.repo, source.path, revision=source.revision, repo_type=source.kind
    )
    return Path(found) if isinstance(found, str) else None


def digest_of(path: Path) -> str:
    """The hash that a file of the cache should have, where its name there tells: large files have it as theirs."""
    blob = path.resolve()
    return blob.name if blob.parent.name == "blobs" and transfer.SHA256.match(blob.name) else ""


def find(source: Source) -> Facts:
    """Ask the Hub about a file.  Raises ModelError within seconds where there is no answer."""
    with reached(source, constants.ENDPOINT):
        return within(ASK_IN_ALL, lambda: ask(source))


def order(source: Source, facts: Facts, digest: str) -> transfer.Order:
    """What it takes to have a file; `digest` is the catalogue's, where it knows it."""
    return transfer.Order(
        name=str(source),
        server=constants.ENDPOINT,
        address=facts.address,
        headers=token_headers() if within_hub(facts.address) else {},  # the token is for the Hub alone
        target=storage(source) / "blobs" / facts.etag,
        size=facts.size,
        sha256=digest or (facts.etag if transfer.SHA256.match(facts.etag) else ""),
        refused=lambda status, code: refused(source, status, code),
        renewed=None if within_hub(facts.address) else lambda: find(source).address,  # signed ones last an hour
    )


def ask(source: Source) -> Facts:
    """HEAD, following the Hub's own redirects only: the last one leads to where the bytes are."""
    url = huggingface_hub.hf_hub_url(
        source.repo, source.path, repo_type=source.kind, revision=source.revision, endpoint=constants.ENDPOINT
    )
    headers = plain_headers() | token_headers()
    hops, fruitless = 0, 0
    while True:
        try:
            answer = session().head(url, headers=headers, follow_redirects=False, timeout=ASK_SECONDS)
        except troubles():
            fruitless += 1
            if fruitless == ASK_ATTEMPTS:
                raise
            continue
        commit, target = answer.headers.get("x-repo-commit", ""), answer.headers.get("location", "")
        if answer.status_code in REDIRECTS and not commit and within_hub(target) and hops < HOPS:
            url, hops = urljoin(url, target), hops + 1  # renamed
        elif transfer.passing(answer.status_code) and fruitless < ASK_ATTEMPTS - 1:
            time.sleep(ASK_PAUSE * 2**fruitless)
            fruitless += 1
        else:
            break
    refused(source, answer.status_code, answer.headers.get("x-error-code", ""))
    etag = (answer.headers.get("x-linked-etag") or answer.headers.get("etag") or "").removeprefix("W/").strip('"')
    if not plain(etag) or not plain(commit):
        raise ModelError(
            f"the Hub's answer about {source} makes no sense", "Check HF_ENDPOINT, or sign in to the network"
        )
    linked = answer.headers.get("x-linked-size") or answer.headers.get("content-length")
    return Facts(commit, etag, int(linked) if linked and linked.isdecimal() else None, urljoin(url, target) or url)


def within_hub(target: str) -> bool:
    """Whether a redirect stays with the Hub, so that it may hear the token."""
    return urlsplit(target).netloc in ("", urlsplit(constants.ENDPOINT).netloc)


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


def link(source: Source, facts: Facts) -> Path:
    """Name the bytes as the Hub's own tools do: refs, and a snapshot that points to the blob.  Raises ModelError."""
    folder = storage(source)
    blob, pointer = folder / "blobs" / facts.etag, folder / "snapshots" / facts.commit / source.path
    with transfer.keeping(str(source), folder):
        snapshot = (folder / "snapshots" / facts.commit).resolve()
        if snapshot != pointer.parent.resolve() and snapshot not in pointer.parent.resolve().parents:
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
