"""Files of the Hub, in the Hub's own cache.

Addresses, tokens, offline mode and the cache's layout are `huggingface_hub`'s; the transfer is ours,
because its own neither resumes across runs, nor times out on a lock, nor hashes what arrives.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from uuid import uuid4

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name

from vrx.errors import ModelError
from vrx.settings import replace_home
from vrx.weights import transfer
from vrx.weights.concurrency import within
from vrx.weights.http import ASK_IN_ALL, ASK_SECONDS, plain_headers, reached, session, troubles
from vrx.weights.origin import may_have_token, same_server

ASK_ATTEMPTS = 3
ASK_PAUSE = 0.5  # seconds before the second attempt, doubled after each
HOPS = 5  # redirects within the Hub
REDIRECTS = {301, 302, 303, 307, 308}
MOST_DIGITS = 19  # of a size in bytes
FRESH = ".vrx-new"  # ends the temporary names of links and references


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
    return replace_home(Path(constants.HF_HUB_CACHE))


def storage(source: Source) -> Path:
    """A repository's folder in the cache."""
    return cache_folder() / repo_folder_name(repo_id=source.repo, repo_type=source.kind)


def cached(source: Source) -> Path | None:
    """The file in the cache, where it is."""
    found = huggingface_hub.try_to_load_from_cache(
        source.repo, source.path, cache_dir=cache_folder(), revision=source.revision, repo_type=source.kind
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
        headers=token_headers(facts.address),
        target=storage(source) / "blobs" / facts.etag,
        size=facts.size,
        sha256=digest or (facts.etag if transfer.SHA256.match(facts.etag) else ""),
        refused=lambda status, code: refused(source, status, code),
        renewed=None if on_hub(facts.address) else lambda: find(source).address,  # signed ones last an hour
    )


def ask(source: Source) -> Facts:
    """HEAD, following the Hub's own redirects only: the last one leads to where the bytes are."""
    url = huggingface_hub.hf_hub_url(
        source.repo, source.path, repo_type=source.kind, revision=source.revision, endpoint=constants.ENDPOINT
    )
    hops, fruitless = 0, 0
    while True:
        headers = plain_headers() | token_headers(url)
        try:
            answer = session().head(url, headers=headers, follow_redirects=False, timeout=ASK_SECONDS)
        except troubles():
            fruitless += 1
            if fruitless == ASK_ATTEMPTS:
                raise
            continue
        commit, target = answer.headers.get("x-repo-commit", ""), led_to(url, answer)
        if target and not commit and on_hub(target) and hops < HOPS:
            url, hops = target, hops + 1  # renamed
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
    return Facts(commit, etag, stated_size(answer, bool(target)), target or url)


def led_to(url: str, answer: Any) -> str:
    """The absolute address that a redirect leads to; empty where the answer is none, or leads nowhere."""
    target = answer.headers.get("location", "") if answer.status_code in REDIRECTS else ""
    try:
        return urljoin(url, target) if target else ""
    except ValueError:
        return ""


def stated_size(answer: Any, redirect: bool) -> int | None:
    """The file's size in bytes: the Hub's word for it, or the length of an answer that is no redirect.

    A redirect's own length is that of its page.  A length of 0 counts as unknown: servers answer so to
    HEAD where they do not know, and no checkpoint is empty.
    """
    stated = answer.headers.get("x-linked-size", "")
    if not stated and not redirect and not answer.headers.get("content-encoding"):
        stated = answer.headers.get("content-length", "")
    return (int(stated) or None) if stated.isdecimal() and len(stated) < MOST_DIGITS else None


def on_hub(address: str) -> bool:
    """Whether an address is the Hub's own, not that of a server it sends files from."""
    return same_server(address, constants.ENDPOINT)


def token_headers(address: str) -> dict[str, str]:
    """The user's token, where there is one, it may be sent unasked, and the address may have it.  Raises ModelError."""
    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN or not may_have_token(address, constants.ENDPOINT):
        return {}
    token = huggingface_hub.get_token()
    if token and not (token.isascii() and token.isprintable()):
        raise ModelError("the Hub's token holds characters that no token has", "Set HF_TOKEN anew, or unset it")
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
    """Name the bytes as the Hub's own tools do: refs, and a snapshot that points to the blob.  Raises ModelError.

    Each name is replaced in one step, so that another process sees the old one or the new one, never none.
    """
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
            with replacing(reference) as fresh:
                fresh.write_text(facts.commit)
        with replacing(pointer) as fresh:
            try:
                fresh.symlink_to(os.path.relpath(blob, pointer.parent))
            except OSError:  # a file system without links
                shutil.copyfile(blob, fresh)
    return pointer


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that takes its place afterwards, in one step.  Raises OSError."""
    fresh = path.with_name(f".{uuid4().hex}{FRESH}")
    try:
        yield fresh
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
