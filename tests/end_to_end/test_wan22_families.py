"""RelayVSR and ReCaVSR through the real command: small checkpoints in the published layouts."""

import json
from pathlib import Path

import pytest

from tests.clips import ClipMaker, read
from tests.conftest import Command
from tests.end_to_end.stopping import check_interruption
from tests.models import small_wan22 as small
from tests.weights.conftest import command, hub
from tests.weights.hub_server import Hub, Pull
from vrx.weights import catalogue

__all__ = ["command", "hub"]  # fixtures
FLAGS = ("--dtype", "fp32", "--codec", "ffv1")


MAKERS = {"relayvsr": small.relayvsr, "recavsr": small.recavsr}
REPOSITORIES = {"relayvsr": ("kopper/RelayVSR", "Apache-2.0"), "recavsr": ("kopper/ReCaVSR", "code Apache-2.0")}


@pytest.fixture(scope="module", params=list(MAKERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKERS[name](tmp_path_factory.mktemp("small") / "model")


def test_one_file_does_what_the_folder_does_and_tiles_change_the_result(
    vrx: Command, clip: ClipMaker, folder: Path, tmp_path: Path
) -> None:
    path = clip(size=(90, 10), frames=19, audio=True)
    done = vrx("models", "convert", folder, "one.safetensors")
    assert done.returncode == 0, done.stderr
    results = []
    for model, words in ((folder, ()), ("one.safetensors", ()), (folder, ("--tile", "256")), (folder, ("-s", "2"))):
        done = vrx("upscale", path, "--model", model, *FLAGS, *words, "-o", "out.mkv", "-y")
        assert done.returncode == 0, done.stderr
        results.append(read(tmp_path / "out.mkv"))
    whole, again, tiled, smaller = results
    assert whole.frames.shape == tiled.frames.shape == (19, 40, 360, 3)
    assert smaller.frames.shape == (19, 20, 180, 3)
    assert whole.kinds == ["video", "audio"]
    assert (whole.frames == again.frames).all()
    assert (whole.frames != tiled.frames).any()


def test_an_interrupted_run_continues_at_a_scenes_end_with_the_same_frames(
    vrx: Command, clip: ClipMaker, folder: Path, tmp_path: Path
) -> None:
    clip("long.mkv", frames=23, size=(8, 8), cuts=[8, 20])
    (tmp_path / "cuts.txt").write_text("8\n20\n")
    words = ("upscale", "long.mkv", "--model", folder, *FLAGS, "--scenes", "cuts.txt")
    check_interruption(vrx, tmp_path, *words, segment=12, saved=20)


def test_a_scene_begins_anew(vrx: Command, clip: ClipMaker, folder: Path, tmp_path: Path) -> None:
    path = clip(frames=28, size=(16, 16), cuts=[24])
    (tmp_path / "cuts.txt").write_text("24\n")
    for name, scenes in (("two", "cuts.txt"), ("one", "off")):
        done = vrx("upscale", path, "--model", folder, *FLAGS, "--scenes", scenes, "-o", f"{name}.mkv")
        assert done.returncode == 0, done.stderr
    two, one = (read(tmp_path / f"{name}.mkv").frames for name in ("two", "one"))
    assert (two[:16] == one[:16]).all()  # the first window of one, within the first block of the other
    assert (two[24] != one[24]).any()


def own_catalogue(folder: Path, name: str, target: Path) -> dict[str, str]:
    """The packaged entry, with the sizes of the small networks that the release has in its code."""
    entry = catalogue.packaged_path().read_text().split(f"[models.{name}]")[1].split("\n[models.")[0]
    sizes = small.RECA if name == "recavsr" else {}
    for role, values in sizes.items():
        router = values.get("static_kv_router")
        rows = ", ".join(f"{key} = {json.dumps(value)}" for key, value in values.items() if not isinstance(value, dict))
        if router:
            rows += f", static_kv_router = {{ layer_actions = {json.dumps(router['layer_actions'])} }}"
        entry = entry.replace(f'role = "{role}"\n', f'role = "{role}"\nsizes = {{ {rows} }}\n')
    target.write_text(f"[models.{name}]{entry}")
    return {"VRX_WEIGHTS_FILE": str(target)}


def test_the_catalogue_pulls_verifies_and_runs(
    command: Pull, hub: Hub, clip: ClipMaker, name: str, folder: Path, tmp_path: Path
) -> None:
    repository, license_words = REPOSITORIES[name]
    for path in folder.glob("*.safetensors"):
        hub.files[f"{repository}/{path.name}"] = path.read_bytes()
    own = own_catalogue(folder, name, tmp_path / "own.toml")
    assert "can be downloaded" in command("models", "show", name, **own).stdout
    assert name in command("models", "list", **own).stdout
    done = command("models", "pull", name, **own)
    assert done.returncode == 0, done.stderr
    assert license_words in " ".join(done.stderr.split())
    assert json.loads(command("models", "show", name, "--json", **own).stdout)["state"] == "ready"
    done = command("models", "verify", name, **own)
    assert done.returncode == 0, done.stderr
    words = ("upscale", clip(size=(20, 12), frames=2), "--model", name, *FLAGS)
    done = command(*words, "--offline", "-o", "out.mkv", **own)
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "out.mkv").frames.shape == (2, 48, 80, 3)


def test_files_that_were_downloaded_by_hand_are_imported(
    vrx: Command, clip: ClipMaker, name: str, folder: Path, tmp_path: Path
) -> None:
    own = own_catalogue(folder, name, tmp_path / "own.toml")
    done = vrx("models", "import", name, folder, env=own)
    assert done.returncode == 0, done.stderr
    words = ("upscale", clip(size=(20, 12), frames=2), *FLAGS, "--offline")
    for number, model in enumerate((name, folder)):
        done = vrx(*words, "--model", model, "-o", f"{number}.mkv", env=own)
        assert done.returncode == 0, done.stderr
    first, second = (read(tmp_path / f"{number}.mkv").frames for number in (0, 1))
    assert (first == second).all()
