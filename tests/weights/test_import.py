"""Checkpoints that did not come from the Hub, taken in by the real command."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import Command
from tests.models import small
from vrx import api
from vrx.errors import ModelError
from vrx.models.loader import read_folder
from vrx.weights import checkpoint

SIZES = "sizes = { num_heads = 2, text_len = 12 }"


def catalogue(folder: Path) -> dict[str, str]:
    text = '[models.mine]\nfamily = "infvsr"\ntasks = ["upscale"]\nscales = [4]\navailable = true\n'
    text += 'license = "x"\nsource = "a friend"\n'
    for role, name, sizes in (("transformer", "big.safetensors", SIZES), ("autoencoder", "vae.pth", "")):
        text += f'[[models.mine.parts]]\nrole = "{role}"\npath = "{name}"\n{sizes}\n'
    own = folder / "own.toml"
    own.write_text(text)
    return {"VRX_WEIGHTS_FILE": str(own)}


def in_shards(folder: Path, tensors: dict[str, torch.Tensor], suffix: str = "safetensors") -> Path:
    """A folder with an index and two files."""
    folder.mkdir()
    names = sorted(tensors)
    placed: dict[str, str] = {}
    for number, chosen in enumerate((names[::2], names[1::2]), 1):
        shard = f"model-{number}.{suffix}"
        placed |= dict.fromkeys(chosen, shard)
        part = {name: tensors[name].contiguous() for name in chosen}
        if suffix == "safetensors":
            save_file(part, folder / shard)
        else:
            torch.save(part, folder / shard)
    index = folder / f"model.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": placed}))
    return index


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_a_folder_of_shards_is_one_part(vrx: Command, tmp_path: Path, suffix: str) -> None:
    tensors = small.transformer(small.TEXT)
    in_shards(tmp_path / "shards", tensors, suffix)
    torch.save(small.autoencoder(), tmp_path / "shards" / "Wan2.1_VAE.pth")
    done = vrx("models", "import", "mine", tmp_path / "shards", "--json", env=catalogue(tmp_path))
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["part"] for row in rows] == ["transformer", "autoencoder"]
    held = checkpoint.load_safetensors(Path(rows[0]["file"]))[0]
    assert held.keys() == tensors.keys()
    assert all(torch.equal(held[name], tensor) for name, tensor in tensors.items())
    done = vrx("models", "path", "mine", "--json", env=catalogue(tmp_path))
    assert len(done.stdout.splitlines()) == 2


@pytest.fixture
def refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], str]:
    """What is said of a checkpoint that is not taken in; nothing is left of it."""
    monkeypatch.setenv("VRX_HOME", str(tmp_path / ".vrx"))
    for name, value in catalogue(tmp_path).items():
        monkeypatch.setenv(name, value)

    def bring(path: Path) -> str:
        with pytest.raises(ModelError) as raised:
            api.import_checkpoint("mine", path)
        assert not list((tmp_path / ".vrx" / "models").rglob("*.*"))
        return str(raised.value)

    return bring


def test_what_does_not_fit_is_refused_and_leaves_nothing(refusal: Callable[[Path], str], tmp_path: Path) -> None:
    tensors = small.transformer(small.TEXT)
    path = tmp_path / "m.safetensors"
    save_file({**tensors, "head.head.bias": torch.zeros(3)}, path)
    assert "of another shape (head.head.bias)" in refusal(path)
    save_file({name: t for name, t in tensors.items() if name != "blocks.1.ffn.2.bias"}, path)
    assert "missing (blocks.1.ffn.2.bias)" in refusal(path)
    save_file({**tensors, "text_embedding.0.weight": torch.zeros(48, 4096)}, path)
    assert "is not a part of mine" in refusal(path)
    (tmp_path / "m.txt").write_text("x")
    assert "does not have the name of a checkpoint" in refusal(tmp_path / "m.txt")
    (tmp_path / "empty").mkdir()
    assert "no checkpoint in the folder" in refusal(tmp_path / "empty")
    assert "no such file" in refusal(tmp_path / "none.pt").lower()


def test_an_index_that_lies_or_leads_out_is_refused(refusal: Callable[[Path], str], tmp_path: Path) -> None:
    tensors = small.transformer(small.TEXT)
    index = in_shards(tmp_path / "shards", tensors)
    table = json.loads(index.read_text())
    first = next(iter(table["weight_map"]))
    index.write_text(json.dumps({"weight_map": {name: p for name, p in table["weight_map"].items() if name != first}}))
    assert f"disagree about 1 tensors ({first})" in refusal(tmp_path / "shards")
    index.write_text(json.dumps({"weight_map": {"a": "../m.safetensors"}}))
    assert "refused the index" in refusal(tmp_path / "shards")
    index.write_text(json.dumps(table))
    shard = tmp_path / "shards" / "model-2.safetensors"
    shard.rename(tmp_path / "elsewhere.safetensors")
    shard.symlink_to(tmp_path / "elsewhere.safetensors")
    assert "leads out of its folder" in refusal(tmp_path / "shards")
    shard.unlink()
    assert "cannot read" in refusal(tmp_path / "shards")


def test_a_folder_of_parts_knows_the_index_not_its_shards(tmp_path: Path) -> None:
    index = in_shards(tmp_path / "model", small.transformer(small.TEXT))
    for path in (tmp_path / "model").iterdir():
        path.rename(path.with_name(path.name.replace("model", "diffusion_pytorch_model")))
    named = index.with_name(index.name.replace("model", "diffusion_pytorch_model"))
    named.write_text(named.read_text().replace("model-", "diffusion_pytorch_model-"))
    found = read_folder(tmp_path / "model")
    assert found.files == {"transformer": named}
    shards = [named.with_name(f"diffusion_pytorch_model-{number}.safetensors") for number in (1, 2)]
    assert found.paths() == [named, *shards]  # a run is not continued with others
    shards[1].unlink()
    assert found.paths() == [named, shards[0]]  # what is missing is said where it is loaded


def test_parts_that_share_a_file_name_are_both_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own.toml"
    text = Path(catalogue(tmp_path)["VRX_WEIGHTS_FILE"]).read_text()
    text = text.replace('"big.safetensors"', '"transformer/model.safetensors"')
    own.write_text(text.replace('"vae.pth"', '"vae/model.safetensors"'))
    for name, value in {"VRX_HOME": tmp_path / ".vrx", "HF_HOME": tmp_path / ".hub", "VRX_WEIGHTS_FILE": own}.items():
        monkeypatch.setenv(name, str(value))
    tensors = {"transformer": small.transformer(small.TEXT), "vae": small.autoencoder()}
    for folder, content in tensors.items():
        (tmp_path / folder).mkdir()
        save_file({name: t.contiguous() for name, t in content.items()}, tmp_path / folder / "model.safetensors")
    brought = dict(api.import_checkpoint("mine", tmp_path / "transformer" / "model.safetensors"))
    brought |= dict(api.import_checkpoint("mine", tmp_path / "vae" / "model.safetensors"))
    assert len(set(brought.values())) == 2
    assert api.part_paths("mine") == api.verify("mine") == brought
    for role, folder in (("transformer", "transformer"), ("autoencoder", "vae")):
        assert checkpoint.load_safetensors(brought[role])[0].keys() == tensors[folder].keys()
    assert api.remove("mine").removed == []
    assert api.part_paths("mine") == brought
