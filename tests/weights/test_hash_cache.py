"""What the hash cache trusts, what it hashes again, and what it refuses."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from vrx.errors import ModelError
from vrx.weights import hash_cache, hashes
from vrx.weights.hash_cache import DamagedError, HashCache

DIGEST = hashlib.sha256(b"content").hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(b"content")
    return path


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are hashed."""
    found: list[Path] = []
    sha256 = hashes.sha256

    def noted(path: Path) -> str:
        found.append(path)
        return sha256(path)

    monkeypatch.setattr(hashes, "sha256", noted)
    return found


def test_a_file_is_hashed_once_across_processes(tmp_path: Path, file: Path, hashed: list[Path]) -> None:
    for _ in range(3):
        assert HashCache(tmp_path).check("key", file, 7, DIGEST) == DIGEST
    assert hashed == [file]
    assert HashCache(tmp_path).check("key", file, 7, DIGEST, force=True) == DIGEST
    assert len(hashed) == 2


def test_a_touched_file_is_hashed_again(tmp_path: Path, file: Path, hashed: list[Path]) -> None:
    cache = HashCache(tmp_path)
    cache.check("key", file, None, "")
    os.utime(file, ns=(1, 1))
    assert cache.check("key", file, None, "") == DIGEST
    assert len(hashed) == 2


def test_a_wrong_size_or_hash_is_damage(tmp_path: Path, file: Path) -> None:
    cache = HashCache(tmp_path)
    with pytest.raises(DamagedError, match="has 7 bytes, not 8") as raised:
        cache.check("key", file, 8, DIGEST)
    assert raised.value.path == file
    with pytest.raises(DamagedError, match="does not have its published hash"):
        cache.check("key", file, 7, "0" * 64)
    assert file.read_bytes() == b"content"


def test_a_new_published_hash_is_not_answered_from_the_record(tmp_path: Path, file: Path) -> None:
    cache = HashCache(tmp_path)
    cache.check("key", file, None, DIGEST)
    with pytest.raises(DamagedError):
        cache.check("key", file, None, "0" * 64)


def test_without_a_published_hash_a_change_is_noticed(tmp_path: Path, file: Path) -> None:
    cache = HashCache(tmp_path)
    cache.check("key", file, None, "")
    file.write_bytes(b"CONTENT")
    with pytest.raises(ModelError, match="has changed since it was first verified") as raised:
        cache.check("key", file, None, "")
    assert not isinstance(raised.value, DamagedError)  # nobody knows which of the two is right
    cache.forget("key")
    assert HashCache(tmp_path).check("key", file, None, "") == hashlib.sha256(b"CONTENT").hexdigest()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"key": 3}', "[" * 100_000])
def test_broken_records_only_cost_time(tmp_path: Path, file: Path, text: str) -> None:
    (tmp_path / hash_cache.NAME).write_text(text)
    assert HashCache(tmp_path).check("key", file, None, DIGEST) == DIGEST
    assert list(json.loads((tmp_path / hash_cache.NAME).read_text())) == ["key"]


def test_a_folder_that_cannot_be_written_only_costs_time(tmp_path: Path, file: Path, hashed: list[Path]) -> None:
    (tmp_path / "blocked").write_text("a file where the folder should be")
    cache = HashCache(tmp_path / "blocked")
    for _ in range(2):
        assert cache.check("key", file, None, DIGEST) == DIGEST
    assert len(hashed) == 1  # remembered as long as the process runs
