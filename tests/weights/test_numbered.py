"""Checkpoints in numbered files without an index: downloaded, verified, imported and removed as one."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import Command
from tests.models import small
from tests.weights.hub_server import BLOB, REPO, Hub, Pull, check_repair_and_removal, message
from vrx.errors import ModelError
from vrx.weights import checkpoint, sharded

FIRST, SECOND = "m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors"
PART: dict[str, object] = {"role": "transformer", "repo": REPO, "path": f"t/{FIRST}"}
COMMIT = "a" * 40


def test_names() -> None:
    assert sharded.numbered_names(Path("a") / SECOND) == [FIRST, SECOND]
    assert len(sharded.numbered_names("m-00001-of-01000.safetensors")) == 1000
    assert sharded.whole_name(f"t/{SECOND}") == "m.safetensors"
    assert sharded.whole_name("m.safetensors") == "m.safetensors"
    for name in (
        "m.safetensors",
        "m-1-of-2.safetensors",
        "m-00000-of-00002.safetensors",
        "m-00003-of-00002.safetensors",
        "m-00001-of-00001.safetensors",
        "m-00001-of-01001.safetensors",
        "m-00001-of-00002.txt",
        "-00001-of-00002.safetensors",
    ):
        assert sharded.numbered_names(name) == []
        assert not sharded.is_sharded(name)


def test_files_of_torch_may_be_numbered_too(tmp_path: Path) -> None:
    for number in (1, 2):
        torch.save({f"t{number}": torch.full((2,), float(number))}, tmp_path / f"m-0000{number}-of-00002.bin")
    found, _ = checkpoint.load_tensors(tmp_path / "m-00002-of-00002.bin")
    assert {name: tensor.tolist() for name, tensor in found.items()} == {"t1": [1, 1], "t2": [2, 2]}


def test_all_files_or_none(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / FIRST)
    for read in (checkpoint.load_tensors, checkpoint.read_names, checkpoint.read_shapes):
        with pytest.raises(ModelError, match=f"lacks {SECOND}, one of its 2 files"):
            read(tmp_path / FIRST)
    assert not sharded.is_complete(tmp_path / FIRST)
    save_file({"b": torch.zeros(1), "a": torch.zeros(1)}, tmp_path / SECOND)
    for read in (checkpoint.load_tensors, checkpoint.read_names, checkpoint.read_shapes):
        with pytest.raises(ModelError, match=r"both hold 1 tensors \(a\)"):
            read(tmp_path / FIRST)
    save_file({"b": torch.zeros(1)}, tmp_path / SECOND)
    assert checkpoint.read_names(tmp_path / SECOND) == {"a", "b"}
    assert checkpoint.read_shapes(tmp_path / FIRST) == {"a": (1,), "b": (1,)}
    assert sharded.is_complete(tmp_path / FIRST)
    assert sharded.list_checkpoints(tmp_path) == [tmp_path / FIRST]


@pytest.mark.parametrize("named", [FIRST, SECOND])
def test_they_come_whole_and_go_whole(command: Pull, hub: Hub, tmp_path: Path, named: str) -> None:
    part = {**PART, "path": f"t/{named}"}
    hub.files[f"{REPO}/t/{FIRST}"], hub.files[f"{REPO}/t/{SECOND}"] = BLOB, BLOB[::-1]
    done = command("models", "pull", "mine", parts=[part])
    assert done.returncode == 0, done.stderr
    first = Path(json.loads(command("models", "path", "mine", "--json", parts=[part]).stdout)["file"])
    assert first.name == named
    assert [(first.parent / name).read_bytes() for name in (FIRST, SECOND)] == [BLOB, BLOB[::-1]]
    asked = len(hub.asked)
    assert command("models", "pull", "mine", parts=[part]).returncode == 0
    assert len(hub.asked) == asked
    second = (first.parent / SECOND).resolve()
    check_repair_and_removal(command, part, second, hub, tmp_path, gets=3)


def test_one_that_is_not_there_is_named(command: Pull, hub: Hub) -> None:
    hub.files[f"{REPO}/t/{FIRST}"] = BLOB
    done = command("models", "pull", "mine", parts=[PART])
    assert done.returncode == 4
    assert SECOND in message(done)


def test_imported_they_are_one_file(vrx: Command, tmp_path: Path) -> None:
    text = '[models.mine]\nfamily = "infvsr"\ntasks = ["upscale"]\nscales = [4]\navailable = true\n'
    text += 'license = "x"\nsource = "a friend"\n[[models.mine.parts]]\nrole = "transformer"\n'
    text += f'path = "{FIRST}"\nsizes = {{ num_heads = 2, text_len = 12 }}\n'
    (tmp_path / "own.toml").write_text(text)
    own = {"VRX_WEIGHTS_FILE": str(tmp_path / "own.toml")}
    tensors = small.transformer(small.TEXT)
    (tmp_path / "files").mkdir()
    for name, some in ((FIRST, sorted(tensors)[:9]), (SECOND, sorted(tensors)[9:])):
        save_file({key: tensors[key] for key in some}, tmp_path / "files" / name)
    for source in (tmp_path / "files", tmp_path / "files" / SECOND):
        done = vrx("models", "import", "mine", source, "--json", env=own)
        assert done.returncode == 0, done.stderr
        file = Path(json.loads(done.stdout)["file"])
        assert file.name == "m.safetensors"
        assert checkpoint.load_tensors(file)[0].keys() == tensors.keys()
        found = json.loads(vrx("models", "path", "mine", "--json", env=own).stdout)
        assert Path(found["file"]) == file
        done = vrx("models", "verify", "mine", env=own)
        assert done.returncode == 0, done.stderr
        file.unlink()


@pytest.mark.parametrize("name", [FIRST, "m.safetensors.index.json"])
def test_an_address_is_that_of_one_file(command: Pull, hub: Hub, name: str) -> None:
    part: dict[str, object] = {"role": "adapter", "url": f"{hub.address}/cdn/someone/{COMMIT}/{name}", "path": name}
    done = command("models", "pull", "mine", parts=[part])
    assert done.returncode == 4
    assert "the checkpoint is in several: use 'repo'" in message(done)


def test_an_address_that_names_a_commit_needs_no_hash(command: Pull, hub: Hub, tmp_path: Path) -> None:
    hub.files[f"someone/{COMMIT}/x.bin"] = BLOB
    part: dict[str, object] = {
        "role": "adapter",
        "url": f"{hub.address}/cdn/someone/{COMMIT}/x.bin",
        "path": "x.bin",
    }
    done = command("models", "pull", "mine", parts=[part])
    assert done.returncode == 0, done.stderr
    path = Path(json.loads(command("models", "path", "mine", "--json", parts=[part]).stdout)["file"])
    assert path.read_bytes() == BLOB
    assert path.is_relative_to(tmp_path / ".vrx")
    path.write_bytes(BLOB[::-1])
    done = command("models", "verify", "mine", parts=[part])
    assert done.returncode == 4
    assert "x.bin" in message(done)
    other = {**part, "url": f"{hub.address}/cdn/someone/main/x.bin"}
    done = command("models", "path", "mine", parts=[other])
    assert done.returncode == 4
    assert "needs its 'sha256'" in message(done)
