"""Transfers in this process, from a server on loopback that misbehaves."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.conftest import ROOT
from tests.weights.hub_server import BLOB, COMMIT, REPO, Hub, serving
from vrx.errors import ModelError
from vrx.weights import hub, transfer

SOURCE = hub.Source(REPO, "x.bin")
TOKEN = "hf_secret"
Pull = Callable[[], Path]
PAUSE = transfer.PAUSE


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Hub's cache, and a token for it."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(transfer, "PAUSE", 0.0)
    monkeypatch.setattr(hub, "QUERY_PAUSE", 0.0)
    return tmp_path / "hub" / "models--someone--model"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving() as found:
        found.files[f"{REPO}/x.bin"] = BLOB
        monkeypatch.setattr(constants, "ENDPOINT", found.address)
        template = f"{found.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield found


@pytest.fixture
def other() -> Iterator[Hub]:
    """Another server, on another port of the same machine."""
    with serving() as found:
        found.files[f"{REPO}/x.bin"] = BLOB
        yield found


@pytest.fixture
def pull(cache: Path, server: Hub) -> Pull:
    """Brings x.bin as `models pull` does; its place in the snapshot."""

    def run() -> Path:
        metadata = hub.query(SOURCE)
        transfer.fetch(hub.make_request(SOURCE, metadata, ""), lambda *_: None)
        return hub.store_file(SOURCE, metadata)

    return run


def test_the_token_goes_to_the_hub(pull: Pull, server: Hub) -> None:
    assert pull().read_bytes() == BLOB
    assert server.tokens == [f"Bearer {TOKEN}"] * 2  # asked, and fetched from the same server


def test_the_token_stays_with_the_hub_when_the_bytes_are_elsewhere(pull: Pull, server: Hub) -> None:
    server.elsewhere = True  # the same port of another name for this machine
    pull()
    assert server.tokens == [f"Bearer {TOKEN}", ""]


def test_a_rename_to_another_port_gets_no_token_and_is_not_followed(pull: Pull, server: Hub, other: Hub) -> None:
    server.renamed = {f"/{REPO}/resolve/main/x.bin": f"{other.address}/{REPO}/resolve/main/x.bin"}
    with pytest.raises(ModelError, match="unexpected response from the Hub"):
        pull()
    assert other.asked == []


def test_bytes_that_move_on_to_another_port_arrive_without_the_token(pull: Pull, server: Hub, other: Hub) -> None:
    server.renamed = {f"/cdn/{REPO}/x.bin": f"{other.address}/cdn/{REPO}/x.bin"}
    assert pull().read_bytes() == BLOB
    assert other.tokens == [""]


def test_a_token_that_no_header_takes_is_one_line(pull: Pull, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_t\u00f6ken")
    with pytest.raises(ModelError, match="token has characters that no token can have"):
        pull()


@pytest.mark.parametrize("address", ["http://[bad/x", "ftp://x/y", "http://h:99999/x", "file:///etc/passwd", "http://"])
def test_an_address_that_is_none_is_one_line(pull: Pull, server: Hub, address: str) -> None:
    server.renamed = {f"/cdn/{REPO}/x.bin": address}
    with pytest.raises(ModelError):
        pull()
    metadata = hub.FileMetadata(COMMIT, "abc", 1, address)
    with pytest.raises(ModelError):
        transfer.fetch(hub.make_request(SOURCE, metadata, ""), lambda *_: None)


def test_a_mirror_over_plain_http_gets_no_token(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    for endpoint, expected in (("http://mirror.lan", {}), ("https://mirror.lan", {"Authorization": f"Bearer {TOKEN}"})):
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        metadata = hub.FileMetadata(COMMIT, "abc", 1, f"{endpoint}/x.bin")
        assert hub.make_request(SOURCE, metadata, "").headers == expected
        plain = hub.FileMetadata(COMMIT, "abc", 1, "http://mirror.lan:443/x.bin")
        assert hub.make_request(SOURCE, plain, "").headers == {}


@pytest.mark.parametrize("hashed", [True, False])
def test_the_length_of_a_redirect_is_not_that_of_the_file(pull: Pull, server: Hub, hashed: bool) -> None:
    server.linked, server.hashed = False, hashed
    assert hub.query(SOURCE).size is None
    assert pull().read_bytes() == BLOB


@pytest.mark.parametrize("hashed", [True, False])
def test_a_file_of_unknown_size_that_breaks_off_is_completed(pull: Pull, server: Hub, hashed: bool) -> None:
    server.linked, server.hashed, server.drop_after = False, hashed, [200_000, 0, 100_000]
    assert pull().read_bytes() == BLOB


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"page": b""}, "sends an empty file"),
        ({"stated": False}, "states neither size nor hash"),
        ({"encoding": "gzip"}, "compressed, which was not requested"),
    ],
)
def test_what_nothing_vouches_for_is_not_kept(
    pull: Pull, server: Hub, cache: Path, fault: dict[str, object], words: str
) -> None:
    server.linked, server.hashed = False, False
    if "page" in fault:
        server.files[f"{REPO}/x.bin"] = b""
    else:
        vars(server).update(fault)
    with pytest.raises(ModelError, match=words):
        pull()
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_a_known_hash_vouches_for_bytes_without_a_length(pull: Pull, server: Hub) -> None:
    server.linked, server.stated = False, False
    assert pull().read_bytes() == BLOB
    server.files[f"{REPO}/x.bin"] = b""


def test_a_range_that_begins_elsewhere_starts_over(pull: Pull, server: Hub) -> None:
    server.drop_after, server.begins = [200_000], [100_000]
    assert pull().read_bytes() == BLOB
    assert [given for method, _, given in server.asked if method == "GET"] == ["", "bytes=200000-", ""]


def test_a_server_that_never_continues_is_given_up(pull: Pull, server: Hub) -> None:
    server.drop_after, server.begins = [200_000] * 50, [100_000] * 50
    with pytest.raises(ModelError, match="stops sending"):
        pull()
    assert sum(method == "GET" for method, _, _ in server.asked) == 2 * transfer.ATTEMPTS


def test_five_answers_in_a_row_that_bring_nothing_are_enough(pull: Pull, server: Hub) -> None:
    metadata = hub.query(SOURCE)
    server.status = [503] * 50
    with pytest.raises(ModelError, match=r"the server answers 503\. Check the network") as raised:
        transfer.fetch(hub.make_request(SOURCE, metadata, ""), lambda *_: None)
    assert ".." not in str(raised.value)
    assert sum(method == "GET" for method, _, _ in server.asked) == transfer.ATTEMPTS == 5


def test_pauses_between_attempts_double(pull: Pull, server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = hub.query(SOURCE)
    pauses: list[float] = []
    monkeypatch.setattr(transfer, "PAUSE", PAUSE)
    monkeypatch.setattr(time, "sleep", pauses.append)
    server.status = [503] * 50
    with pytest.raises(ModelError):
        transfer.fetch(hub.make_request(SOURCE, metadata, ""), lambda *_: None)
    assert pauses == [0.5, 1.0, 2.0, 4.0]


def test_another_process_gets_a_minute_without_a_byte() -> None:
    assert transfer.STALL_SECONDS == 60.0  # seconds: a stall of a shared link; more would hang a batch


def test_bytes_never_go_through_a_link_in_the_place_of_a_partial_file(pull: Pull, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "own").write_text("mine")
    partial = hub.make_request(SOURCE, hub.query(SOURCE), "").partial
    partial.parent.mkdir(parents=True)
    partial.symlink_to(tmp_path / "own")
    assert pull().read_bytes() == BLOB
    assert (tmp_path / "own").read_text() == "mine"


def test_a_name_in_the_cache_is_replaced_in_one_step(pull: Pull, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pointer = pull()
    metadata = hub.query(SOURCE)
    replace = Path.replace

    def watched(path: Path, target: Path) -> Path:
        assert pointer.read_bytes() == BLOB  # until the moment it is replaced
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", watched)
    assert hub.store_file(SOURCE, metadata) == pointer
    assert pointer.read_bytes() == BLOB
    assert (cache / "refs" / "main").read_text() == COMMIT
    assert not list(cache.rglob("*.part"))


NAMING = """
import sys
from vrx.weights import hub
source = hub.Source("someone/model", "x.bin")
for _ in range(150):
    hub.store_file(source, hub.FileMetadata("c" * 40, sys.argv[1], 1, ""))
    assert hub.find_cached(source).read_bytes()
"""


def test_a_name_is_never_missing_while_several_processes_set_it(pull: Pull, cache: Path) -> None:
    etag = pull().resolve().name
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_CACHE": str(cache.parent)}
    children = [subprocess.Popen([sys.executable, "-c", NAMING, etag], env=env) for _ in range(3)]
    assert [child.wait(timeout=60) for child in children] == [0, 0, 0]


def test_network_messages_end_with_one_full_stop(pull: Pull, server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("Connection refused.")

    monkeypatch.setattr(hub, "query_with_retries", fail)
    with pytest.raises(ModelError, match=r": Connection refused\. Check the network"):
        hub.query(SOURCE)


def test_partial_files_of_two_names_are_told_apart() -> None:
    digest = hashlib.sha256(BLOB).hexdigest()
    names = {transfer.partial_name(digest, str(hub.Source(REPO, path))) for path in ("a.bin", "b.bin")}
    assert len(names) == 2
    assert all(name.startswith(f"{digest}.") and name.endswith(transfer.PARTIAL) for name in names)
