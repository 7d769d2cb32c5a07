"""States of models, and what managing them finds, verifies and keeps."""

from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from vrx import api
from vrx.errors import ModelError
from vrx.events import ignore
from vrx.weights import manage
from vrx.weights.catalogue import Entry, PartFile

TEXT = """
[models.{name}]
family = "infvsr"
tasks = ["upscale"]
scales = [4]
license = "MIT"
source = "a friend"
available = true
parts = [
    {{ role = "transformer", path = "t.safetensors"{repo} }},
    {{ role = "autoencoder", path = "v.safetensors", repo = "x/y" }},
    {{ role = "guidance", path = "g.safetensors", repo = "x/y" }},
]
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of files that the user added; the catalogue has `mine` and `other`."""
    own = tmp_path / "own.toml"
    own.write_text(TEXT.format(name="mine", repo="") + TEXT.format(name="other", repo=', repo = "x/y"'))
    monkeypatch.setenv("VRX_WEIGHTS_FILE", str(own))
    monkeypatch.setenv("VRX_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "models"


def add(home: Path, model: str, *roles: str) -> None:
    for role in roles:
        path = home / model / role / f"{role[0]}.safetensors"
        path = path if role != "autoencoder" else path.with_name("v.safetensors")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(role.encode())


def test_the_states_of_a_model(home: Path) -> None:
    mine, other = api.get_models(["mine", "other"])
    assert manage.model_state(mine) == ("download yourself", f"put t.safetensors into {home / 'mine' / 'transformer'}")
    assert manage.model_state(other).word == "can be downloaded"
    add(home, "mine", "transformer")
    assert manage.model_state(mine) == (
        "can be downloaded",
        "v.safetensors, g.safetensors: downloaded on first use",
    )
    add(home, "mine", "autoencoder", "guidance")
    assert manage.model_state(mine) == ("ready", "")
    assert manage.model_state(replace(mine, available=False)).word == "not in this version"
    assert manage.model_state(replace(mine, missing_roles=("guidance",))).word == "incomplete"
    assert manage.model_state(replace(mine, fault="own.toml: wrong")) == ("broken", "own.toml: wrong")


def test_an_unknown_model_is_one_line(home: Path) -> None:
    with pytest.raises(ModelError, match="unknown model 'mien'"):
        api.get_models(["mine", "mien"])


def test_paths_and_hashes_are_of_what_is_on_this_machine(home: Path) -> None:
    assert api.part_paths("mine") == api.verify("mine") == {}
    add(home, "mine", "guidance", "transformer")
    assert list(api.part_paths("mine")) == list(api.verify("mine")) == ["transformer", "guidance"]
    (home / "mine" / "guidance" / "g.safetensors").write_bytes(b"changed")
    with pytest.raises(ModelError, match="has changed since it was first verified"):
        api.verify("mine")


def test_the_embedded_model_is_ready_verified_and_stays(home: Path) -> None:
    (entry,) = api.get_models(["embedded"])
    assert manage.model_state(entry) == ("ready", "")
    assert manage.missing_parts(entry, everything=True) == []
    paths = api.part_paths("embedded")
    assert list(paths) == ["embedded"]
    assert paths == api.pull("embedded") == api.verify("embedded")
    assert "hours" in manage.model_metadata(entry)
    assert "config" not in manage.model_metadata(entry)
    with pytest.raises(ModelError, match="is part of vrx and cannot be removed"):
        api.remove("embedded")


def test_a_model_without_known_files_is_not_pulled() -> None:
    entry = Entry(name="mine", family="infvsr", tasks=("upscale",), scales=(4,), license="MIT", source="a friend")
    with pytest.raises(ModelError, match=r"does not know the files of mine\. Its source: a friend"):
        manage.pull(entry, False, ignore)
    assert manage.model_metadata(entry) == {}


def test_parts_that_pull_would_download(home: Path) -> None:
    optional = PartFile(path="o.bin", role="tiny", repo="x/y", size=4, optional=True)
    (entry,) = api.get_models(["other"])
    sized = tuple(replace(part, size=3) for part in entry.parts)  # no server is queried
    entry = replace(entry, parts=(*sized, optional))
    add(home, "other", "transformer")
    assert [part.role for part in api.missing_parts(entry, False)] == ["autoencoder", "guidance"]
    assert [part.role for part in api.missing_parts(entry, True)] == ["autoencoder", "guidance", "tiny"]
