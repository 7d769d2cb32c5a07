"""Which part a file of a folder is."""

import json
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vrx.errors import ModelError
from vrx.models import roles
from vrx.models.components import Components
from vrx.models.loader import detect_family, entry_from_path, known_components, read_folder

SIGNATURES = {  # of the components that are networks of their own
    role: component.network.SIGNATURE for role, component in known_components().items() if component.network
}
DIFFUSERS = "diffusion_pytorch_model.safetensors"


def find(folder: Path) -> roles.FoundFiles:
    return roles.find(folder, known_components())


def put(path: Path, role: str | None) -> Path:
    """A checkpoint that holds the tensor only that part has, in the format of its suffix; None: another's tensor."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {SIGNATURES[role] if role else "down_blocks.0.weight": torch.zeros(1)}
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


def put_index(folder: Path, role: str | None) -> Path:
    """The same in two shards with their index."""
    put(folder / "diffusion_pytorch_model-00001-of-00002.safetensors", role)
    put(folder / "diffusion_pytorch_model-00002-of-00002.safetensors", None)
    first = SIGNATURES[role] if role else "a"
    placed = {first: "diffusion_pytorch_model-00001-of-00002.safetensors"}
    placed["down_blocks.0.weight"] = "diffusion_pytorch_model-00002-of-00002.safetensors"
    index = folder / f"{DIFFUSERS}.index.json"
    index.write_text(json.dumps({"weight_map": placed}))
    return index


def test_an_index_in_the_transformers_folder_wins_over_a_file_of_its_name_in_another(tmp_path: Path) -> None:
    index = put_index(tmp_path / "transformer", "transformer")
    vae = put(tmp_path / "vae" / DIFFUSERS, "autoencoder")
    text = put(tmp_path / "text_encoder" / "model.safetensors", "text")
    assert read_folder(tmp_path) == Components({"transformer": index, "autoencoder": vae, "text": text})


def test_a_folder_named_for_a_part_decides_where_tensors_do_not_tell(tmp_path: Path) -> None:
    index = put_index(tmp_path / "transformer", None)
    vae = put(tmp_path / "vae" / DIFFUSERS, None)
    assert find(tmp_path).files == {"transformer": index, "autoencoder": vae}


def test_what_a_vae_folder_holds_is_told_by_its_tensors(tmp_path: Path) -> None:
    lean = put(tmp_path / "vae" / DIFFUSERS, "lean")
    assert find(tmp_path).files == {"lean": lean}


def test_parts_that_no_family_here_has_are_not_taken_for_others(tmp_path: Path) -> None:
    for folder in ("unet", "controlnet"):
        put(tmp_path / folder / DIFFUSERS, "transformer")
    model = put(tmp_path / "transformer" / DIFFUSERS, "transformer")
    assert find(tmp_path).files == {"transformer": model}


def test_without_such_folders_the_tensors_decide_whatever_the_names(tmp_path: Path) -> None:
    names = {role: put(tmp_path / f"part-{number}.pth", role) for number, role in enumerate(SIGNATURES)}
    torch.save(torch.zeros(1, 2, 3), tmp_path / "rows.pth")
    torch.save({"a.lora_A": torch.zeros(1)}, tmp_path / "more.pth")
    (tmp_path / "google").mkdir()
    (tmp_path / "google" / "tokenizer.json").write_text("{}")
    others = {"prompt": tmp_path / "rows.pth", "adapter": tmp_path / "more.pth"}
    assert find(tmp_path).files == {
        **names,
        **others,
        "tokenizer": tmp_path / "google" / "tokenizer.json",
    }


def test_a_misleading_name_does_not_mislead(tmp_path: Path) -> None:
    put(tmp_path / "InfVSR.safetensors", "autoencoder")
    model = put(tmp_path / "Wan2.1_VAE.safetensors", "transformer")
    assert find(tmp_path).files["transformer"] == model


def test_two_files_for_one_part_are_refused_with_their_names_once_it_is_needed(tmp_path: Path) -> None:
    first, second = put(tmp_path / "a.safetensors", "transformer"), put(tmp_path / "b.safetensors", "transformer")
    put(tmp_path / "t1.safetensors", "tiny")
    put(tmp_path / "t2.safetensors", "tiny")
    parts = read_folder(tmp_path)
    assert parts.has("tiny")
    with pytest.raises(ModelError, match="more than one file may be the model's transformer") as raised:
        parts.tensors("transformer")
    assert str(first) in str(raised.value)
    assert str(second) in str(raised.value)


def test_one_part_in_two_formats_is_taken_as_safetensors(tmp_path: Path) -> None:
    put(tmp_path / "transformer" / "model.pt", "transformer")
    model = put(tmp_path / "transformer" / "model.safetensors", "transformer")
    put(tmp_path / "transformer" / "pytorch_model.bin", "transformer")
    assert find(tmp_path).files == {"transformer": model}


def test_of_two_numbered_sets_of_one_name_none_is_taken_unasked(tmp_path: Path) -> None:
    folder = tmp_path / "transformer"
    for count in (2, 3):
        for number in range(1, count + 1):
            put(folder / f"dit-{number:05}-of-{count:05}.safetensors", "transformer")
            put(folder / f"dit-{number:05}-of-{count:05}.bin", "transformer")
    firsts = tuple(folder / f"dit-00001-of-0000{count}.safetensors" for count in (2, 3))
    assert find(tmp_path).ambiguous == {"transformer": firsts}
    with pytest.raises(ModelError, match=r"more than one file may be .* Leave one of them there"):
        read_folder(tmp_path).tensors("transformer")
    for path in folder.glob("*-of-00003.safetensors"):
        path.unlink()
    assert find(tmp_path).files == {"transformer": firsts[0]}  # in another number of files in another format


def test_a_damaged_transformer_is_not_called_missing(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    put(tmp_path / "vae.safetensors", "autoencoder")
    with pytest.raises(ModelError, match=r"model.safetensors is not a safetensors checkpoint"):
        detect_family(tmp_path)


def test_the_system_is_told_by_the_parts_of_a_folder(tmp_path: Path) -> None:
    put_index(tmp_path / "transformer", "transformer")
    for role, family in (("guidance", "infvsr"), ("text", "instantvir"), ("projection", "flashvsr")):
        part = put(tmp_path / role / "x.pth", role)
        assert detect_family(tmp_path) == family
        part.unlink()


@pytest.mark.parametrize(("width", "family"), [(512, "infvsr"), (4096, "instantvir"), (24, "infvsr")])
def test_a_transformer_alone_is_told_by_its_guidance(tmp_path: Path, width: int, family: str) -> None:
    tensors = {"patch_embedding.weight": torch.zeros(2, 16, 1, 2, 2), "text_embedding.0.weight": torch.zeros(2, width)}
    save_file(tensors, tmp_path / "x.safetensors")
    assert detect_family(tmp_path) == detect_family(tmp_path / "x.safetensors") == family


@pytest.mark.parametrize(("patches", "guidance"), [((1,), (2, 512)), ((), (2, 512)), ((2, 16, 1, 2, 2), ())])
def test_a_transformer_of_no_shape_is_unknown(
    tmp_path: Path, patches: tuple[int, ...], guidance: tuple[int, ...]
) -> None:
    tensors = {"patch_embedding.weight": torch.zeros(patches), "text_embedding.0.weight": torch.zeros(guidance)}
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match="unknown model family"):
        detect_family(tmp_path)


def test_the_root_of_the_disk_is_no_models_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = time.monotonic()
    with pytest.raises(ModelError):
        entry_from_path(Path("/"))
    assert time.monotonic() - begin < 10
    monkeypatch.setattr(roles, "MOST_FILES", 5)
    for number in range(6):
        (tmp_path / f"{number}.txt").touch()
    with pytest.raises(ModelError, match=r"holds more than 5 files\. Name the folder of one model"):
        find(tmp_path)


def test_links_to_folders_and_hidden_folders_are_left_out(tmp_path: Path) -> None:
    model = put(tmp_path / "m" / "x.safetensors", "transformer")
    put(tmp_path / "elsewhere" / "y.safetensors", "transformer")
    put(tmp_path / "m" / ".cache" / "z.safetensors", "transformer")
    (tmp_path / "m" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "m" / "up").symlink_to(tmp_path)
    assert find(tmp_path / "m").files == {"transformer": model}


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "x", "\x00"])
def test_a_strange_config_is_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError, match=r"cannot read .*config.json"):
        read_folder(tmp_path)
