import json
import re
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from tests.networks.networks import TINY, TINY_ENLARGING, tiny_parts
from vrx import api
from vrx.errors import ModelError, OutputError
from vrx.models import registry
from vrx.models.components import PUBLISHED
from vrx.models.embedded import load_parts
from vrx.weights import catalogue, checkpoint, families, hashes


def write_checkpoint(path: Path, **changes: torch.Tensor | None) -> Path:
    parts = tiny_parts()
    tensors = dict(parts.network.state_dict())
    for prefix in ("sharpness", "enlarging", "damage"):
        tensors |= {f"{prefix}.{name}": t for name, t in getattr(parts, prefix).state_dict().items()}
    for name, tensor in changes.items():
        if tensor is None:
            del tensors[name.replace("__", ".")]
        else:
            tensors[name.replace("__", ".")] = tensor
    save_file(
        tensors, path, {"family": "embedded", "config": json.dumps({**vars(TINY), "enlarging": vars(TINY_ENLARGING)})}
    )
    return path


def test_a_checkpoint_comes_back_as_the_same_network(tmp_path: Path) -> None:
    found, expected = load_parts(write_checkpoint(tmp_path / "a.safetensors")), tiny_parts()
    assert found.network.config == TINY
    assert found.enlarging.config == TINY_ENLARGING
    for part in ("network", "enlarging"):
        tensors = getattr(expected, part).state_dict()
        assert all(torch.equal(t, tensors[name]) for name, t in getattr(found, part).state_dict().items())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"middle__0__first__weight": None}, "1 missing .middle.0.first.weight"),
        ({"enlarging__recall__weight": None}, "1 missing .recall.weight"),
        ({"extra": torch.zeros(1)}, "1 unexpected .extra"),
        ({"middle__0__first__bias": torch.zeros(3)}, "of another shape"),
        ({"middle__0__first__bias": torch.full((16,), float("nan"))}, "no numbers"),
    ],
)
def test_what_does_not_fit_is_listed(tmp_path: Path, changes: dict[str, torch.Tensor | None], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        load_parts(write_checkpoint(tmp_path / "a.safetensors", **changes))


def test_other_families_and_sizes_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors", {"family": "else"})
    with pytest.raises(ModelError, match="not a checkpoint of the embedded family"):
        load_parts(tmp_path / "other.safetensors")
    for config in ('{"full": "x"}', "[]", '{"full": 8}', "no json"):
        save_file({"a": torch.zeros(1)}, tmp_path / "b.safetensors", {"family": "embedded", "config": config})
        with pytest.raises(ModelError):
            load_parts(tmp_path / "b.safetensors")


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=400))
def test_any_bytes_give_one_clear_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelError):
        checkpoint.load_safetensors(path)


def test_a_huge_header_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    with pytest.raises(ModelError):
        checkpoint.load_safetensors(path)


def test_size_and_hash_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"hello")
    hashes.verify_file(path, 5, hashes.sha256(path))
    with pytest.raises(ModelError, match="5 bytes, not 6"):
        hashes.verify_file(path, 6, "")
    with pytest.raises(ModelError, match="hash"):
        hashes.verify_file(path, None, "0" * 64)
    with pytest.raises(ModelError, match="cannot read"):
        hashes.verify_file(tmp_path / "none", None, "")


def test_the_shipped_checkpoint_is_the_one_of_the_catalogue() -> None:
    entry = catalogue.load_file(catalogue.packaged_path())["embedded"]
    part = entry.parts[0]
    path = hashes.packaged_path(part.path)
    hashes.verify_file(path, part.size, part.sha256)
    assert part.sha256
    assert path.stat().st_size <= 30_000_000
    parts = load_parts(path)
    assert entry.parameters == parts.parameters
    assert float(checkpoint.read_metadata(path)["hours"]) > 0


def test_a_catalogue_error_names_file_table_and_key(tmp_path: Path) -> None:
    path = tmp_path / "weights.toml"
    for text, words in [
        ('[models.x]\nfamily = 3\ntasks = []\nlicense = ""\nsource = ""', r"models.x.*'family' has the wrong type"),
        ('[models.x]\ntasks = []\nlicense = ""\nsource = ""', r"models.x.*'family' is missing"),
        ("models = 3", "models"),
        ("[models]\nx = 3", "models.x"),
        ("[[", "cannot read the catalogue"),
        ('[models.x]\nfamily=""\ntasks=[]\nlicense=""\nsource=""\nparts=[{}]', "part 1.*'path' is missing"),
    ]:
        path.write_text(text)
        with pytest.raises(ModelError, match=words):
            catalogue.load_file(path)


