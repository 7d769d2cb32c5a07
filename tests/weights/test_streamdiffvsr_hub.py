"""Stream-DiffVSR's entries of the packaged catalogue, from a Hub on loopback that has their published files."""

import hashlib
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.clips import ClipMaker, read
from tests.extras import needs_extra
from tests.models import small
from tests.weights.conftest import configure_client
from tests.weights.hub_server import Hub, Pull, message
from vrx.events import Note
from vrx.models.registry import FAMILIES
from vrx.weights import catalogue
from vrx.weights.download import Downloader

pytestmark = needs_extra
FLOW = "raft_large_C_T_SKHT_V2-ff5fadd5.pth"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.streamdiffvsr(tmp_path_factory.mktemp("published") / "model")


def publish(hub: Hub, folder: Path, repo: str, pickled: bool = False) -> None:
    """Put the files of a folder into a repository, checkpoints as safetensors or pickled."""
    hub.files |= {
        f"{repo}/{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    for name in [name for name in hub.files if pickled and name.endswith(".safetensors")]:
        path = folder / name.removeprefix(f"{repo}/")
        stem = "pytorch_model" if path.stem == "model" else path.stem
        torch.save(load_file(path), folder / "pickled")
        hub.files[f"{name.rpartition('/')[0]}/{stem}.bin"] = (folder / "pickled").read_bytes()
        del hub.files[name]


def own_catalogue(hub: Hub, folder: Path, target: Path) -> Path:
    """The packaged entries, with the small optical flow from this server in place of torchvision's."""
    text = catalogue.packaged_path().read_text()
    entries = re.findall(r"^\[models\.stream-diffvsr.*?(?=^\[models\.(?!stream))", text, re.M | re.S)
    digest = hashlib.sha256((folder / FLOW).read_bytes()).hexdigest()
    found = re.sub(r'url = ".*"', f'url = "{hub.address}/cdn/flow/{FLOW}"', "".join(entries))
    found = re.sub(
        r'^sha256 = ".*"', f'sha256 = "{digest}"', re.sub(r"^size = .*\n", "", found, flags=re.M), flags=re.M
    )
    hub.files[f"flow/{FLOW}"] = (folder / FLOW).read_bytes()
    target.write_text(found)
    return target


@pytest.mark.parametrize(
    ("name", "repo", "pickled"),
    [
        ("stream-diffvsr", "Jamichsu/Stream-DiffVSR", False),
        ("stream-diffvsr-mix", "Jamichsu/Stream-DiffVSR-Mix-Degradation", True),
    ],
)
def test_a_run_pulls_the_published_files(
    command: Pull, hub: Hub, folder: Path, clip: ClipMaker, tmp_path: Path, name: str, repo: str, pickled: bool
) -> None:
    hub.files.clear()
    publish(hub, folder, repo, pickled)
    own = str(own_catalogue(hub, folder, tmp_path / "own.toml"))
    path = clip(size=(40, 24), frames=2)
    words = ("upscale", path, "--model", name, "--codec", "ffv1", "--dtype", "fp32", "-y", "-o")
    done = command(*words, "first.mkv", VRX_WEIGHTS_FILE=own)
    assert done.returncode == 0, done.stderr
    assert f"downloading {repo}/unet/" in message(done)
    assert "license: none stated (derived from Stability's x4 upscaler, OpenRAIL++" in message(done)
    asked = len(hub.asked)
    done = command(*words, "second.mkv", "--offline", VRX_WEIGHTS_FILE=own)
    assert done.returncode == 0, done.stderr
    done = command("models", "verify", name, VRX_WEIGHTS_FILE=own)
    assert done.returncode == 0, done.stderr
    assert len(hub.asked) == asked
    done = command("upscale", path, "--model", folder, "--codec", "ffv1", "--dtype", "fp32", "-o", "third.mkv")
    assert done.returncode == 0, done.stderr
    first, second, third = (read(tmp_path / f"{which}.mkv").frames for which in ("first", "second", "third"))
    assert first.shape == (2, 96, 160, 3)
    assert (first == second).all()
    assert (first == third).all()
    done = command("models", "rm", name, VRX_WEIGHTS_FILE=own)
    assert done.returncode == 0, done.stderr
    assert "can be downloaded" in command("models", "show", name, VRX_WEIGHTS_FILE=own).stdout


def test_the_missing_license_is_said_before_the_first_byte(
    hub: Hub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.files.clear()
    publish(hub, folder, "Jamichsu/Stream-DiffVSR")
    configure_client(monkeypatch, tmp_path, hub.address, offline=False)
    monkeypatch.setenv("VRX_HOME", str(tmp_path / "home"))
    entry = catalogue.load_file(own_catalogue(hub, folder, tmp_path / "own.toml"), FAMILIES)["stream-diffvsr"]
    said: list[tuple[str, int]] = []

    def note(found: Note) -> None:
        said.append((found.text, sum(method == "GET" for method, _, _ in hub.asked)))

    Downloader(models=tmp_path / "models", offline=False, notify=note).provide(entry, set())
    ((text, before),) = said
    assert "license: none stated" in text
    assert "\n" not in text
    assert before == 0


def test_a_part_under_none_of_its_names_is_named_by_the_preferred_one(
    command: Pull, hub: Hub, folder: Path, tmp_path: Path
) -> None:
    hub.files.clear()
    publish(hub, folder, "Jamichsu/Stream-DiffVSR")
    del hub.files["Jamichsu/Stream-DiffVSR/vae/diffusion_pytorch_model.safetensors"]
    own = str(own_catalogue(hub, folder, tmp_path / "own.toml"))
    done = command("models", "pull", "stream-diffvsr", VRX_WEIGHTS_FILE=own)
    assert done.returncode == 4
    assert "the Hub has no file vae/diffusion_pytorch_model.safetensors in Jamichsu/Stream-DiffVSR" in message(done)
