"""SATB-VR through the real command: a small checkpoint in the published layout."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.clips import ClipMaker, read
from tests.conftest import Command
from tests.end_to_end.stopping import check_interruption
from tests.extras import needs_extra
from tests.models import small_satbvr as small
from tests.models.small import TEXT
from tests.weights.conftest import command, hub
from tests.weights.hub_server import Hub, Pull
from vrx.errors import ModelError
from vrx.models.base import DeviceChunk, SceneStart
from vrx.models.checkpoints import import_checkpoint
from vrx.models.family import BuildRequest
from vrx.models.loader import detect_family, load_model, published_sizes, read_folder
from vrx.models.loader import entry_from_path as entry
from vrx.models.registry import FAMILIES
from vrx.models.runner import SceneRunner
from vrx.models.satbvr import memory
from vrx.models.satbvr.model import SatbVrModel, load_adapter, load_control, load_denoiser
from vrx.networks.satbvr.adapters import SETTINGS
from vrx.settings import ModelSettings, RestoreSettings, Task
from vrx.weights import catalogue

pytestmark = needs_extra
__all__ = ["command", "hub"]  # fixtures
SOURCE = (12, 20)
FASTEST = ("--steps", "1", "--guidance", "1", "--dtype", "fp32", "--codec", "ffv1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.satbvr(tmp_path_factory.mktemp("small") / "model")


def load(folder: Path, free: int | None = None, **settings: object) -> SatbVrModel:
    model = ModelSettings(steps=1, **settings)  # type: ignore[arg-type]
    request = BuildRequest(read_folder(folder), model, torch.device("cpu"), torch.float32, free=lambda: free)
    found = load_model(entry(folder), request)
    assert isinstance(found, SatbVrModel)
    return found


@torch.inference_mode()
def restore(model: SatbVrModel) -> torch.Tensor:
    runner = SceneRunner(model.restorer(RestoreSettings(task=Task.UPSCALE, scale=2)))
    runner.start(SceneStart(0, SOURCE, (24, 40)))
    return runner.step(DeviceChunk(torch.rand(1, 3, *SOURCE, generator=torch.Generator().manual_seed(0)))).frames


def test_roles_sizes_schedule_and_adapters_come_from_the_published_layout(folder: Path) -> None:
    assert detect_family(folder) == "satb-vr"
    found = load(folder)
    denoiser = found.sampler.denoiser
    assert denoiser.config.num_attention_heads == small.BACKBONE["num_attention_heads"]
    assert len(found.sampler.control.blocks) == small.CONTROL_LAYERS
    assert found.autoencoder.config.norm_num_groups == 4
    adapted = denoiser.transformer_blocks[0].attn1.to_q  # type: ignore[union-attr]
    assert {name: layer.weight.shape[0] for name, layer in adapted.lora_A.items()} == {"predictor": 2, "denoiser": 3}  # type: ignore[union-attr, operator]
    assert found.sampler.prompts.positive.shape == (1, 12, TEXT)
    assert not torch.equal(found.sampler.prompts.positive, found.sampler.prompts.negative)


def test_layers_that_wait_on_the_host_give_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = restore(load(folder))
    short = load(folder, free=1)
    assert [len(ring.layers) for ring in short.memory.rings] == [small.BACKBONE["num_layers"], small.CONTROL_LAYERS]
    monkeypatch.setattr(memory.Memory, "needs_tiles", lambda self, pixels: False)
    assert torch.equal(restore(short), expected)
    later = load(folder, free=int(80e9))
    assert not later.memory.rings
    later.memory.offload_weights()
    assert torch.equal(restore(later), expected)


def test_parts_of_another_size_and_damaged_adapters_are_refused(folder: Path, tmp_path: Path) -> None:
    found = read_folder(folder)
    denoiser = load_denoiser(found)
    denoiser.config = replace(denoiser.config, text_embed_dim=8)
    with pytest.raises(ModelError, match=r"controlnet.* does not fit the transformer: .*text_embed_dim"):
        load_control(found, denoiser)
    adapter = {**found.files, "lora_predictor": found.files["prompt_embeds"]}
    with pytest.raises(ModelError, match=r"cannot use the adapter .*prompt_embeds\.pt: the tensor tensor is not"):
        load_adapter(replace(found, files=adapter), "lora_predictor", denoiser, "predictor")
    path = tmp_path / "pytorch_lora_weights.safetensors"
    save_file({name: tensor / 0 for name, tensor in small.lora(48, 2).items()}, path)
    with pytest.raises(ModelError, match=r"pytorch_lora_weights\.safetensors: .*NaN or Inf"):
        load_adapter(replace(found, files={"lora_predictor": path}), "lora_predictor", denoiser, "predictor")


def test_an_imported_adapter_keeps_its_scale(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRX_HOME", str(tmp_path))
    path = tmp_path / "lora_transformer" / "pytorch_lora_weights.safetensors"
    path.parent.mkdir()
    notes = {SETTINGS: json.dumps({"r": 3, "lora_alpha": 6}), "format": "pt"}
    save_file(small.lora(48, 3), path, notes)
    known = catalogue.load_file(catalogue.packaged_path(), FAMILIES)["satb-vr"]
    ((role, target),) = import_checkpoint(known, path)
    assert role == "lora_transformer"
    assert published_sizes({role: target}) == {role: {"r": 3, "lora_alpha": 6}}
    found = read_folder(folder)
    changed = replace(found, files={**found.files, role: target}, given=published_sizes({**found.files, role: target}))
    for components, scale in ((found, 1.0), (changed, 2.0)):
        network = load_denoiser(components)
        load_adapter(components, role, network, "denoiser")
        layer = network.transformer_blocks[0].attn1.to_q  # type: ignore[union-attr]
        assert layer.scaling == {"denoiser": scale}  # type: ignore[union-attr]


@pytest.mark.cuda
def test_on_a_gpu_layers_that_wait_on_the_host_give_the_same(folder: Path) -> None:
    found = []
    for free in (int(80e9), 1):
        request = BuildRequest(
            read_folder(folder),
            ModelSettings(tile="off"),
            torch.device("cuda"),
            torch.float32,
            free=partial(int, free),
        )
        model = load_model(entry(folder), request)
        runner = SceneRunner(model.restorer(RestoreSettings(task=Task.UPSCALE, scale=2)))
        runner.start(SceneStart(0, SOURCE, (24, 40)))
        found.append(runner.step(DeviceChunk(torch.full((9, 3, *SOURCE), 0.5, device="cuda"))).frames)
    assert torch.equal(found[0], found[1])


def test_one_file_does_what_the_folder_does_and_tiles_change_the_result(
    vrx: Command, clip: ClipMaker, folder: Path, tmp_path: Path
) -> None:
    path = clip(size=(136, 16), frames=2, audio=True)
    done = vrx("models", "convert", folder, "one.safetensors")
    assert done.returncode == 0, done.stderr
    results = []
    for model, words in ((folder, ()), ("one.safetensors", ()), (folder, ("--tile", "256"))):
        done = vrx("upscale", path, "--model", model, "-s", "2", *FASTEST, *words, "-o", "out.mkv", "-y")
        assert done.returncode == 0, done.stderr
        results.append(read(tmp_path / "out.mkv"))
    whole, again, tiled = results
    assert whole.frames.shape == tiled.frames.shape == (2, 32, 272, 3)
    assert whole.kinds == ["video", "audio"]
    assert (whole.frames == again.frames).all()
    assert (whole.frames != tiled.frames).any()


def test_an_interrupted_run_continues_with_the_same_frames(
    vrx: Command, clip: ClipMaker, folder: Path, tmp_path: Path
) -> None:
    clip("long.mkv", frames=12, size=(16, 16), cuts=[9])
    (tmp_path / "cuts.txt").write_text("9\n")
    words = ("upscale", "long.mkv", "--model", folder, "-s", "2", *FASTEST, "--scenes", "cuts.txt")
    check_interruption(vrx, tmp_path, *words, segment=8, saved=9)


def test_the_catalogue_pulls_both_repositories_and_runs(
    command: Pull, hub: Hub, clip: ClipMaker, folder: Path, tmp_path: Path
) -> None:
    base = ("transformer", "vae", "scheduler", "text_encoder", "tokenizer")
    for path in sorted(folder.rglob("*.*")):
        name = path.relative_to(folder)
        repository = "zai-org/CogVideoX1.5-5B" if name.parts[0] in base else "chenxx89/SATB-VR"
        hub.files[f"{repository}/{name}"] = path.read_bytes()
    (tmp_path / "none.toml").write_text("")
    own = {"VRX_WEIGHTS_FILE": str(tmp_path / "none.toml")}
    done = command("models", "pull", "satb-vr", **own)
    assert done.returncode == 0, done.stderr
    assert "CogVideoX License (of its base" in " ".join(done.stderr.split())
    shown = json.loads(command("models", "show", "satb-vr", "--json", **own).stdout)
    assert shown["state"] == "ready"
    words = ("upscale", clip(size=(20, 12), frames=2), "--model", "satb-vr", *FASTEST)
    results = []
    for prompt in (("--offline",), ("--prompt", "a cat"), ("--prompt", "a tree", "--offline")):
        asked = len(hub.asked)
        done = command(*words, *prompt, "-o", "out.mkv", "-y", **own)
        assert done.returncode == 0, done.stderr
        assert (len(hub.asked) > asked) == ("--offline" not in prompt)  # the text encoder, once it is needed
        results.append(read(tmp_path / "out.mkv").frames)
    assert results[0].shape == (2, 48, 80, 3)
    assert (results[0] != results[1]).any()
    assert (results[1] != results[2]).any()
