"""Stream-DiffVSR from a small checkpoint in the published folders."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vrx
from tests.clips import ClipMaker, read
from tests.conftest import Command
from tests.end_to_end.stopping import check_interruption
from tests.extras import needs_extra
from tests.models import small
from vrx.bench import stages
from vrx.models.base import DeviceChunk, SceneStart
from vrx.models.family import BuildRequest
from vrx.models.loader import detect_family, read_folder
from vrx.models.registry import FAMILIES
from vrx.models.runner import SceneRunner
from vrx.models.streamdiffvsr import StreamDiffVsrModel, load
from vrx.networks.diffvsr.autoencoder import TemporalConfig
from vrx.networks.diffvsr.unet import ControlConfig, UnetConfig
from vrx.settings import ModelSettings, RestoreSettings, Task

pytestmark = needs_extra
SIZES: dict[str, Any] = {"block_out_channels": (8, 16, 16, 24), "layers_per_block": 1, "norm_num_groups": 4}
SMALLER = {
    "unet": UnetConfig(**SIZES, attention_head_dim=4),
    "controlnet": ControlConfig(**SIZES, attention_head_dim=4, conditioning_embedding_out_channels=(4, 8, 12)),
    "temporal_autoencoder": TemporalConfig(channels=8),
}


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


@torch.inference_mode()
def test_what_stays_in_float32_in_half_precision(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRX_HOME", str(tmp_path))
    frames = torch.rand(2, 3, 20, 36, generator=torch.Generator().manual_seed(1))
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        request = BuildRequest(read_folder(folder), ModelSettings(), torch.device("cpu"), dtype)
        model = load(request)
        assert model.networks.unet.dtype == model.networks.control.dtype == model.networks.unet.rows.dtype == dtype
        assert model.flow.dtype == torch.float32
        runner = SceneRunner(model.restorer(RestoreSettings(task=Task.UPSCALE, scale=4)))
        runner.start(SceneStart(0, (20, 36), (80, 144)))
        found[dtype] = torch.cat([runner.step(DeviceChunk(frame)).frames for frame in frames.split(1)])
        assert runner.runners["restore"].state.previous.dtype == torch.float32
    assert (found[torch.bfloat16] - found[torch.float32]).abs().max() < 0.02


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


def test_an_interrupted_run_continues_with_the_same_frames(
    vrx: Command, clip: ClipMaker, folder: Path, tmp_path: Path
) -> None:
    clip(size=(40, 24), frames=9, cuts=[5])
    words = ("upscale", "clip.mkv", "--model", folder, "--codec", "ffv1", "--dtype", "fp32", "--seed", "3")
    check_interruption(vrx, tmp_path, *words, segment=2, saved=2)
    assert read(tmp_path / "whole.mkv").frames.shape == (9, 96, 160, 3)


def test_bench_times_the_stages_with_random_weights(vrx: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    family = FAMILIES["stream-diffvsr"]
    components = {
        role: replace(part, published=SMALLER.get(role, part.published)) for role, part in family.components.items()
    }
    monkeypatch.setitem(FAMILIES, "stream-diffvsr", replace(family, components=components))
    monkeypatch.setattr(stages, "matrix_rate", lambda *_: 1e12)  # measuring the machine takes most of the time
    monkeypatch.setattr(stages, "bandwidth", lambda *_: 1e10)
    words = ("--model", "stream-diffvsr", "--random-weights", "--size", "160x128", "--json")
    done = vrx("bench", *words, "--dtype", "fp32")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [row["stage"] for row in result["rows"]] == ["flow", "restore"]
    assert all(row["operations"] > 1e6 and row["seconds"] > 0 for row in result["rows"])
    assert result["parameters"] > 5_257_536  # the optical flow's are of full size
