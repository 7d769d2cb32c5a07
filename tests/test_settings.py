"""What is taken from the surroundings, where they lack something too."""

import os
import pwd
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from vrx.environment import Environment, keep_compiled, sleep_while_waiting
from vrx.errors import UsageError
from vrx.folders import NO_HOME
from vrx.geometry import Box, Length, TimeRange, parse_box, parse_mask
from vrx.settings import ModelSettings, OutputSettings, SelectionSettings, parse_time, to_seconds
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


@pytest.mark.skipif(sys.platform != "linux", reason="the folders of Linux")
def test_folders_on_linux_are_those_of_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("VRX_HOME", "VRX_WEIGHTS_FILE", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    found = Environment.read()
    assert found.models == tmp_path / ".local" / "share" / "vrx" / "models"
    assert found.cache == tmp_path / ".cache" / "vrx"
    assert (found.weights, found.weights_named) == (tmp_path / ".config" / "vrx" / "weights.toml", False)
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    found = Environment.read()
    assert found.models == tmp_path / "DATA" / "vrx" / "models"
    assert found.cache == tmp_path / "CACHE" / "vrx"
    assert found.weights == tmp_path / "CONFIG" / "vrx" / "weights.toml"
    assert (found.config, found.config_named) == (tmp_path / "CONFIG" / "vrx" / "config.toml", False)


def test_one_variable_moves_all_folders_and_another_names_the_catalogue(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("VRX_WEIGHTS_FILE", raising=False)
    monkeypatch.setenv("VRX_HOME", str(tmp_path))
    found = Environment.read()
    assert (found.models, found.cache) == (tmp_path / "models", tmp_path / "cache")
    assert (found.weights, found.weights_named) == (tmp_path / "weights.toml", False)
    monkeypatch.setenv("VRX_WEIGHTS_FILE", "own.toml")
    found = Environment.read()
    assert (found.weights, found.weights_named) == (Path("own.toml"), True)
    monkeypatch.setenv("VRX_CONFIG_FILE", "night.toml")
    monkeypatch.setenv("VRX_DEFAULT_CRF", "18")
    found = Environment.read()
    assert (found.config, found.config_named) == (Path("night.toml"), True)
    assert found.defaults == {"VRX_DEFAULT_CRF": "18"}


@pytest.mark.parametrize(
    ("option", "field"),
    [("--dtype", {"dtype": "fp4"}), ("--prefer", {"prefer": "price"}), ("--decoder", {"decoder": "big"})],
)
def test_values_outside_a_closed_set_are_refused_from_python_too(option: str, field: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=f"{option} is .* Choose auto, "):
        ModelSettings(**field)  # type: ignore[arg-type]


def test_what_is_preferred_of_all_models_does_not_go_with_one() -> None:
    with pytest.raises(UsageError, match=r"--prefer and --model embedded are mutually exclusive\. Remove one"):
        ModelSettings(name="embedded", prefer="speed")


@pytest.mark.parametrize("time", [float("nan"), float("inf"), [1], True])
def test_times_from_python_are_finite_numbers(time: Any) -> None:
    with pytest.raises(UsageError, match="invalid time"):
        to_seconds(time)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (SelectionSettings, {"frames": 2.5}),
        (SelectionSettings, {"stream": "0"}),
        (SelectionSettings, {"scene_threshold": "27"}),
        (OutputSettings, {"crf": "18"}),
        (ModelSettings, {"seed": 1.5}),
        (ModelSettings, {"tile": 512}),
    ],
)
def test_numbers_from_python_are_numbers(settings: Any, field: dict[str, Any]) -> None:
    name = next(iter(field)).replace("_", "-")
    with pytest.raises(UsageError, match=f"--{name} is "):
        settings(**field)


def test_encoder_arguments_from_python_are_words() -> None:
    with pytest.raises(UsageError, match="encoder_args is one text"):
        OutputSettings(encoder_args="-g 25")  # type: ignore[arg-type]


def test_the_hubs_cache_is_where_its_library_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert hub.cache_folder() == tmp_path


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12.5", "25/2"), ("10s", "10"), ("1500ms", "3/2"), ("01:02:03.250", "14893/4"), ("2:05", "125"), ("0", "0")],
)
def test_times_are_exact(text: str, seconds: str) -> None:
    assert parse_time(text) == Fraction(seconds)


