"""Pipes, devices and sockets where files are meant: one line at once, in every place that reads a named file."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants

from vrx import api
from vrx.errors import InputError, ModelError, VrxError
from vrx.files import check_file, format_bytes, path_exists, read_bytes, read_text, replace_file
from vrx.models.loader import entry_from_path, read_folder
from vrx.models.registry import FAMILIES
from vrx.scenes.cut_list import read_cuts
from vrx.weights import catalogue, checkpoint, hashes, sharded
from vrx.weights.hash_cache import HashCache


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert check_file(path).st_size == 5
    assert read_bytes(path, 5) == b"12345"
    assert read_text(path, 5) == "12345"
    with pytest.raises(OSError, match="larger than 4 bytes"):
        read_bytes(path, 4)


def test_what_is_no_file_is_called_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # a socket's address is short
    with socket.socket(socket.AF_UNIX) as door:
        door.bind("door")
        for path, words in (
            (tmp_path / "pipe", "a named pipe"),
            (Path("/dev/zero"), "a device"),
            (tmp_path, "a folder"),
            (tmp_path / "door", "a socket"),
        ):
            with pytest.raises(OSError, match=words):
                read_bytes(path, 5)
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "none", 5)


READERS: dict[str, tuple[str, Callable[[Path], object], type[VrxError]]] = {
    "catalogue": ("own.toml", lambda path: catalogue.load_file(path, FAMILIES), ModelError),
    "checkpoint": ("m.pt", checkpoint.load_tensors, ModelError),
    "safetensors": ("m.safetensors", checkpoint.load_tensors, ModelError),
    "header": ("m.safetensors", checkpoint.read_shapes, ModelError),
    "metadata": ("m.safetensors", checkpoint.read_metadata, ModelError),
    "section": ("m.safetensors", lambda path: checkpoint.load_section(path, "a"), ModelError),
    "index": ("m.safetensors.index.json", sharded.read_index, ModelError),
    "model": ("m.pt", entry_from_path, ModelError),
    "model as safetensors": ("m.safetensors", entry_from_path, ModelError),
    "config of a folder": ("config.json", lambda path: read_folder(path.parent), ModelError),
    "imported": ("m.pt", lambda path: api.import_checkpoint("infvsr", path), ModelError),
    "hashed": ("m.pt", lambda path: hashes.verify_file(path, None, "0" * 64), ModelError),
    "ledger": ("m.pt", lambda path: HashCache(path.parent).check("m", path, None, ""), ModelError),
    "cut list": ("cuts.txt", read_cuts, InputError),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_never_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str) -> None:
    monkeypatch.setenv("VRX_HOME", str(tmp_path / ".vrx"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    name, read, error = READERS[reader]
    path = tmp_path / "m" / name
    path.parent.mkdir()
    os.mkfifo(path)
    with pytest.raises(error, match="named pipe") as raised:
        read(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("read", [lambda path: catalogue.load_file(path, FAMILIES), read_cuts, checkpoint.load_tensors])
def test_a_device_without_an_end_is_not_read(read: Callable[[Path], object]) -> None:
    with pytest.raises(VrxError, match="a device"):
        read(Path("/dev/zero"))


def test_a_pipe_among_the_notes_of_the_cache_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "vrx-seen.json")
    path = tmp_path / "m.bin"
    path.write_bytes(b"x")
    assert len(HashCache(tmp_path).check("m", path, None, "")) == 64


@pytest.mark.parametrize("name", ["a" * 5000 + ".pt", "a" * 300, "a\0b"])
def test_names_that_no_disk_holds_lead_nowhere(name: str) -> None:
    assert not path_exists(Path(name))
    for read in (entry_from_path, lambda path: api.import_checkpoint("infvsr", path)):
        with pytest.raises(ModelError, match="no such file"):
            read(Path(name))


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with replace_file(path) as partial:
        partial.write_text("new")
        assert (path.read_text(), partial.parent) == ("old", tmp_path)
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_whose_replacement_fails_stays_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")

    def fail() -> None:
        with replace_file(path) as partial:
            partial.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "unknown"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (524_288, "524.3 kB"),
        (1e6, "1.0 MB"),
        (2.84e9, "2.8 GB"),
        (5e12, "5000.0 GB"),
    ],
)
def test_sizes_for_people(count: float | None, text: str) -> None:
    assert format_bytes(count) == text
