"""The words that users see: help and error lines are frozen as text, and a list of words does not come back.

A change of a text is a decision: run this file with VRX_UPDATE_TEXTS=1, read the difference, and commit it.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from tests.clips import ClipMaker
from tests.conftest import ROOT
from vrx.cli import app
from vrx.cli.plain_help import PlainHelp

FROZEN = ROOT / "tests" / "data" / "texts"
ERRORS = """
upscale
upscale none.mp4
upscale none.mp4 out.mp4
upscale https://example.com/in.mp4
upscale text.mp4
upscale empty.mp4
upscale folder
upscale nothing*.mp4
upscale in.mkv -s 0.5
upscale in.mkv -s 17
upscale in.mkv -s two
upscale in.mkv --size 1080
upscale in.mkv -s 2 --height 90
upscale in.mkv --sceens off
upscale in.mkv --cores 4
upscale in.mkv --quality 90
upscale in.mkv --gpu
upscale in.mkv --fps 25
upscale in.mkv --fps fast
upscale in.mkv --crop 20x20
upscale in.mkv --crop 100:100:0:0
upscale in.mkv --codec
upscale in.mkv --codec cinepak9
upscale in.mkv --crf best
upscale in.mkv --crf 99
upscale in.mkv --dtype fp4
upscale in.mkv --device gpu
upscale in.mkv --decoder small
upscale in.mkv --color-fix maybe
upscale in.mkv --deinterlace maybe
upscale in.mkv --progress loud
upscale in.mkv --tile 16
upscale in.mkv --seed -1
upscale in.mkv --strength 3
upscale in.mkv --strength much
upscale in.mkv --blend 2
upscale in.mkv --start soon
upscale in.mkv --start 2 --end 1
upscale in.mkv --frames 0
upscale in.mkv --scenes none.csv
upscale in.mkv --scene-threshold 0
upscale in.mkv --stream 7
upscale in.mkv -q -v
upscale in.mkv --preset-name vsh
upscale in.mkv --preset film
presets vsh
upscale in.mkv -y -n
upscale in.mkv -o in.mkv
upscale in.mkv -o there.mkv
upscale in.mkv -o nowhere/out.mkv
upscale in.mkv -o out.xyz
upscale in.mkv -o {name}.mkv
upscale in.mkv -o one.mkv there.mkv
upscale in.mkv --model infsvr
upscale in.mkv --model FlashVSR
upscale in.mkv --model instavsr
upscale in.mkv --model none.safetensors
upscale in.mkv --decoder tiny
upscale in.mkv --tile 512
upscale in.mkv --encoder-args "'"
restore in.mkv -s 2
restore in.mkv --height 100
upscale in.mkv --sigma 1
restore in.mkv --lok sharp
upscale in.mkv -o - --json
deblur in.mkv --sigma 99
deblur in.mkv --sigma much
deblur in.mkv --prompt glasses
deblur in.mkv -s 2
inpaint in.mkv
inpaint in.mkv -m none.png
inpaint in.mkv -m text.mp4
inpaint in.mkv --dilate inf
inpaint in.mkv --dilate 1.5
info
info none.mp4
info none.mp4 gone.mp4
scenes text.mp4
scenes in.mkv --scene-threshold 0
models lst
models show nothing
models verify infvsr
models path infvsr
models rm embedded
models import infvsr none.pt
bench --size big
bench --frames 1
bench --model infvsr
upscal in.mkv
in.mkv
--no-such-option
"""
FORBIDDEN = {  # what a native engineer would not write, and what to write instead
    r"\bhears?\b": "takes, supports",
    r"\b(told|tells?|said|says?)\b": "name the fact itself",
    r"\b(is|are) no\b(?! longer)": "is not a",
    r"\bfault of ours\b": "internal error",
    r"\bstands?\b": "is",
    r"\bgo(es|ing)? on\b": "continue, resume",
    r"\bkept\b": "saved, unchanged",
    r"\bheld\b(?! out)": "name what holds it",
    r"\b(shop|errand|doors?|ledger|rehears\w+)\b": "the field's word",
    r"\bcolours?\b": "color",
    r"\bleave .{1,20} out\b|\bleave out\b": "remove",
    r"\ba line\b": "per line",
    r"\bwhole\b(?! number)": "complete",
    r"\bempty word\b": "empty",
    r"\b(is|already|are) there\b|\bthere already\b": "exists",
    r"\bby hand\b": "download yourself",
    r"\bexclude each other\b|\bcannot both\b": "mutually exclusive",
    r"\bmakes? no sense\b": "unexpected, invalid",
    r"\bno numbers\b": "NaN or Inf",
    r"\bof its own\b": "separate",
    r"\bwhat is (there|to be)\b": "name it",
    r"\bwish(es)?\b": "option, setting",
    r"\bthat is none\b": "not a",
}


def frozen(name: str, text: str) -> None:
    """Compare a text with the frozen one, or freeze it."""
    path = FROZEN / name
    if os.environ.get("VRX_UPDATE_TEXTS"):
        path.write_text(text)
    assert text == path.read_text(), f"{path.name} changed; if that is meant, set VRX_UPDATE_TEXTS=1"


def commands(command: Any, path: str = "vrx") -> Iterator[tuple[str, Any]]:
    """A command and those below it, with what is typed for each."""
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{path} {name}")


def test_help_names_arguments_as_they_are_typed() -> None:
    """Without types of Python, such as <list[str]>, and without braces."""
    assert all(isinstance(command, PlainHelp) for _, command in commands(get_command(app.app)))
    for words, usage in (
        ([], "vrx [OPTIONS] COMMAND"),
        (["compare"], "vrx compare [OPTIONS] A B [REF]"),
        (["models", "pull"], "vrx models pull [OPTIONS] NAME..."),
    ):
        shown = CliRunner().invoke(app.app, [*words, "--help"], prog_name="vrx").output
        assert f"Usage: {usage}" in shown
        assert not re.search(r"<\w+", shown)


def described(path: str, command: Any) -> str:
    """What the help of a command says, without its layout, which is typer's."""
    lines = [path, command.help]
    for p in command.params:
        if p.hidden or p.name in ("help", "install_completion", "show_completion"):
            continue
        names = ", ".join((*p.opts, *p.secondary_opts)) if p.param_type_name == "option" else "argument"
        shown = p.show_default if isinstance(p.show_default, str) else p.default
        default = "" if shown in (None, False) or p.show_default is False else f" [{shown}]"
        panel = f" ({p.rich_help_panel})" if p.rich_help_panel else ""
        lines.append(f"  {names} {(p.metavar or '').strip()}{panel}: {p.help}{default}".replace(" :", ":"))
    return "\n".join([*lines, command.epilog or "", ""])


