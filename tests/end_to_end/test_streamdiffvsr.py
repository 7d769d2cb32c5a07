"""Stream-DiffVSR from a small checkpoint in the published folders."""

from pathlib import Path

import numpy as np
import pytest
import torch

import vrx
from tests.clips import ClipMaker, read
from tests.conftest import Command
from tests.extras import needs_extra
from tests.models import small
from vrx.models.base import DeviceChunk, SceneStart
from vrx.models.family import BuildRequest
from vrx.models.loader import detect_family, read_folder
from vrx.models.runner import SceneRunner
from vrx.models.streamdiffvsr import StreamDiffVsrModel, load
from vrx.settings import ModelSettings, RestoreSettings, Task

pytestmark = needs_extra


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.streamdiffvsr(tmp_path_factory.mktemp("small") / "model")


@pytest.fixture
def loaded(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StreamDiffVsrModel:
    monkeypatch.setenv("VRX_HOME", str(tmp_path))
    request = BuildRequest(read_folder(folder), ModelSettings(), torch.device("cpu"), torch.float32)
    return load(request)


def test_sizes_come_from_the_configs_beside_the_files(folder: Path, loaded: StreamDiffVsrModel) -> None:
    assert detect_family(folder) == "stream-diffvsr"
    assert loaded.networks.unet.library.config.norm_num_groups == 4
    assert loaded.networks.control.library.config.attention_head_dim == 4
    assert loaded.networks.unet.rows.shape == (1, 77, small.TEXT)


@torch.inference_mode()
def test_an_interrupted_scene_continues_with_the_same_frames(loaded: StreamDiffVsrModel) -> None:
    frames = torch.rand(3, 3, 20, 36, generator=torch.Generator().manual_seed(1))
    scene = SceneStart(0, (20, 36), (80, 144))
    restorer = loaded.restorer(RestoreSettings(task=Task.UPSCALE, scale=4))
    runner = SceneRunner(restorer)
    runner.start(scene)
    whole = [runner.step(DeviceChunk(frame)).frames for frame in frames.split(1)]
    runner.start(scene)
    first = runner.step(DeviceChunk(frames[:1])).frames
    saved = runner.save()
    runner.step(DeviceChunk(frames[2:]))  # another future
    runner.load(scene, saved)
    rest = [runner.step(DeviceChunk(frame)).frames for frame in frames[1:].split(1)]
    assert whole[0].shape == (1, 3, 80, 144)
    assert torch.equal(torch.cat([first, *rest]), torch.cat(whole))


def test_a_cut_begins_anew(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRX_HOME", str(tmp_path))
    model = vrx.load_model(folder, device="cpu", dtype="fp32")
    rng = np.random.default_rng(1)
    frames = [rng.integers(0, 256, (20, 36, 3), np.uint8) for _ in range(2)]
    cut = list(model.upscale(frames, scale=4, scenes=[1]))
    led = list(model.upscale(frames, scale=4, scenes="off"))
    assert (cut[0] == led[0]).all()
    assert (cut[1] != led[1]).any()
    assert cut[1].shape == (80, 144, 3)


def test_the_folder_and_one_file_of_it_restore_a_clip(
    vrx: Command, clip: ClipMaker, folder: Path, tmp_path: Path
) -> None:
    path = clip(size=(40, 24), frames=2, audio=True)
    done = vrx("models", "convert", folder, "one.safetensors")
    assert done.returncode == 0, done.stderr
    results = []
    for model in (folder, "one.safetensors"):
        done = vrx(
            "upscale", path, "--model", model, "-s", "2", "--codec", "ffv1", "--dtype", "fp32", "-o", "out.mkv", "-y"
        )
        assert done.returncode == 0, done.stderr
        assert "resized to 2 times the source" in " ".join(done.stderr.split())
        results.append(read(tmp_path / "out.mkv"))
    assert results[0].frames.shape == (2, 48, 80, 3)
    assert results[0].kinds == ["video", "audio"]
    assert (results[0].frames == results[1].frames).all()
