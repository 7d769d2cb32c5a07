"""SwiftVR through the real command: a small checkpoint in the published layout."""

import json
from pathlib import Path

import pytest

from tests.clips import ClipMaker, read
from tests.conftest import Command
from tests.end_to_end.stopping import check_interruption
from tests.models import small
from tests.weights.conftest import command, hub
from tests.weights.hub_server import Hub, Pull

__all__ = ["command", "hub"]  # fixtures
FLAGS = ("--dtype", "fp32", "--codec", "ffv1")
PARTS = {
    "transformer": "transformer/diffusion_pytorch_model.safetensors",
    "reae": "reae.safetensors",
    "prompt_embedding": "prompt_embedding.safetensors",
}
ENTRY = """[models.mine]
family = "swiftvr"
tasks = ["upscale"]
scales = [1, 2, 3, 4]
available = true
license = "Apache-2.0"
source = "Hugging Face Hub"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.swiftvr(tmp_path_factory.mktemp("small") / "model")


def test_it_enlarges_restores_at_the_same_size_and_works_in_tiles(
    vrx: Command, clip: ClipMaker, folder: Path, tmp_path: Path
) -> None:
    path = clip(size=(330, 10), frames=6, audio=True)
    results = {}
    for name, command_words, size in (
        ("x2", ("upscale", path, "-s", "2"), (660, 20)),
        ("same", ("restore", path), (330, 10)),
        ("x1", ("upscale", path, "-s", "1"), (330, 10)),
        ("tiled", ("restore", path, "--tile", "256"), (330, 10)),
        ("int8", ("restore", path, "--dtype", "int8"), (330, 10)),
    ):
        kind = FLAGS if name != "int8" else FLAGS[2:]
        done = vrx(*command_words, "--model", folder, *kind, "-o", "o.mkv", "-y")
        assert done.returncode == 0, done.stderr
        assert "then resized" not in done.stderr
        found = read(tmp_path / "o.mkv")
        assert found.frames.shape == (6, size[1], size[0], 3)
        assert found.kinds == ["video", "audio"]
        results[name] = found.frames
    assert (results["same"] == results["x1"]).all()
    assert (results["same"] != results["tiled"]).any()
    assert (results["same"] != results["int8"]).any()


def test_an_interrupted_run_continues_at_a_scenes_end_with_the_same_bytes(
    vrx: Command, clip: ClipMaker, folder: Path, tmp_path: Path
) -> None:
    clip("long.mkv", frames=23, size=(8, 8), cuts=[8, 20])
    (tmp_path / "cuts.txt").write_text("8\n20\n")
    words = ("restore", "long.mkv", "--model", folder, *FLAGS, "--scenes", "cuts.txt")
    check_interruption(vrx, tmp_path, *words, segment=12, saved=20)


def test_a_scene_begins_anew(vrx: Command, clip: ClipMaker, folder: Path, tmp_path: Path) -> None:
    clip("all.mkv", frames=33, size=(16, 16), cuts=[30])
    clip("first.mkv", frames=30, size=(16, 16))
    (tmp_path / "cuts.txt").write_text("30\n")
    runs = (("two", "all.mkv", "cuts.txt"), ("one", "all.mkv", "off"), ("lone", "first.mkv", "off"))
    for name, source, scenes in runs:
        done = vrx("restore", source, "--model", folder, *FLAGS, "--scenes", scenes, "-o", f"{name}.mkv")
        assert done.returncode == 0, done.stderr
    two, one, lone = (read(tmp_path / f"{name}.mkv").frames for name in ("two", "one", "lone"))
    assert len(two) == len(one) == 33
    assert (two[:30] == lone).all()
    assert (two[30:] != one[30:]).any()


def test_a_catalogue_pulls_verifies_imports_and_runs(
    command: Pull, hub: Hub, clip: ClipMaker, folder: Path, tmp_path: Path
) -> None:
    text = ENTRY
    for role, path in PARTS.items():
        hub.files[f"owner/swift/{path}"] = (folder / path).read_bytes()
        sizes = "sizes = { num_heads = 2 }" if role == "transformer" else ""
        text += f'[[models.mine.parts]]\nrole = "{role}"\nrepo = "owner/swift"\npath = "{path}"\n{sizes}\n'
    (tmp_path / "own.toml").write_text(text)
    own = {"VRX_WEIGHTS_FILE": str(tmp_path / "own.toml")}
    shown = command("models", "show", "swiftvr", **own).stdout
    assert "20.0 GB" in shown
    assert "Apache-2.0" in shown
    assert "swiftvr" in command("models", "list", **own).stdout
    done = command("models", "pull", "mine", **own)
    assert done.returncode == 0, done.stderr
    assert json.loads(command("models", "show", "mine", "--json", **own).stdout)["state"] == "ready"
    done = command("models", "verify", "mine", **own)
    assert done.returncode == 0, done.stderr
    words = ("restore", clip(size=(20, 12), frames=2), *FLAGS, "--offline")
    for name, model in (("pulled", "mine"), ("folder", folder)):
        done = command(*words, "--model", str(model), "-o", f"{name}.mkv", **own)
        assert done.returncode == 0, done.stderr
    pulled, given = (read(tmp_path / f"{name}.mkv").frames for name in ("pulled", "folder"))
    assert pulled.shape == (2, 12, 20, 3)
    assert (pulled == given).all()
    done = command("models", "import", "mine", str(folder / "reae.safetensors"), **own)
    assert done.returncode == 0, done.stderr
