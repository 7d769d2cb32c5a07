"""The Hugging Face Hub as a backend: its files, in its own cache.

Addresses, tokens, offline mode and the cache's layout are `huggingface_hub`'s; the transfer is ours,
because its own neither resumes across runs, nor times out on a lock, nor hashes what it received.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urljoin

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name

from vrx.errors import ModelError
from vrx.files import replace_file
from vrx.folders import replace_home
from vrx.weights import sharded, transfer
from vrx.weights.backend import DownloadTask, NoFileError
from vrx.weights.cache_entry import BLOBS
from vrx.weights.catalogue import PartFile
from vrx.weights.concurrency import run_with_timeout
from vrx.weights.http import HEAD_TIMEOUT, QUERY_SECONDS, network_errors, network_exceptions, request_headers, session
from vrx.weights.origin import may_have_token, same_server

log = logging.getLogger(__name__)

QUERY_ATTEMPTS = 3
QUERY_PAUSE = 0.5  # seconds before the second attempt, doubled after each
MAX_REDIRECTS = 5  # within the Hub
REDIRECTS = {301, 302, 303, 307, 308}
MAX_DIGITS = 19  # of a size in bytes


@dataclass(frozen=True)
class Source:
    """A file in a repository."""

    repo: str
    path: str
    kind: str = "model"
    revision: str = "main"

    @classmethod
    def of(cls, part: PartFile) -> Source:
        """The file of a part."""
        return cls(part.repo, part.path, part.kind, part.revision or "main")

    def __str__(self) -> str:
        return f"{self.repo}/{self.path}"


@dataclass(frozen=True)
class FileMetadata:
    """What the Hub states about a file: commit, name in the cache, size, address of the bytes."""

    commit: str
    etag: str
    size: int | None
    address: str


class HubBackend:
    """The backend of parts with a `repo`."""

    def cache_folder(self) -> Path:
        """The Hub's cache."""
        return cache_folder()

    def part_folder(self, part: PartFile) -> Path:
        """The folder of the part's repository."""
        return repo_folder(Source.of(part))

    def find(self, part: PartFile) -> Path | None:
        """The file in the cache, under the first of its names; of one in several files only when all are there."""
        files = (find_cached(Source.of(variant)) for variant in part.variants)
        return next((file for file in files if file and sharded.is_complete(file)), None)

    def expected_sha256(self, path: Path) -> str:
        """The name of a large file's bytes in the cache; empty for a small one."""
        blob = path.resolve()
        return blob.name if blob.parent.name == BLOBS and transfer.SHA256.match(blob.name) else ""

    def partials(self, part: PartFile) -> Iterator[Path]:
        """The partial files of a part, and of its shards."""
        names = [name for variant in part.variants for name in file_names(variant)]
        return transfer.find_partials(self.part_folder(part) / BLOBS, names)

    def plan(self, part: PartFile) -> DownloadTask:
        """The request for a part's file.  Raises ModelError where the Hub's file is not that of the catalogue."""
        absent: list[NoFileError] = []
        for variant in part.variants:
            try:
                return self._plan(variant)
            except NoFileError as error:
                absent.append(error)
        raise absent[0]

    def _plan(self, part: PartFile) -> DownloadTask:
        """The request for the file of one path.  Raises ModelError."""
        source = Source.of(part)
        metadata = query(source)
        if part.size is not None and metadata.size is not None and metadata.size != part.size:
            raise ModelError(
                f"{source} has {metadata.size} bytes on the Hub, {part.size} in the catalogue", "Update vrx"
            )
        request = make_request(source, metadata, part.sha256)
        return DownloadTask(name=str(source), request=request, store=lambda: store_file(source, metadata))


def file_names(part: PartFile) -> list[str]:
    """The names that a part's files are requested by: its own, and those of its shards where they are known."""
    source = Source.of(part)
    index = find_cached(source) if sharded.is_index(part.path) else None
    try:
        shards = sharded.shard_names(index) if index is not None else sharded.numbered_names(part.path)
    except ModelError:  # an unreadable index names no shards
        shards = []
    beside = (f"{part.repo}/{PurePosixPath(part.path).with_name(name)}" for name in shards)
    return list(dict.fromkeys([str(source), *beside]))


def cache_folder() -> Path:
    """The Hub's cache."""
    return replace_home(Path(constants.HF_HUB_CACHE))


def repo_folder(source: Source) -> Path:
    """A repository's folder in the cache."""
    return cache_folder() / repo_folder_name(repo_id=source.repo, repo_type=source.kind)


def find_cached(source: Source) -> Path | None:
    """The file in the cache, if any."""
    found = huggingface_hub.try_to_load_from_cache(
        source.repo, source.path, cache_dir=cache_folder(), revision=source.revision, repo_type=source.kind
    )
    return Path(found) if isinstance(found, str) else None


def query(source: Source) -> FileMetadata:
    """Query the Hub about a file.  Raises ModelError within seconds where there is no response."""
    with network_errors(source, constants.ENDPOINT):
        return run_with_timeout(QUERY_SECONDS, partial(query_with_retries, source))


def ping() -> str:
    """Ask the Hub for anything; its address.  Raises ModelError within seconds where there is no response."""
    with network_errors("anything", constants.ENDPOINT):
        run_with_timeout(
            QUERY_SECONDS,
            partial(session().head, constants.ENDPOINT, headers=request_headers(), timeout=HEAD_TIMEOUT),
        )
    return constants.ENDPOINT