@pytest.mark.parametrize("text", ["", "abc", "-3", "1:2:3:4", "5 minutes", "1e9"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_time(text)


def test_boxes_are_in_pixels_or_percent_and_for_a_part_of_the_time() -> None:
    plain = Box(Length(10), Length(20.5), Length(30), Length(5))
    assert parse_box("10,20.5,30,5") == plain
    assert parse_box(" 10, 20.5, 30, 5 ") == plain
    half = parse_box("5%,0,50%,10%@0:10-1:00.5")
    assert (half.left, half.width) == (Length(5, percent=True), Length(50, percent=True))
    assert (half.start, half.end) == (Fraction(10), Fraction("60.5"))
    assert (parse_box("0,0,1,1@-5").end, parse_box("0,0,1,1@5-").start) == (Fraction(5), Fraction(5))
    assert half.left.pixels(640) == 32
    assert parse_box("0%,0%,100%,100%").width == Length(100, percent=True)
    assert [half.holds(Fraction(second)) for second in (9, 10, 60, 61)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("10,20,30", "--box is '10,20,30'"),
        ("-1,0,3,3", "--box is '-1,0,3,3'"),
        ("a,b,c,d", "Use X,Y,WIDTH,HEIGHT"),
        ("1,1,0,5", "is empty"),
        ("10%,10%,100.1%,10%", "has more than 100 percent"),
        ("1,1,5,5@9-3", "ends before it begins"),
        ("1,1,5,5@1:2:3:4-", "invalid time"),
        ("", "--box is ''"),
    ],
)
def test_other_boxes_are_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        parse_box(text)


@pytest.mark.parametrize(
    ("value", "expected"), [(None, True), ("on", True), ("off", False), ("OFF", False), ("0", False)]
)
def test_falling_back_is_on_unless_switched_off(
    value: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VRX_FALLBACK", raising=False)
    if value is not None:
        monkeypatch.setenv("VRX_FALLBACK", value)
    assert Environment.read().fallback is expected


def test_the_compiler_keeps_its_work_where_it_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "mine")
    assert keep_compiled(tmp_path / "a") == Path("mine")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    assert keep_compiled(tmp_path / "b") == tmp_path / "b"
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "b")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    (tmp_path / "file").touch()
    assert keep_compiled(tmp_path / "file" / "c") is None
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ


def test_waiting_threads_sleep_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    sleep_while_waiting()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    sleep_while_waiting()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.delenv("OMP_WAIT_POLICY")


def test_the_command_has_them_sleep_before_torch_is_loaded() -> None:
    code = (
        "import os, sys; from vrx.cli import app\n"
        "app.run_guarded = lambda *_: print('torch' in sys.modules, os.environ['OMP_WAIT_POLICY']) or 0\n"
        "app.main()"
    )
    variables = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, env=variables)
    assert done.stdout.split() == ["False", "PASSIVE"]


def test_a_word_that_a_variable_does_not_take_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    variable = "VRX_FALLBACK"
    monkeypatch.setenv(variable, "maybe")
    with pytest.raises(UsageError, match=f"{variable} is 'maybe'. Choose .*on or off"):
        Environment.read()


def test_masks_are_paths_and_may_hold_for_a_part_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_mask("logo.png") == (Path("logo.png"), TimeRange())
    assert parse_mask("logo.png@0:10-0:20.5") == (Path("logo.png"), TimeRange(Fraction(10), Fraction("20.5")))
    assert parse_mask("a@b.png@5-") == (Path("a@b.png"), TimeRange(Fraction(5), None))
    assert parse_mask("me@home.png") == (Path("me@home.png"), TimeRange())
    Path("odd@1-2").touch()
    assert parse_mask("odd@1-2") == (Path("odd@1-2"), TimeRange())
    with pytest.raises(UsageError, match="ends before it begins"):
        parse_mask("logo.png@9-3")
    with pytest.raises(UsageError, match="invalid time"):
        parse_mask("logo.png@1:2:3:4-")
