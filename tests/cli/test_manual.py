"""The manual page: everything that the help says, in correct roff."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from tests.cli.test_texts import COMMANDS
from tests.conftest import ROOT, Command
from vrx.cli import manual
from vrx.cli.app import app
from vrx.cli.options import FLAG
from vrx.cli.usage import ORDER

PAGE = manual.manual(get_command(app))


def shown(page: str) -> str:
    """The page as man(1) shows it, in one line."""
    done = subprocess.run(
        ["mandoc", "-T", "utf8", "-O", "width=200"], input=page, capture_output=True, text=True, check=True
    )
    text = subprocess.run(["col", "-b"], input=done.stdout, capture_output=True, text=True, check=True).stdout
    return " ".join(text.replace("\u2010", "-").split())


def test_every_option_and_command_is_in_it() -> None:
    assert rf"\fBvrx preview\fP {manual.italic('[upscale|deblur|inpaint] INPUT...')}" in PAGE
    for path, command in COMMANDS.items():
        if command.hidden or path == "vrx":
            continue
        assert f".SS {manual.escape(path)}\n" in PAGE
        for parameter in command.params:
            if not parameter.hidden and parameter.name != "help":
                assert manual.escape(parameter.help) in PAGE, (path, parameter.name)


def test_the_command_and_the_module_print_it(vrx: Command) -> None:
    assert vrx("manual").stdout == PAGE
    done = subprocess.run(
        [sys.executable, "-m", "vrx.cli.manual"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == PAGE
    assert "vrx manual" not in PAGE  # it is hidden in the help, too


def test_letters_that_roff_interprets_are_escaped() -> None:
    assert manual.escape(".a 'b' -c \\d") == r"\&.a \(aqb\(aq \-c \ed"
    assert "\n'" not in PAGE


@pytest.mark.skipif(shutil.which("mandoc") is None or shutil.which("col") is None, reason="mandoc is not installed")
def test_mandoc_finds_nothing_wrong_and_shows_what_was_meant(tmp_path: Path) -> None:
    page = tmp_path / "vrx.1"
    page.write_text(PAGE)
    lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True)
    assert [line for line in lint.stdout.splitlines() if "missing date" not in line] == []  # pages repeat byte for byte
    text = shown(PAGE)
    assert "vrx - restore videos and pictures: enlarge, deblur, inpaint" in text
    assert "vrx compare [OPTION]... A B [REF]" in text
    assert "-s, --scale FACTOR Enlarge both sides by this: 2, 3, 4, or between. [default: 4]" in text
    assert "141 Broken pipe." in text


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_man_shows_it_without_a_warning(tmp_path: Path) -> None:
    page = tmp_path / "vrx.1"
    page.write_text(PAGE)
    done = subprocess.run(
        ["man", "--warnings", "-l", page], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "VRX(1)" in done.stdout


def test_commands_come_in_the_order_of_a_restoration() -> None:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    shown_names = [name for name, command in group.commands.items() if not command.hidden]
    assert shown_names == list(ORDER)
    assert [PAGE.index(f".SS vrx {name}\n") for name in ORDER if name not in ("preview", "models")] == sorted(
        PAGE.index(f".SS vrx {name}\n") for name in ORDER if name not in ("preview", "models")
    )


def test_flags_take_no_value_in_the_help() -> None:
    flags = [
        (path, parameter.name)
        for path, command in COMMANDS.items()
        for parameter in command.params
        if getattr(parameter, "is_flag", False) and parameter.metavar != FLAG
        if parameter.name not in ("help", "install_completion", "show_completion")
    ]
    assert flags == []
