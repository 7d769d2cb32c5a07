"""What is taken from the surroundings, where they lack something too."""

import pwd
from pathlib import Path

import pytest
from huggingface_hub import constants

from vrx.settings import NO_HOME, Environment
from vrx.weights import hub


def test_a_user_without_a_home_gets_folders_that_do_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(number: int) -> object:
        raise KeyError(number)

    for name in ("HOME", "VRX_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    found = Environment.read()
    assert {found.models.parts[:2], found.cache.parts[:2], found.weights.parts[:2]} == {NO_HOME.parts}
    monkeypatch.setattr(constants, "HF_HUB_CACHE", "~/.cache/huggingface/hub")  # as the library has it then
    assert hub.cache_folder() == NO_HOME / ".cache" / "huggingface" / "hub"


def test_the_hubs_cache_is_where_its_library_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert hub.cache_folder() == tmp_path