COMMANDS = dict(commands(get_command(app.app)))


def test_the_words_of_the_help_are_frozen() -> None:
    frozen("help.txt", "\n".join(described(path, command) for path, command in COMMANDS.items()))


@pytest.mark.parametrize("path", COMMANDS)
def test_every_value_has_a_name_and_every_command_two_examples(path: str) -> None:
    command = COMMANDS[path]
    for p in command.params:
        if p.param_type_name == "option" and not p.is_flag and not p.hidden and p.name != "help":
            assert p.metavar, p.name
        assert p.help or p.hidden, p.name
    assert command.epilog.count("\n  ") >= 2
    assert "Exit codes: 0 done" in command.epilog


def test_help_fits_a_terminal_of_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert app.run_guarded(["upscale", "--help"], False) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "auto|bf16|fp16|fp32" in out
    assert "vrx upscale in.mp4 -s 2" in out


def test_error_lines_are_frozen(
    clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    clip("in.mkv", frames=2)
    clip("there.mkv", frames=1)
    (tmp_path / "text.mp4").write_text("once upon a time " * 100)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VRX_HOME", "home")
    monkeypatch.setenv("HF_HUB_CACHE", "hub")
    monkeypatch.setattr("sys.stdin", None)
    found = []
    for line in ERRORS.strip().splitlines():
        capfd.readouterr()
        status = int(app.run_guarded(line.replace('"', "").split(), False))
        out, err = capfd.readouterr()
        assert status, line
        found.append(f"$ vrx {line}\n{err}{out}[{status}]\n")
    frozen("errors.txt", "\n".join(found))


def literals(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The string literals of a module with more than one word, but for docstrings; values in them are dots."""
    docstrings, parts = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            docstrings.add(id(node.body[0].value))  # type: ignore[attr-defined]
        if isinstance(node, ast.JoinedStr):
            parts |= {id(value) for value in node.values}
    for node in ast.walk(tree):
        text = ""
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | parts:
            text = node.value
        if isinstance(node, ast.expr) and " " in text.strip():
            yield node.lineno, text


def forbidden(text: str) -> list[str]:
    """What is wrong with a text."""
    return [f"{m[0]!r} in {text!r}: {better}" for w, better in FORBIDDEN.items() if (m := re.search(w, text))]


def test_forbidden_words_do_not_come_back() -> None:
    """In no literal of the package, in the help, nor in the error lines."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {wrong}"
        for path in sorted((ROOT / "vrx").rglob("*.py"))
        for line, text in literals(ast.parse(path.read_text()))
        for wrong in forbidden(text)
    ]
    found += [wrong for line in (ROOT / "weights.toml").read_text().splitlines() for wrong in forbidden(line)]
    found += [wrong for file in FROZEN.iterdir() for line in file.read_text().splitlines() for wrong in forbidden(line)]
    assert not found, "\n".join(["", *found])


@pytest.mark.parametrize(
    ("option", "words", "choices"),
    [
        ("model", "infv", ["infvsr"]),
        ("device", "cu", ["cuda", "cuda:0"]),
        ("codec", "h2", ["h264", "h265"]),
        ("dtype", "b", ["bf16"]),
        ("decoder", "t", ["tiny"]),
        ("progress", "p", ["plain"]),
        ("scenes", "o", ["off"]),
        ("preset_name", "v", ["vhs"]),
        ("preset_name", "n", ["none"]),
    ],
)
def test_shells_complete_values(option: str, words: str, choices: list[str]) -> None:
    command = COMMANDS["vrx upscale"]
    parameter = next(p for p in command.params if p.name == option)
    with command.make_context("upscale", ["--help"][:0] or [], resilient_parsing=True) as context:
        assert [item.value for item in parameter.shell_complete(context, words)] == choices