def make_request(source: Source, metadata: FileMetadata, digest: str) -> transfer.FileRequest:
    """The request for a file; `digest` is the hash that the catalogue states, if any."""
    expires = not is_hub(metadata.address)  # the addresses of other servers are signed for an hour
    return transfer.FileRequest(
        name=str(source),
        server=constants.ENDPOINT,
        address=metadata.address,
        headers=token_headers(metadata.address),
        target=repo_folder(source) / BLOBS / metadata.etag,
        size=metadata.size,
        sha256=digest or (metadata.etag if transfer.SHA256.match(metadata.etag) else ""),
        check_status=lambda status, code: check_status(source, status, code),
        renew_address=(lambda: query(source).address) if expires else None,
    )


def query_with_retries(source: Source) -> FileMetadata:
    """HEAD, following the Hub's own redirects only: the last one leads to where the bytes are."""
    url = huggingface_hub.hf_hub_url(
        source.repo, source.path, repo_type=source.kind, revision=source.revision, endpoint=constants.ENDPOINT
    )
    redirects, failures = 0, 0
    while True:
        headers = request_headers() | token_headers(url)
        log.debug("HEAD %s", url.partition("?")[0])
        try:
            response = session().head(url, headers=headers, follow_redirects=False, timeout=HEAD_TIMEOUT)
        except network_exceptions():
            failures += 1
            if failures == QUERY_ATTEMPTS:
                raise
            continue
        commit, target = response.headers.get("x-repo-commit", ""), redirect_target(url, response)
        if target and not commit and is_hub(target) and redirects < MAX_REDIRECTS:
            url, redirects = target, redirects + 1  # renamed
        elif transfer.is_transient(response.status_code) and failures < QUERY_ATTEMPTS - 1:
            time.sleep(QUERY_PAUSE * 2**failures)
            failures += 1
        else:
            break
    check_status(source, response.status_code, response.headers.get("x-error-code", ""))
    etag = (response.headers.get("x-linked-etag") or response.headers.get("etag") or "").removeprefix("W/").strip('"')
    if not is_plain_name(etag) or not is_plain_name(commit):
        raise ModelError(
            f"unexpected response from the Hub for {source}", "Check HF_ENDPOINT, or sign in to the network"
        )
    return FileMetadata(commit, etag, stated_size(response, bool(target)), target or url)


def redirect_target(url: str, response: Any) -> str:
    """The absolute address of a redirect; empty for other responses, and for malformed addresses."""
    target = response.headers.get("location", "") if response.status_code in REDIRECTS else ""
    try:
        return urljoin(url, target) if target else ""
    except ValueError:
        return ""


def stated_size(response: Any, redirect: bool) -> int | None:
    """The file's size in bytes: as the Hub states it, or the length of a response that is not a redirect.

    A redirect's own length is that of its page.  A length of 0 counts as unknown: servers that do
    not know answer HEAD so, and no checkpoint is empty.
    """
    stated = response.headers.get("x-linked-size", "")
    if not stated and not redirect and not response.headers.get("content-encoding"):
        stated = response.headers.get("content-length", "")
    return (int(stated) or None) if stated.isdecimal() and len(stated) < MAX_DIGITS else None


def is_hub(address: str) -> bool:
    """Whether an address is the Hub's own, not that of a server that stores its files."""
    return same_server(address, constants.ENDPOINT)


def token_headers(address: str) -> dict[str, str]:
    """The user's token, if any, where sending it is allowed and the address may receive it.  Raises ModelError."""
    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN or not may_have_token(address, constants.ENDPOINT):
        return {}
    token = huggingface_hub.get_token()
    if token and not (token.isascii() and token.isprintable()):
        raise ModelError("the Hub token has characters that no token can have", "Set HF_TOKEN again, or unset it")
    return {"Authorization": f"Bearer {token}"} if token else {}


def is_plain_name(name: str) -> bool:
    """Whether a name from outside is a single plain file name."""
    return bool(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}", name))


def check_status(source: Source, status: int, code: str) -> None:
    """Raise ModelError for a response without a file."""
    if status < 400:
        return
    page = f"{constants.ENDPOINT}/{source.repo}"
    if code == "GatedRepo" or (status in (401, 403) and code != "RepoNotFound"):
        raise ModelError(f"{source} is gated", f"Accept its terms at {page}, then set HF_TOKEN")
    if code == "RevisionNotFound":
        raise ModelError(f"the Hub has no revision {source.revision} of {source.repo}", "Update vrx")
    if code == "EntryNotFound":
        raise NoFileError(f"the Hub has no file {source.path} in {source.repo}", "Update vrx")
    if status in (401, 404):
        raise ModelError(f"the Hub has no {source}, or it is private", f"See {page}, and set HF_TOKEN if it is yours")
    raise ModelError(f"the Hub answers {status} for {source}", "Try again later")


def store_file(source: Source, metadata: FileMetadata) -> Path:
    """Name the bytes as the Hub's own tools do: refs, and a snapshot that points to the blob.  Raises ModelError.

    Each name is replaced in one step, so that another process sees the old one or the new one, never none.
    """
    folder = repo_folder(source)
    blob, pointer = folder / BLOBS / metadata.etag, folder / "snapshots" / metadata.commit / source.path
    with transfer.disk_errors(str(source), folder):
        snapshot = (folder / "snapshots" / metadata.commit).resolve()
        if snapshot != pointer.parent.resolve() and snapshot not in pointer.parent.resolve().parents:
            raise ModelError(f"the path {source.path} leaves its folder")
        pointer.parent.mkdir(parents=True, exist_ok=True)
        if source.revision != metadata.commit:
            reference = folder / "refs" / source.revision
            reference.parent.mkdir(parents=True, exist_ok=True)
            with replace_file(reference) as temporary:
                temporary.write_text(metadata.commit)
        with replace_file(pointer) as temporary:
            try:
                temporary.symlink_to(os.path.relpath(blob, pointer.parent))
            except OSError:  # a file system without links
                shutil.copyfile(blob, temporary)
    return pointer
