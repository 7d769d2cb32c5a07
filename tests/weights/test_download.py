"""The Downloader's own decisions, with a backend that needs no server."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from vrx.errors import ModelError
from vrx.events import Note
from vrx.weights import download, store, transfer
from vrx.weights.backend import DownloadTask
from vrx.weights.catalogue import Entry, PartFile
from vrx.weights.download import Downloader, announcement, throttle, with_sizes

CONTENT = {"a.bin": b"first", "b.bin": b"second"}
PARTS = tuple(
    PartFile(path=path, role=role, repo="x/y") for path, role in (("a.bin", "transformer"), ("b.bin", "tiny"))
)
ENTRY = Entry(name="mine", family="infvsr", tasks=("upscale",), scales=(4,), license="MIT", source="Hub", parts=PARTS)


@dataclass
class FakeBackend:
    """Files in memory; `plans` are the parts that were planned, `refused` paths that cannot be had."""

    folder: Path
    plans: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)

    def cache_folder(self) -> Path:
        return self.folder

    def part_folder(self, part: PartFile) -> Path:
        return self.folder

    def find(self, part: PartFile) -> Path | None:
        path = self.folder / part.path
        return path if path.is_file() else None

    def expected_sha256(self, path: Path) -> str:
        return hashlib.sha256(CONTENT[path.name]).hexdigest()

    def partials(self, part: PartFile) -> Iterator[Path]:
        return iter(())

    def plan(self, part: PartFile) -> DownloadTask:
        self.plans.append(part.path)
        if part.path in self.refused:
            raise ModelError(f"{part.path} is gated")
        target = self.folder / part.path
        request = transfer.FileRequest(
            name=part.path, server="s", address="a", headers={}, target=target,
            size=len(CONTENT[part.path]), sha256="", check_status=lambda *_: None,
        )  # fmt: skip
        return DownloadTask(name=part.path, request=request, store=lambda: target)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeBackend:
    found = FakeBackend(tmp_path / "cache")

    def fetch(request: transfer.FileRequest, progress: transfer.Progress) -> None:
        request.target.parent.mkdir(parents=True, exist_ok=True)
        request.target.write_bytes(CONTENT[request.name])
        progress(len(CONTENT[request.name]), request.size)

    monkeypatch.setattr(store, "HUB", found)
    monkeypatch.setattr(transfer, "fetch", fetch)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return found


@pytest.fixture
def notes() -> list[Note]:
    return []


@pytest.fixture
def downloader(tmp_path: Path, notes: list[Note]) -> Downloader:
    return Downloader(models=tmp_path / "models", offline=False, notify=notes.append)


def test_only_what_is_missing_is_downloaded(fake: FakeBackend, downloader: Downloader, notes: list[Note]) -> None:
    files = downloader.provide(ENTRY, set())
    assert {role: path.read_bytes() for role, path in files.items()} == {"transformer": b"first", "tiny": b"second"}
    assert [(note.code, note.facts["bytes"]) for note in notes] == [("download-started", 11)]
    assert downloader.provide(ENTRY, set()) == files
    files["tiny"].unlink()
    downloader.provide(ENTRY, set())
    assert fake.plans == ["a.bin", "b.bin", "b.bin"]
    assert len(notes) == 2


def test_optional_parts_are_downloaded_on_request(fake: FakeBackend, downloader: Downloader) -> None:
    entry = replace(ENTRY, parts=(PARTS[0], replace(PARTS[1], optional=True)))
    assert set(downloader.provide(entry, set())) == {"transformer"}
    assert set(downloader.provide(entry, {"tiny"})) == {"transformer", "tiny"}
    assert set(downloader.provide(entry, set())) == {"transformer"}


def test_nothing_is_downloaded_where_one_part_is_refused(fake: FakeBackend, downloader: Downloader) -> None:
    fake.refused.add("b.bin")
    with pytest.raises(ModelError, match=r"b\.bin is gated"):
        downloader.provide(ENTRY, set())
    assert not fake.folder.exists()


def test_offline_and_parts_without_a_server_are_refused_with_a_hint(
    fake: FakeBackend, downloader: Downloader, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"x/y/a\.bin is not on this machine\. Run once without --offline"):
        replace(downloader, offline=True).provide(ENTRY, set())
    manual = replace(ENTRY, parts=(replace(PARTS[0], repo=""),))
    with pytest.raises(ModelError, match=r"mine needs a.bin \(transformer\).* vrx models import mine a.bin"):
        downloader.provide(manual, set())
    assert fake.plans == []
    placed = tmp_path / "models" / "mine" / "transformer" / "a.bin"
    placed.parent.mkdir(parents=True)
    placed.write_bytes(b"own")
    assert downloader.provide(manual, set()) == {"transformer": placed}


def test_progress_is_throttled_and_the_end_reported() -> None:
    seen: list[tuple[str, int]] = []
    report = throttle(lambda part, done, size: seen.append((part, done)), seconds=60)
    for done in range(0, 101, 10):
        report("a", done, 100)
        report("b", done, None)
    assert seen == [("a", 0), ("b", 0), ("a", 100)]


def test_the_announcement_states_what_is_unknown(fake: FakeBackend) -> None:
    requests = [fake.plan(part).request for part in PARTS]
    names = [part.location for part in PARTS]
    text = announcement(ENTRY, names, [requests[0], replace(requests[1], size=None)]).text
    assert text == "downloading x/y/a.bin, x/y/b.bin: 5 B and files of unknown size; license: MIT"


def test_sizes_are_queried_only_where_they_are_unknown(fake: FakeBackend) -> None:
    fake.refused.add("b.bin")
    known, manual = replace(PARTS[0], size=3), replace(PARTS[0], repo="")
    sizes = [part.size for part in with_sizes([known, PARTS[0], PARTS[1], manual])]
    assert sizes == [3, 5, None, None]
    assert sorted(fake.plans) == ["a.bin", "b.bin"]


def test_a_shards_index_is_downloaded_to_read_their_names(fake: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    index = b'{"weight_map": {"w": "1.safetensors", "v": "2.safetensors"}}'
    monkeypatch.setitem(CONTENT, "t/m.index.json", index)
    part = PartFile(path="t/m.index.json", role="transformer", repo="x/y", size=len(index), sha256="0" * 64)
    files = download.list_files(part, download.ignore_progress)
    assert [file.path for file in files] == ["t/m.index.json", "t/1.safetensors", "t/2.safetensors"]
    assert [(file.size, file.sha256) for file in files[1:]] == [(None, "")] * 2
