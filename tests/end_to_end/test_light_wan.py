"""SwiftVR and FastVR through the real command: small checkpoints in the published layouts."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clips import ClipMaker, read
from tests.conftest import Command
from tests.end_to_end.stopping import check_interruption
from tests.models import small
from tests.weights.conftest import command, hub
from tests.weights.hub_server import Hub, Pull
from vrx.weights import catalogue

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


MAKERS = {"swiftvr": small.swiftvr, "fastvr": small.fastvr}


@pytest.fixture(scope="module", params=list(MAKERS))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKERS[request.param](tmp_path_factory.mktemp("small") / "model")


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
        ("fp8", ("restore", path, "--dtype", "fp8"), (330, 10)),
    ):
        kind = FLAGS[2:] if name in ("int8", "fp8") else FLAGS
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
    assert (results["same"] != results["fp8"]).any()
    assert (results["int8"] != results["fp8"]).any()


def test_an_interrupted_run_continues_at_a_scenes_end_with_the_same_frames(
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


def test_a_catalogue_pulls_verifies_imports_and_runs(command: Pull, hub: Hub, clip: ClipMaker, tmp_path: Path) -> None:
    text, folder = ENTRY, small.swiftvr(tmp_path / "model")
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


def test_fastvrs_entry_pulls_what_has_no_index_and_a_prompt_from_elsewhere(
    command: Pull, hub: Hub, clip: ClipMaker, tmp_path: Path
) -> None:
    folder = small.fastvr(tmp_path / "model")
    entry = catalogue.packaged_path().read_text().split("[models.fastvr]")[1].split("\n[models.")[0]
    entry = entry.replace("https://raw.githubusercontent.com", f"{hub.address}/cdn")
    entry = entry.replace('role = "transformer"\n', 'role = "transformer"\nsizes = { num_heads = 2 }\n')
    (tmp_path / "own.toml").write_text(f"[models.fastvr]{entry}")
    own = {"VRX_WEIGHTS_FILE": str(tmp_path / "own.toml")}
    for path in folder.glob("*.safetensors"):
        hub.files[f"chenxx89/FastVR/{path.name}"] = path.read_bytes()
    address = next(line.split('"')[1] for line in entry.splitlines() if line.startswith("url"))
    hub.files[address.split("/cdn/")[1]] = (folder / "empty_prompt.pt").read_bytes()
    shown = command("models", "show", "fastvr", **own).stdout
    assert "can be downloaded" in shown
    assert "code Apache-2.0" in shown
    path = clip(size=(20, 12), frames=2)
    done = command("restore", path, *FLAGS, "--model", "fastvr", "--offline", "-o", "none.mkv", **own)
    assert done.returncode == 4
    assert "is not on this machine" in done.stderr
    done = command("models", "pull", "fastvr", **own)
    assert done.returncode == 0, done.stderr
    assert json.loads(command("models", "show", "fastvr", "--json", **own).stdout)["state"] == "ready"
    done = command("models", "verify", "fastvr", **own)
    assert done.returncode == 0, done.stderr
    for name, model in (("pulled", "fastvr"), ("folder", folder)):
        done = command("restore", path, *FLAGS, "--offline", "--model", str(model), "-o", f"{name}.mkv", **own)
        assert done.returncode == 0, done.stderr
    pulled, given = (read(tmp_path / f"{name}.mkv").frames for name in ("pulled", "folder"))
    assert pulled.shape == (2, 12, 20, 3)
    assert (pulled == given).all()
    done = command("models", "rm", "fastvr", **own)
    assert done.returncode == 0, done.stderr
    done = command("models", "import", "fastvr", str(folder), **own)
    assert done.returncode == 0, done.stderr
    done = command("restore", path, *FLAGS, "--offline", "--model", "fastvr", "-o", "again.mkv", **own)
    assert done.returncode == 0, done.stderr
    assert (read(tmp_path / "again.mkv").frames == given).all()


def test_ten_bits_and_one_file(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    folder = small.fastvr(tmp_path / "model")
    path = clip("ten.mkv", size=(40, 24), frames=5, pix_fmt="yuv420p10le")
    done = vrx("models", "convert", folder, "one.safetensors")
    assert done.returncode == 0, done.stderr
    for name, model in (("a", folder), ("b", "one.safetensors")):
        done = vrx("upscale", path, "-s", "3", "--model", model, *FLAGS, "--color-fix", "wavelet", "-o", f"{name}.mkv")
        assert done.returncode == 0, done.stderr
    first, second = (read(tmp_path / f"{name}.mkv") for name in ("a", "b"))
    assert first.frames.shape == (5, 72, 120, 3)
    assert (first.frames == second.frames).all()
    assert "10" in str(vrx("info", "a.mkv").stdout)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.unlink(), "lacks dit-00002-of-00002.safetensors, one of its 2 files"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "is truncated or corrupt"),
        (lambda path: path.write_bytes(path.with_name("dit-00001-of-00002.safetensors").read_bytes()), "both hold"),
    ],
)
def test_a_shard_that_is_wrong_is_one_line(
    vrx: Command, clip: ClipMaker, tmp_path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    folder = small.fastvr(tmp_path / "model")
    spoil(folder / "dit-00002-of-00002.safetensors")
    done = vrx("restore", clip(size=(8, 8), frames=1), "--model", folder, *FLAGS, "-o", "out.mkv")
    assert done.returncode == 4
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.mkv").exists()
