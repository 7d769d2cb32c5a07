"""Defaults of options: what files and variables may say, what precedes what, and what is wrong with them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.main import get_command

from vrx import configuration
from vrx.cli.app import app
from vrx.cli.defaults import known_options
from vrx.configuration import Configuration, OptionSet, Setting
from vrx.errors import UsageError

KNOWN = known_options(get_command(app))
TAPE = '[presets.tape]\nabout = "mine"\ndenoise = 0.7\ncrf = 12\n[presets.tape.upscale]\nscale = 3\n'


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRX_HOME", str(tmp_path))


def load(tmp_path: Path, text: str) -> Configuration:
    (tmp_path / "config.toml").write_text(text)
    return configuration.load(KNOWN)


def values(settings: dict[str, Setting]) -> dict[str, str | bool]:
    return {option: setting.value for option, setting in settings.items()}


def test_a_table_of_a_command_precedes_the_shared_one(tmp_path: Path) -> None:
    found = load(tmp_path, "[defaults]\ncrf = 20\nscale = 2\n[defaults.deblur]\ncrf = 22\nno-audio = true\n")
    assert values(found.resolve("upscale", (), None)) == {"crf": "20", "scale": "2"}
    assert values(found.resolve("deblur", (), None)) == {"crf": "22", "scale": "2", "no-audio": True}


def test_the_line_precedes_the_environment_and_the_environment_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VRX_DEFAULT_CRF", "21")
    monkeypatch.setenv("VRX_DEFAULT_NO_AUDIO", "on")
    found = load(tmp_path, "[defaults]\ncrf = 20\ndenoise = 0.5\nno-audio = false\n")
    resolved = found.resolve("upscale", {"denoise"}, None)
    assert values(resolved) == {"crf": "21", "no-audio": True}
    assert resolved["crf"].place == "VRX_DEFAULT_CRF"


@pytest.mark.parametrize(
    ("line", "variable", "file", "crf"),
    [
        ("tape", None, None, "12"),  # a preset of the line precedes the environment
        (None, "tape", None, "21"),  # one of the environment comes after it, before the file
        (None, None, "tape", "21"),
        ("none", None, "tape", "21"),
    ],
)
def test_a_preset_comes_after_the_place_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str | None, variable: str | None, file: str | None, crf: str
) -> None:
    monkeypatch.setenv("VRX_DEFAULT_CRF", "21")
    if variable:
        monkeypatch.setenv("VRX_DEFAULT_PRESET_NAME", variable)
    named = f'preset-name = "{file}"\n' if file else ""
    found = load(tmp_path, f"[defaults]\ndenoise = 0.1\n{named}{TAPE}")
    resolved = values(found.resolve("upscale", (), line))
    assert resolved["crf"] == crf
    assert resolved["denoise"] == ("0.1" if line in (None, "none") and not variable else "0.7")
    assert resolved.get("scale") == (None if line == "none" else "3")


def test_an_option_drops_the_defaults_of_its_alternatives(tmp_path: Path) -> None:
    found = load(tmp_path, "[defaults]\nheight = 1080\nskip-existing = true\ncrf = 20\n")
    assert values(found.resolve("upscale", {"scale", "overwrite"}, None)) == {"crf": "20"}
    assert values(found.resolve("upscale", {"crf"}, None)) == {"height": "1080", "skip-existing": True}
    found = load(tmp_path, '[defaults]\nprefer = "quality"\n')
    assert values(found.resolve("upscale", {"model"}, None)) == {}


def test_a_preset_of_the_user_replaces_one_of_the_package(tmp_path: Path) -> None:
    assert load(tmp_path, "").presets["film"].path == "vrx"
    found = load(tmp_path, "[presets.film]\ncrf = 1\n").presets["film"]
    assert (found.path, values(found.options.of("deblur"))) == (str(tmp_path / "config.toml"), {"crf": "1"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[defaults]\ncrff = 1", ["unknown key 'crff' in [defaults]", "Did you mean crf?"]),
        ("[defaults.upscale]\nsigma = 1", ["unknown key 'sigma' in [defaults.upscale]"]),
        ("[defaults.upscal]\ncrf = 1", ["unknown key 'upscal' in [defaults]", "upscale"]),
        ("[presets.x]\npix_fmt = 1", ["unknown key 'pix_fmt' in [presets.x]", "pix-fmt"]),
        ("[presets.x.deblur]\nscale = 1", ["unknown key 'scale' in [presets.x.deblur]"]),
        ("[default]\ncrf = 1", ["unknown key 'default'", "Did you mean [defaults]?"]),
        ("[defaults]\nmask = 'a.png'", ["'mask' in [defaults]", "--mask is for the command line only"]),
        ("[defaults]\nno-audio = 1", ["'no-audio' in [defaults] is 1", "true or false"]),
        ("[defaults]\ncrf = true", ["'crf' in [defaults] is true", "a number or a text"]),
        ("[defaults]\ncrf = [1]", ["'crf' in [defaults] is [1]", "a number or a text"]),
        ("[presets.none]\ncrf = 1", ["cannot be named 'none'"]),
        ("[presets.x]\npreset-name = 'film'", ["'preset-name' in [presets.x]", "cannot name another"]),
        ("[presets.x]\nabout = 3", ["'about' in [presets.x] is 3", "a text"]),
        ("defaults = 3", ["[defaults] is 3", "a table"]),
        ("[presets]\nx = 3", ["[presets.x] is 3", "a table"]),
        ("[defaults", ["cannot read", "TOML"]),
    ],
)
def test_what_is_wrong_is_named_with_its_file_and_key(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as raised:
        load(tmp_path, text)
    for word in (str(tmp_path / "config.toml"), *words):
        assert word in str(raised.value)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"[defaults]\n# \xff\n")
    with pytest.raises(UsageError, match=r"cannot read .*config\.toml"):
        configuration.load(KNOWN)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.mkdir(), "it is a folder, not a file"),
        (lambda path: os.mkfifo(path), "it is a named pipe, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is a device, not a file"),
        (lambda path: path.symlink_to("none"), "No such file or directory"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    ],
)
def test_what_is_no_file_is_not_taken_for_nothing(tmp_path: Path, make: Callable[[Path], None], words: str) -> None:
    make(tmp_path / "config.toml")
    with pytest.raises(UsageError, match=rf"cannot read {tmp_path}/config\.toml: {words}"):
        configuration.load(KNOWN)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("VRX_DEFAULT_CRFF", "1", "VRX_DEFAULT_CRFF is set, but no option is --crff. Did you mean VRX_DEFAULT_CRF"),
        ("VRX_DEFAULT_NO_AUDIO", "maybe", "VRX_DEFAULT_NO_AUDIO is 'maybe'. Use on or off"),
        ("VRX_DEFAULT_START", "1", "VRX_DEFAULT_START is set. --start is for the command line only"),
        ("VRX_CONFIG_FILE", "none.toml", "VRX_CONFIG_FILE is none.toml, which is not a file"),
    ],
)
def test_what_is_wrong_with_a_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError) as raised:
        configuration.load(KNOWN)
    assert words in str(raised.value)


def test_an_unknown_preset_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no preset 'vsh'\. Did you mean --preset-name vhs"):
        configuration.load(KNOWN).resolve("upscale", (), "vsh")


def test_settings_read_as_they_are_typed() -> None:
    found = OptionSet((Setting("crf", "20", "x"), Setting("no-audio", True, "x"), Setting("resume", False, "x")))
    assert " ".join(map(str, found.of("upscale").values())) == "--crf 20 --no-audio --resume false"


def test_names_of_presets_are_known_even_where_the_file_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(TAPE)
    assert configuration.preset_names()[-1] == "tape"
    (tmp_path / "config.toml").write_text("[")
    assert "vhs" in configuration.preset_names()
