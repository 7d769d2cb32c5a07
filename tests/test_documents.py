"""The documents are true: commands and snippets in them run, tables say what the code says, links lead somewhere."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.clips import ClipMaker
from tests.conftest import EXAMPLES, ROOT
from tests.forked import write_command
from vrx import events
from vrx.cli import app
from vrx.errors import Exit
from vrx.models.registry import FAMILIES
from vrx.weights import catalogue

DOCUMENTS = {
    name: (ROOT / name).read_text()
    for name in (
        "README.md",
        "examples/README.md",
        "vrx/README.md",
        "vrx/models/README.md",
        "vrx/bench/README.md",
        "vrx/train/README.md",
        ".github/CONTRIBUTING.md",
    )
}
LONGEST_README = 120  # lines
NEEDS_A_MODEL = Exit.MODEL  # how a command ends, offline, whose model is not here
STATUS = {
    "vrx models pull flashvsr": NEEDS_A_MODEL,
    "vrx models import instantvir-deblur model.pt": NEEDS_A_MODEL,
    'vrx deblur old.mp4 --model instantvir-deblur --prompt "a man with glasses"': NEEDS_A_MODEL,
    "vrx upscale old.mp4 --model checkpoints/infvsr/": NEEDS_A_MODEL,
}
HEAVY = ("vrx bench", "python3 -m venv", ".ci/run", "vrx doctor")  # measured or tried elsewhere


def blocks(name: str, language: str) -> list[str]:
    """The code blocks of a document."""
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENTS[name], re.M | re.S)


def commands() -> list[str]:
    """Every line of vrx in the documents' shell blocks, without its comment."""
    found = []
    for name in DOCUMENTS:
        for block in blocks(name, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                command = re.sub(r"\s+#.*", "", line).strip()
                if re.search(r"\bvrx\b", command) and "vrx." not in command and not command.startswith(HEAVY):
                    found.append(command)
    return list(dict.fromkeys(found))


def write_mask(path: Path) -> None:
    """A white square on black."""
    pixels = np.zeros((24, 32), np.uint8)
    pixels[4:12, 4:12] = 255
    Image.fromarray(pixels).save(path)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything the documents' commands name, where `vrx` is a command."""
    make = ClipMaker(tmp_path)
    source = make("old.mp4", frames=3, size=(32, 24), codec="mpeg4", audio=True)
    (tmp_path / "examples").mkdir()
    for path in EXAMPLES.iterdir():
        shutil.copy(path, tmp_path / "examples")
    for name in ("soft.mkv", "film.mp4", "in.mp4", "in.mkv", "clips/a.mp4", "more/b.mov", "tree/c.mp4", "FOLDER/d.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, tmp_path / name)
    make("long.mkv", times=[2_000 * number for number in range(45)], size=(32, 24))
    for name in ("logo.png", "m.png", "dust/1.png", "dust/2.png", "dust/3.png", "frames/1.png", "frames/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_mask(tmp_path / name)
    bin_folder = tmp_path / ".bin"
    bin_folder.mkdir()
    write_command(bin_folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{bin_folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("VRX_HOME", str(tmp_path / ".home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def cut_examples(place: Path) -> None:
    """Few frames in place of the long example clips."""
    make = ClipMaker(place / "examples")
    for name in ("flower.mp4", "flower-marked.mp4"):
        make(name, times=[0, 250, 500, 750], size=(320, 180), codec="mpeg4", audio=True)


@pytest.mark.parametrize("command", commands())
def test_commands_run(command: str, place: Path) -> None:
    cut_examples(place)
    command = re.sub(r"\s*\|\s*jq .*", "", command)
    if any(sign in command for sign in "|>;") or not command.startswith("vrx "):
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return
    status = app.run_guarded(shlex.split(command.replace('"more/*.mov"', "'more/*.mov'"))[1:], False)
    assert status == STATUS.get(command, Exit.DONE)


def test_the_documents_have_commands() -> None:
    found = commands()
    assert len(found) >= 20
    assert set(STATUS) <= set(found)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_python_snippets_run(name: str, place: Path) -> None:
    cut_examples(place)
    for number, block in enumerate(blocks(name, "python")):
        if "import vrx" in block:
            exec(compile(block, f"{name}:{number}", "exec"), {})


def test_training_commands_name_options_that_exist() -> None:
    lines = " ".join(blocks("vrx/train/README.md", "sh")).replace("\\\n", " ").splitlines()
    assert len(lines) >= 6
    for line in lines:
        module = re.findall(r"python -m vrx\.train\.(\w+)", line)
        folder = ROOT / "vrx" / "train"
        source = (folder / f"{module[0]}.py").read_text() + (folder / "sources.py").read_text()
        for option in re.findall(r"--[a-z-]+", line):
            assert f'"{option}"' in source, (line, option)


def test_the_readme_is_short() -> None:
    assert len(DOCUMENTS["README.md"].splitlines()) <= LONGEST_README


def test_the_readme_lists_every_exit_code() -> None:
    cells = re.findall(r"\| ([\d, ]+) \|", DOCUMENTS["README.md"])
    listed = {int(code) for cell in cells for code in cell.split(",")}
    assert listed == {int(code) for code in Exit}


def test_the_readme_names_models_that_exist() -> None:
    entries = catalogue.load_file(catalogue.packaged_path(), FAMILIES)
    section = DOCUMENTS["README.md"].split("## Which model")[1].split("## ")[0]
    named = re.findall(r"--model (?!auto)([a-z][\w-]+)\b(?!/)", section) + re.findall(r"^\| `([\w-]+)`", section, re.M)
    assert named
    assert set(named) <= set(entries)


def test_events_are_listed_with_their_fields() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| .* \| (.*?) ?\|$", DOCUMENTS["examples/README.md"], re.M)
    listed = {kind: re.findall(r"`(\w+)`", fields) for kind, fields in rows}
    expected = {
        event.kind: [field.name for field in dataclasses.fields(event) if field.name != "input"]
        for event in events.Event.__subclasses__()
    }
    assert listed == expected


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", DOCUMENTS[name]):
        if not link.startswith("http"):
            assert ((ROOT / name).parent / link).exists(), link


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_that_documents_name_exist(name: str) -> None:
    """Names of modules in code marks, from the package's root or the document's folder."""
    for path in re.findall(r"`([\w/]+\.py)`", DOCUMENTS[name]):
        places = (ROOT, ROOT / "vrx", (ROOT / name).parent)
        known = [place / path for place in places] + list((ROOT / "vrx").rglob(path))
        assert any(candidate.exists() for candidate in known), path