WHOLE = """
[models.mine]
family = "infvsr"
tasks = ["upscale"]
scales = [4]
license = "MIT"
source = "Hub"
available = true
[[models.mine.parts]]
role = "transformer"
path = "t/model.safetensors"
repo = "a/b"
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"infvsr"', '"infvsrr"', r"\[models.mine\]: 'family' is none of embedded, infvsr"),
        ('["upscale"]', '["upscael"]', "'tasks' has 'upscael', and infvsr does upscale"),
        ('["upscale"]', '["deblur"]', "'tasks' has 'deblur'"),
        ('["upscale"]', "[]", "'tasks' is empty"),
        ("scales = [4]", "scales = [5]", "'scales' has 5"),
        ("scales = [4]", "", "'scales' is empty"),
        ("scales = [4]", 'scales = "4"', "'scales' has the wrong type"),
        ("available", "avaliable", r"unknown key 'avaliable'. Is 'available' meant\?"),
        ("path =", "size = 0\npath =", r"part 1: 'size' is not positive"),
        ("repo =", "repository =", r"part 1: unknown key 'repository'"),
        ('"transformer"', '"transfomer"', "part 1: 'role' is none of transformer"),
        ('role = "transformer"', "", "a part has no 'role'"),
        ("t/model", "t\\u0000/model", "part 1: the path"),
        ("t/model", "t/\\u001b[31mmodel", "part 1: the path"),
        ("t/model", "t/" + "m" * 300, "part 1: the path"),
        ('"a/b"\n', '"a/b"\n[[models.mine.parts]]\nrole="transformer"\npath="x"\n', "two parts have the 'role'"),
        ('repo = "a/b"', 'url = "http://127.0.0.1:9@evil.example/x"', "'url' must be an https address"),
        ('repo = "a/b"', 'url = "http://localhost.evil/x"', "'url' must be an https address"),
        ('repo = "a/b"', 'url = "https://user@host/x"', "'url' must be an https address"),
        ("[models.mine]\n", "[models.embedded]\n", "the embedded model is part of vrx"),
        ('"infvsr"', '"embedded"', "the embedded model is part of vrx"),
        ('"infvsr"', '"satb-vr"', "this version cannot run the family"),
    ],
)
def test_a_fault_in_a_users_entry_is_named_and_the_others_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, words: str
) -> None:
    path = tmp_path / "own.toml"
    text = WHOLE.replace(old, new)
    if "[models.embedded]" in text:
        text = text.replace("models.mine", "models.embedded")
    path.write_text(text + WHOLE.replace("mine", "good"))
    monkeypatch.setenv("VRX_WEIGHTS_FILE", str(path))
    entries = catalogue.load_all()
    (broken,) = (entry for entry in entries.values() if entry.fault)
    assert broken.fault.startswith(str(path))
    assert re.search(words, broken.fault)
    assert entries["good"].available
    assert not entries["good"].fault
    assert entries["embedded"].parts == catalogue.load_file(catalogue.packaged_path())["embedded"].parts
    with pytest.raises(ModelError, match=re.escape(broken.fault)):
        api.entries_of([broken.name])


def test_an_entry_without_what_its_family_needs_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "own.toml"
    path.write_text(WHOLE)
    monkeypatch.setenv("VRX_WEIGHTS_FILE", str(path))
    assert api.model_state(api.models()["mine"]) == (
        "incomplete",
        "the entry has no part with the role autoencoder, guidance",
    )


@pytest.mark.parametrize(
    "text",
    [".".join("a" * 50_000) + " = 1", "[" + ".".join("a" * 50_000) + "]", "a = {" + ".".join("a" * 50_000) + " = 1}"],
)
def test_a_key_of_many_parts_is_refused_at_once(tmp_path: Path, text: str) -> None:
    path = tmp_path / "weights.toml"
    path.write_text(text)
    begin = time.monotonic()
    with pytest.raises(ModelError, match="a key has more than 100 parts"):
        catalogue.load_file(path)
    assert time.monotonic() - begin < 2


def test_the_families_are_those_of_the_registry() -> None:
    found = {name: (family.tasks, family.scales) for name, family in registry.FAMILIES.items()}
    assert found == {name: (rules.tasks, rules.scales) for name, rules in families.FAMILIES.items()}
    assert set(families.ROLES) == set(PUBLISHED)
    for entry in catalogue.load_file(catalogue.packaged_path()).values():
        assert not entry.available or not entry.lacking


def test_every_entry_of_the_catalogue_is_whole() -> None:
    entries = catalogue.load_file(catalogue.packaged_path())
    assert entries["embedded"].available
    assert {"infvsr", "flashvsr", "instantvir-deblur"} <= set(entries)
    for entry in entries.values():
        assert set(entry.tasks) <= {"upscale", "deblur", "inpaint"}


def test_a_full_disk_is_a_failure_of_the_output(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OutputError, match="Free some space"):
            checkpoint.save(tmp_path / "a.safetensors", {"x": torch.zeros(1 << 14)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not any(tmp_path.iterdir())
