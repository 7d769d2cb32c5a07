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
    ("vrx upscale --preset veryf", {"veryfast"}),
    ("vrx ups", {"upscale"}),
    ("vrx upscale --on-", {"--on-done"}),
    ("vrx preview in.mp4 --vary mod", {"model"}),
    ("vrx preview in.mp4 --vary model=infv", {"infvsr"}),
    ("vrx upscale in.mp4 --preview --vary grain=0.5,rem", {"remove"}),
    ("vrx upscale --model=infv", {"infvsr"}),
    ("vrx upscale --device cuda:", {"0"}),
    ("vrx upscale fi", {"file"}),
]
BASH = """
source {script}
complete -p vrx > /dev/null || exit
compopt() {{ :; }}
while IFS= read -r COMP_LINE; do
    COMP_WORDS=($COMP_LINE); [[ "$COMP_LINE" == *" " ]] && COMP_WORDS+=("")
    COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 )); COMP_POINT=${{#COMP_LINE}}
    _vrx_completion vrx "${{COMP_WORDS[-1]}}" "${{COMP_WORDS[-2]}}"
    [[ ${{#COMPREPLY[@]}} == 0 ]] && compgen -f "${{COMP_WORDS[-1]}}"
    printf "%s\\n" "${{COMPREPLY[@]}}"; echo {end}
done
"""
ZSH = """
fpath=({folder}/zsh $fpath); mkdir -p {folder}/zsh; cp {script} {folder}/zsh/_vrx
autoload -Uz compinit; compinit -u -d {folder}/dump
_describe() {{
    local -a found; found=("${{(@P)@[-1]}}"); found=("${{found[@]//\\\\:/=}}")
    print -l -- "${{found[@]%%:*}}"
}}
compadd() {{ print -l -- "${{(@P)@[-1]}}" }}
_files() {{ print -l -- ${{words[-1]}}* }}
compset() {{ : }}
while IFS= read -r line; do
    words=(${{=line}}); [[ "$line" == *" " ]] && words+=("")
    CURRENT=${{#words}}; PREFIX="${{words[-1]}}"
    ${{_comps[vrx]}}
    echo {end}
done
"""
FISH = """
source {script}
while read -l line
    complete -C "$line" | string replace -r "\\t.*" ""
    echo {end}
end
"""
END = "----"
SHELLS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where `vrx` is a command."""
    folder = tmp_path_factory.mktemp("shell")
    write_command(folder)
    (folder / "file").touch()
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
    done = subprocess.run(
        [program, "-c", SHELLS[shell].format(script=script, folder=place, end=END)],
        env=variables,
        input="".join(f"{line}\n" for line, _ in CASES),
        capture_output=True,
        text=True,
        cwd=place,
    )
    answers = done.stdout.split(END)
    assert len(answers) == len(CASES) + 1, done.stderr
    for (line, expected), answer in zip(CASES, answers, strict=False):
        found = set(re.findall(r"[\w-]+", answer))
        assert expected <= found, (line, answer, done.stderr)
        assert not {"embedded", "film", "fp32", "inpaint"} & found, (line, answer)


def test_a_kind_is_offered_once() -> None:
    assert complete_kinds("") == ["all", *FINDABLE]
    assert complete_kinds("dust,") == ["dust,overlays", "dust,scratches", "dust,pixels"]
    assert complete_kinds("dust,sc") == ["dust,scratches"]
