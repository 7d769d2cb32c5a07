"""What a job reads, as one stream of blocks: it arrives as it was, whatever it is, and is gone when it was used."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.pipeline.jobs import make_job
from vrx.cluster import shipping
from vrx.cluster.pieces import take_in
from vrx.cluster.shipping import FOLDER, forget, name_originals, put, ship, size_of, unpack
from vrx.cluster.units import Piece
from vrx.errors import InputError, OutputError
from vrx.settings import RestoreSettings, Task

CONTENT = {"00.png": b"0123456789ab", "01.png": b"", "02.png": b"cde", "03.png": b"f"}
OTHERS = {"notes.txt": b"not a picture"}


@pytest.fixture(autouse=True)
def blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Blocks of five bytes in an object store that is a list; references are places in it."""
    store: list[bytes] = []

    def add(block: bytes) -> int:
        store.append(block)
        return len(store) - 1

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(put=add, get=store.__getitem__))
    monkeypatch.setattr(shipping, "BLOCK", 5)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return store


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, content in (CONTENT | OTHERS).items():
        (folder / name).write_bytes(content)
    return folder


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


WAYS: dict[str, tuple[Callable[[Path], Path], dict[str, bytes]]] = {
    "a folder": (lambda folder: folder, CONTENT),
    "a pattern": (lambda folder: folder / "%02d.png", CONTENT),
    "a file": (lambda folder: folder / "00.png", {"00.png": CONTENT["00.png"]}),
    "an empty file": (lambda folder: folder / "01.png", {"01.png": b""}),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_sent_arrives_as_it_was(way: str, pictures: Path, blocks: list[bytes]) -> None:
    path, expected = WAYS[way][0](pictures), WAYS[way][1]
    restore = RestoreSettings(task=Task.INPAINT, mask=path)
    job = make_job(pictures / "02.png", restore=restore)
    shipments = ship(job, 0)
    assert all(len(block) <= 5 for block in blocks)
    copy = unpack(job, shipments).restore.mask
    assert copy is not None
    assert pictures not in (copy, copy.parent)
    assert content_of(copy if way == "a folder" else copy.parent) == expected
    assert size_of(job) == sum(map(len, expected.values())) + len(CONTENT["02.png"])
    assert name_originals(f"cannot read {copy}: no", shipments) == f"cannot read {path}: no"
    blocks.clear()
    assert unpack(job, shipments).restore.mask == copy  # it is there already
    forget(shipment.key for shipment in shipments)
    assert list((copy.parent if way == "a folder" else copy.parent.parent).iterdir()) == []


def test_small_files_share_a_block(pictures: Path, blocks: list[bytes]) -> None:
    put(pictures / "%02d.png", 0)
    assert blocks == [b"01234", b"56789", b"abcde"[:2] + b"cde", b"f"]


def test_copies_of_other_jobs_and_of_other_content_are_others(pictures: Path) -> None:
    keys = {put(pictures, 0).key, put(pictures, 1).key, put(pictures / "00.png", 0).key}
    (pictures / "03.png").write_bytes(b"g")
    keys.add(put(pictures, 0).key)
    assert len(keys) == 4
    assert put(pictures, 0).key in keys


def test_nothing_to_send_is_said(pictures: Path) -> None:
    for name in ("gone.mkv", "gone_%d.png"):
        with pytest.raises(InputError, match=f"cannot read {pictures / name}: [Nn]o such file"):
            put(pictures / name, 0)


def test_a_copy_that_failed_half_way_leaves_nothing(pictures: Path, blocks: list[bytes], tmp_path: Path) -> None:
    job = make_job(pictures / "00.png")
    shipments = ship(job, 0)
    last = blocks.pop()
    with pytest.raises(IndexError):
        unpack(job, shipments)
    assert [path.suffix for path in (tmp_path / FOLDER).iterdir()] == [".lock"]
    blocks.append(last)
    assert Path(unpack(job, shipments).source).read_bytes() == CONTENT["00.png"]


def test_a_second_attempt_to_send_a_result_replaces_the_first(tmp_path: Path) -> None:
    for piece in (Piece("a", b"12", True), Piece("a", b"3", False), Piece("a", b"45", True), Piece("a", b"6", False)):
        take_in(tmp_path, ".w.", piece)
    assert content_of(tmp_path) == {".w.a": b"456"}
    with pytest.raises(OutputError, match="refused to write"):
        take_in(tmp_path, ".w.", Piece("../a", b"1", True))
