"""The catalogue: every mistake is one line that names file, table and key."""

import re
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from vrx import api
from vrx.errors import ModelError
from vrx.models.registry import FAMILIES
from vrx.weights import catalogue
from vrx.weights.catalogue import Entry, PartFile


def test_a_catalogue_error_names_file_table_and_key(tmp_path: Path) -> None:
    path = tmp_path / "weights.toml"
    for text, words in [
        (
            '[models.x]\nfamily = 3\ntasks = []\nlicense = ""\nsource = ""',
            r"models.x\]: 'family': expected string, got integer",
        ),
        ('[models.x]\ntasks = []\nlicense = ""\nsource = ""', r"models.x\]: the key 'family' is missing"),
        ("models = 3", "models"),
        ("[models]\nx = 3", "models.x"),
        ("[[", "cannot read the catalogue"),
        ('[models.x]\nfamily=""\ntasks=[]\nlicense=""\nsource=""\nparts=[{}]', "part 1: the key 'path' is missing"),
    ]:
        path.write_text(text)
        with pytest.raises(ModelError, match=words):
            catalogue.load_file(path, FAMILIES)


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
        ('"infvsr"', '"infvsrr"', r"\[models.mine\]: 'family' is 'infvsrr'; choose one of embedded, infvsr"),
        ('["upscale"]', '["upscael"]', "'tasks' has 'upscael'; infvsr supports upscale"),
        ('["upscale"]', '["deblur"]', "'tasks' has 'deblur'"),
        ('["upscale"]', "[]", "'tasks' is empty"),
        ("scales = [4]", "scales = [5]", "'scales' has 5"),
        ("scales = [4]", "", "'scales' is empty"),
        ("scales = [4]", 'scales = "4"', "'scales': expected list, got string"),
        ("available", "avaliable", r"unknown key 'avaliable'. Did you mean 'available'\?"),
        ("path =", "size = 0\npath =", "part 1: 'size' is 0; it must be positive"),
        ("repo =", "repository =", r"part 1: unknown key 'repository'"),
        ('"transformer"', '"transfomer"', "part 1: 'role' is 'transfomer'; choose one of transformer"),
        ('role = "transformer"', "", "part 1: the key 'role' is missing"),
        ("t/model", "t\\u0000/model", "part 1: the path"),
        ("t/model", "t/\\u001b[31mmodel", "part 1: the path"),
        ("t/model", "t/" + "m" * 300, "part 1: the path"),
        (
            '"a/b"\n',
            '"a/b"\n[[models.mine.parts]]\nrole="transformer"\npath="x"\n',
            "part 2: another part has the 'role' 'transformer' too",
        ),
        ('repo = "a/b"', 'url = "http://127.0.0.1:9@evil.example/x"', "'url' must be an https address"),
        ('repo = "a/b"', 'url = "http://localhost.evil/x"', "'url' must be an https address"),
        ('repo = "a/b"', 'url = "https://user@host/x"', "'url' must be an https address"),
        ("[models.mine]\n", "[models.embedded]\n", "the embedded model is part of vrx"),
        ('"infvsr"', '"embedded"', "the embedded model is part of vrx"),
        ('repo = "a/b"', 'repo = "a/../b"', "part 1: invalid repo 'a/../b'"),
        ('repo = "a/b"', 'repo = "a/b"\nrevision = "x y"', "part 1: invalid revision 'x y'"),
        ('repo = "a/b"', 'repo = "a/b"\nsha256 = "XY"', "part 1: invalid sha256 'XY'"),
        (
            'repo = "a/b"',
            'repo = "a/b"\nkind = "spaces"',
            "part 1: 'kind' is 'spaces'; choose one of model, space, dataset",
        ),
        ('repo = "a/b"', 'repo = "a/b"\nsize = true', "part 1: 'size': expected integer, got boolean"),
        ('repo = "a/b"', 'url = "https://host/x"', "part 1: a part with 'url' needs its 'sha256'"),
        (
            'repo = "a/b"',
            f'repo = "a/b"\nurl = "https://host/x"\nsha256 = "{"0" * 64}"',
            "'url' and 'repo' are mutually exclusive",
        ),
        ("available = true", "available = true\npackaged = true", "'packaged' is for the models inside vrx"),
        ("available = true", "available = 1", "'available': expected boolean, got integer"),
        ("scales = [4]", "scales = [4, true]", "'scales': expected integer, got boolean"),
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
    entries = catalogue.load_all(FAMILIES)
    (broken,) = (entry for entry in entries.values() if entry.fault)
    assert broken.fault.startswith(str(path))
    assert re.search(words, broken.fault)
    assert entries["good"].available
    assert not entries["good"].fault
    assert entries["embedded"].parts == catalogue.load_file(catalogue.packaged_path(), FAMILIES)["embedded"].parts
    with pytest.raises(ModelError, match=re.escape(broken.fault)):
        api.get_models([broken.name])


def test_an_entry_without_what_its_family_needs_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "own.toml"
    path.write_text(WHOLE)
    monkeypatch.setenv("VRX_WEIGHTS_FILE", str(path))
    assert api.model_state(api.list_models()["mine"]) == (
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
        catalogue.load_file(path, FAMILIES)
    assert time.monotonic() - begin < 2


def test_every_model_that_runs_has_the_parts_it_needs() -> None:
    for entry in catalogue.load_file(catalogue.packaged_path(), FAMILIES).values():
        assert not entry.available or not entry.missing_roles


def test_names_are_read_without_a_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.toml").write_text('[models.mine]\nfamily = "nothing"')
    monkeypatch.setenv("VRX_WEIGHTS_FILE", str(tmp_path / "own.toml"))
    assert catalogue.load_names() == [*catalogue.load_file(catalogue.packaged_path(), FAMILIES), "mine"]


def test_every_entry_of_the_catalogue_is_whole() -> None:
    entries = catalogue.load_file(catalogue.packaged_path(), FAMILIES)
    assert entries["embedded"].available
    assert {"infvsr", "flashvsr", "instantvir-deblur"} <= set(entries)
    for entry in entries.values():
        assert set(entry.tasks) <= {"upscale", "deblur", "inpaint"}


def test_sizes_and_hashes_are_those_that_were_published() -> None:
    """Those of files that are downloaded; where one changes for a reason, so does the digest here."""
    entries = catalogue.load_file(catalogue.packaged_path(), FAMILIES).values()
    parts = [part for entry in entries if not entry.packaged for part in entry.parts if part.sha256 or part.size]
    listed = sorted({f"{part.repo} {part.url} {part.path} {part.size} {part.sha256}" for part in parts})
    assert sha256("\n".join(listed).encode()).hexdigest()[:16] == "5cba596cc8c12bbf"


def test_files_of_unknown_size_have_half_precision_at_least() -> None:
    parts = tuple(PartFile(role="a", repo="x/y", path="m.safetensors", size=size) for size in (100, None))
    entry = Entry(name="m", family="toy", tasks=(), license="", source="", parts=parts)
    assert entry.minimum_size == 100
    assert replace(entry, parameters=1000).minimum_size == 2000
    assert replace(entry, parameters=10).minimum_size == 100
