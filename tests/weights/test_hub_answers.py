"""How single answers of the Hub are read, without a server."""

from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import constants

from vrx.errors import ModelError
from vrx.weights import hub, transfer
from vrx.weights.catalogue import PartFile
from vrx.weights.url import PlainAddress

SOURCE = hub.Source("someone/model", "x.bin", revision="v1")


def answer(status: int = 200, **headers: str) -> SimpleNamespace:
    return SimpleNamespace(status_code=status, headers={name.replace("_", "-"): text for name, text in headers.items()})


def test_a_part_is_a_file_of_its_repository() -> None:
    part = PartFile(path="a/b.bin", repo="x/y", kind="space")
    assert hub.Source.of(part) == hub.Source("x/y", "a/b.bin", "space", "main")
    assert str(hub.Source.of(part)) == "x/y/a/b.bin"


@pytest.mark.parametrize(
    ("redirect", "headers", "size"),
    [
        (True, {"x_linked_size": "12", "content_length": "3"}, 12),
        (True, {"content_length": "3"}, None),
        (False, {"content_length": "3"}, 3),
        (False, {"content_length": "3", "content_encoding": "gzip"}, None),
        (False, {"content_length": "0"}, None),
        (False, {"content_length": "-3"}, None),
        (False, {"content_length": "9" * 30}, None),
        (False, {}, None),
    ],
)
def test_the_size_of_a_file(redirect: bool, headers: dict[str, Any], size: int | None) -> None:
    assert hub.stated_size(answer(**headers), redirect) == size


@pytest.mark.parametrize(
    ("status", "location", "target"),
    [
        (302, "/b/x", "https://hub/b/x"),
        (307, "https://cdn/x", "https://cdn/x"),
        (200, "/b/x", ""),
        (302, "", ""),
        (302, "http://[bad", ""),
    ],
)
def test_where_a_redirect_leads(status: int, location: str, target: str) -> None:
    assert hub.redirect_target("https://hub/a/x", answer(status, location=location)) == target


def test_a_loop_of_redirects_ends_after_five(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def head(url: str, **options: object) -> SimpleNamespace:
        asked.append(url)
        return answer(307, location=url)

    monkeypatch.setattr(hub, "session", lambda: SimpleNamespace(head=head))
    with pytest.raises(ModelError, match="unexpected response from the Hub"):
        hub.query_with_retries(SOURCE)
    assert len(asked) == 1 + 5


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, "GatedRepo", "is gated"),
        (403, "", "is gated"),
        (401, "RepoNotFound", "or it is private"),
        (404, "RevisionNotFound", "has no revision v1"),
        (404, "EntryNotFound", "has no file x.bin"),
        (404, "", "or it is private"),
        (500, "", "answers 500"),
    ],
)
def test_what_a_status_means(status: int, code: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        hub.check_status(SOURCE, status, code)
    hub.check_status(SOURCE, 206, "")


@pytest.mark.parametrize("name", ["", "..", ".x", "a/b", "a\\b", "a b", "x" * 202])
def test_names_from_the_hub_that_could_leave_the_cache(name: str) -> None:
    assert not hub.is_plain_name(name)
    assert hub.is_plain_name("0f-A_b.c")


def test_no_token_is_sent_where_it_is_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.example")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", False)
    assert hub.token_headers("https://hub.example/a") == {"Authorization": "Bearer hf_secret"}
    assert hub.token_headers("https://cdn.example/a") == {}
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    assert hub.token_headers("https://hub.example/a") == {}


@pytest.mark.parametrize(
    ("status", "headers", "found"),
    [
        (200, {"content_length": "9"}, (0, 9)),
        (200, {}, (0, None)),
        (206, {"content_range": "bytes 4-8/9"}, (4, 9)),
        (206, {"content_range": "bytes 4-8/*"}, (4, None)),
        (206, {"content_range": "lines 4-8/9"}, (-1, None)),
        (206, {}, (-1, None)),
    ],
)
def test_which_part_of_a_file_a_response_is(
    status: int, headers: dict[str, str], found: tuple[int, int | None]
) -> None:
    assert transfer.response_range(answer(status, **headers)) == found


def test_files_of_plain_addresses_are_cached_under_their_hash() -> None:
    digest = "0" * 64
    part = PartFile(path="p.pth", url="https://host/a/b.pth?x=1", sha256=digest)
    path = PlainAddress().path(part)
    assert path.relative_to(PlainAddress().cache_folder()).parts == (digest, "b.pth")
