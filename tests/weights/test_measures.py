"""LPIPS and DISTS: downloaded as models are, verified, measured where they are here, and named where they are not."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.networks.test_perceptual import dists, fill, linear, lpips, shares
from tests.pipeline.compare.clips import noisy, scene, write
from tests.weights.hub_server import Hub, Pull, message
from vrx.models.measures import MEASURES, load_entries
from vrx.networks.perceptual import AlexNet, Vgg16

REPO = "someone/measures"
NAMES = {"lpips": ("alexnet.pth", "linear.pth"), "dists": ("vgg.pth", "shares.pth")}


def saved(tensors: dict[str, Tensor], zipped: bool = True) -> bytes:
    """As torch.save writes it, also in the form of before 2020, which VGG-16 is published in."""
    target = io.BytesIO()
    torch.save(tensors, target, _use_new_zipfile_serialization=zipped)
    return target.getvalue()


def classifier(backbone: nn.Module) -> dict[str, Tensor]:
    """A published classifier: convolutions, and a layer that is not used."""
    fill(backbone)
    return {**backbone.state_dict(), "classifier.1.weight": torch.ones(2, 2)}


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """Both measures as they are published, with weights made by a formula."""
    alpha, beta = shares()
    return {
        "alexnet.pth": saved(classifier(AlexNet())),
        "linear.pth": saved(
            {f"lin{n}.model.1.weight": weights.view(1, -1, 1, 1) for n, weights in enumerate(linear())}
        ),
        "vgg.pth": saved(classifier(Vgg16()), zipped=False),
        "shares.pth": saved({"alpha": alpha, "beta": beta}),
    }


@pytest.fixture
def served(hub: Hub, files: dict[str, bytes], tmp_path: Path) -> dict[str, str]:
    """The Hub has them; the variables with which the user's own catalogue names them."""
    text = []
    for name, parts in NAMES.items():
        text += [f"[measures.{name}]", f'family = "{name}"', 'tasks = ["compare"]', 'license = "MIT"', 'source = "Hub"']
        text.append("available = true")
        for role, path in zip(MEASURES[name].components, parts, strict=True):
            hub.files[f"{REPO}/{path}"] = files[path]
            digest = hashlib.sha256(files[path]).hexdigest()
            text += [f"[[measures.{name}.parts]]", f'role = "{role}"', f'repo = "{REPO}"', f'path = "{path}"']
            text.append(f'sha256 = "{digest}"')
    own = tmp_path / "own.toml"
    own.write_text("\n".join(text))
    return {"VRX_WEIGHTS_FILE": str(own)}


def videos(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    truth = scene(2)
    write(folder / "a.mkv", truth)
    write(folder / "b.mkv", noisy(truth))
    return truth, noisy(truth)


def overall(done: CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_what_was_not_downloaded_is_named_with_how_to_get_it(command: Pull, tmp_path: Path, hub: Hub) -> None:
    videos(tmp_path)
    table = " ".join(command("compare", "a.mkv", "b.mkv", VRX_WEIGHTS_FILE="").stdout.split())
    assert "lpips - - not measured: download it with: vrx models pull lpips (244.4 MB)" in table
    assert "dists - - not measured: download it with: vrx models pull dists (553.4 MB)" in table
    without = command("compare", "a.mkv", "b.mkv", "--no-perceptual", VRX_WEIGHTS_FILE="").stdout
    assert "lpips" not in without
    assert hub.asked == []  # a comparison downloads nothing


def test_they_are_pulled_verified_and_measured(command: Pull, served: dict[str, str], tmp_path: Path) -> None:
    truth, other = videos(tmp_path)
    assert command("models", "pull", "lpips", "dists", **served).returncode == 0
    found = overall(command("compare", "a.mkv", "b.mkv", "--json", **served))
    assert found["missing"] == {}
    for name, network in (("lpips", lpips()), ("dists", dists())):
        one, two = (torch.from_numpy(v).permute(0, 3, 1, 2).float() / 255 for v in (truth, other))
        with torch.inference_mode():
            assert found["B"][name] == pytest.approx(float(network(two, one).mean()), rel=1e-3)
        assert name not in found["A"]
    rows = command("compare", "a.mkv", "b.mkv", "--csv", **served).stdout.splitlines()
    assert "lpips,dists" in rows[0]
    small = [write(tmp_path / f"{n}.mkv", noisy(scene(2))[:, :24, :24]) for n in ("c", "d")]
    missing = overall(command("compare", *small, "--json", **served))["missing"]
    assert missing["lpips"] == "below 31 pixels a side"


def test_a_wrong_file_is_refused_and_the_figure_named(
    command: Pull,
    served: dict[str, str],
    tmp_path: Path,
    hub: Hub,
) -> None:
    videos(tmp_path)
    hub.wrong = True
    failed = command("models", "pull", "lpips", **served)
    assert failed.returncode == 4
    assert ".bad). Run again" in message(failed)
    done = command("compare", "a.mkv", "b.mkv", "--json", **served)
    assert done.returncode == 0
    assert set(overall(done)["missing"]) == {"lpips", "dists"}


def test_they_are_models_of_the_catalogue_that_restore_nothing(
    command: Pull, served: dict[str, str], tmp_path: Path
) -> None:
    videos(tmp_path)
    listed = command("models", "list", **served).stdout
    assert "lpips" in listed
    assert "compare" in listed
    assert "can be downloaded" in command("models", "show", "dists", **served).stdout
    refused = command("bench", "--model", "lpips", **served)
    assert refused.returncode != 0
    assert "internal" not in message(refused)
    assert "downloaded, not imported" in message(command("models", "import", "lpips", "x.pth", **served))
    assert "unknown model 'lpips'" in message(command("upscale", "a.mkv", "--model", "lpips", **served))


def test_the_catalogue_has_both_with_their_hashes() -> None:
    entries = load_entries()
    assert set(entries) == set(MEASURES)
    for entry in entries.values():
        assert not entry.missing_roles
        assert all(len(part.sha256) == 64 and part.size and part.downloadable for part in entry.parts)
        assert all(part.sha256.startswith(Path(part.path).stem.rpartition("-")[2]) for part in entry.parts)
