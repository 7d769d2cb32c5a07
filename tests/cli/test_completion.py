"""Completion in real shells: what is offered after what has been typed, with the scripts that vrx prints."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.forked import write_command
from vrx.cli.completion import complete_kinds
from vrx.pipeline.mask.finds import FINDABLE

CASES = [
    ("vrx upscale --model infv", {"infvsr"}),
    ("vrx models show instantvir-d", {"instantvir-deblur"}),
    ("vrx upscale --preset-name v", {"vhs"}),
    ("vrx upscale --dtype b", {"bf16"}),
    ("vrx deblur --denoise ", {"auto", "off"}),
    ("vrx upscale --grain k", {"keep"}),
    ("vrx mask --find dust,p", {"dust", "pixels"}),
    ("vrx ups", {"upscale"}),
    ("vrx upscale --on-", {"--on-done"}),
]
BASH = """
source {script}
COMP_WORDS=($LINE); [[ "$LINE" == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
complete -p vrx > /dev/null && _vrx_completion vrx "${{COMP_WORDS[-1]}}" "${{COMP_WORDS[-2]}}"
printf "%s\\n" "${{COMPREPLY[@]}}"
"""
ZSH = """
autoload -Uz compinit; compinit -u -d {folder}/dump
source {script}
_arguments() {{ printf "%s\\n" "${{@[-1]}}" }}
_describe() {{ local -a found; found=(${{(P)@[-1]}}); printf "%s\\n" "${{found[@]%%:*}}" }}
words=(${{=LINE}}); [[ "$LINE" == *" " ]] && words+=("")
CURRENT=${{#words}}
_vrx_completion
"""
FISH = """
source {script}
complete -C "$LINE" | string replace -r "\\t.*" ""
"""
SHELLS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where `vrx` is a command."""
    folder = tmp_path_factory.mktemp("shell")
    write_command(folder)
    return folder


def environment(place: Path) -> dict[str, str]:
    path = f"{place}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(place), "PYTHONPATH": str(ROOT), "VRX_HOME": str(place), "TERM": "dumb"}


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_complete_commands_options_and_values(shell: str, place: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    variables = environment(place)
    script = place / f"vrx.{shell}"
    shown = subprocess.run(
        ["vrx"], env={**variables, "_VRX_COMPLETE": f"source_{shell}"}, capture_output=True, text=True, check=True
    )
    script.write_text(shown.stdout)
    for line, expected in CASES:
        done = subprocess.run(
            [program, "-c", SHELLS[shell].format(script=script, folder=place)],
            env={**variables, "LINE": line},
            capture_output=True,
            text=True,
            cwd=place,
        )
        found = set(re.findall(r"[\w-]+", done.stdout))
        assert expected <= found, (line, done.stdout, done.stderr)
        assert not {"embedded", "film", "fp32", "inpaint"} & found, (line, done.stdout)


def test_a_kind_is_offered_once() -> None:
    assert complete_kinds("") == ["all", *FINDABLE]
    assert complete_kinds("dust,") == ["dust,overlays", "dust,scratches", "dust,pixels"]
    assert complete_kinds("dust,sc") == ["dust,scratches"]
