"""Stream-DiffVSR's stages on stand-ins for its networks: what is kept between frames, padding, noise, sizes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.utils._pytree import tree_leaves

from tests.extras import needs_extra
from tests.models import small
from tests.models.small import random_weights
from vrx.errors import ModelError, UsageError
from vrx.models import family as families
from vrx.models import streamdiffvsr as model
from vrx.models.base import DeviceChunk, SceneStart
from vrx.models.components import Components
from vrx.models.family import BuildRequest
from vrx.models.loader import from_entry, read_folder
from vrx.models.registry import FAMILIES
from vrx.models.runner import StageRunner
from vrx.models.streamdiffvsr import (
    EstimateMotion,
    MotionChunk,
    Networks,
    Restore,
    flow_size,
    load_schedule,
    pad_frames,
)
from vrx.networks.diffvsr.autoencoder import TemporalAutoencoder
from vrx.networks.diffvsr.raft import volume_bytes
from vrx.networks.diffvsr.text import TextConfig, TextEncoder
from vrx.networks.diffvsr.unet import Constant, ControlNet, Unet
from vrx.pipeline.select_model import DeviceInfo, select_model, supports
from vrx.settings import ModelSettings, RestoreSettings, Task
from vrx.weights import catalogue
from vrx.weights.download import Downloader

SCENE = SceneStart(0, (35, 40), (140, 160))
UPSCALE = RestoreSettings(task=Task.UPSCALE, scale=4)


class Difference:
    """In place of RAFT: the flow is the difference of the pictures."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def flow(self, current: Tensor, previous: Tensor) -> Tensor:
        self.sizes.append((current.shape[-2], current.shape[-1]))
        return (current - previous)[:, :2]


class Mixture:
    """In place of the networks: noise and the warped picture over the enlarged frame."""

    unet = SimpleNamespace(device=torch.device("cpu"))

    def __init__(self) -> None:
        self.noises: list[Tensor] = []

    def restore(self, frame: Tensor, noise: Tensor, warped: Tensor | None) -> Tensor:
        self.noises.append(noise)
        large = torch.nn.functional.interpolate(frame + 0.1 * noise[:, :3], scale_factor=4)
        return large if warped is None else 0.5 * large + 0.5 * warped


def stages(scale: int = 4, seed: int = 0) -> tuple[EstimateMotion, Restore]:
    return EstimateMotion(cast(Any, Difference())), Restore(cast(Any, Mixture()), scale, seed)


def frames(count: int) -> Tensor:
    return torch.rand(count, 3, 35, 40, generator=torch.Generator().manual_seed(1))


def restore(chunks: list[Tensor], scene: SceneStart, save_after: int | None = None, **kind: int) -> Tensor:
    """The chunks of a scene through both stages, which are made anew from saved states where that is asked."""
    runners = [StageRunner(stage) for stage in stages(**kind)]
    for runner in runners:
        runner.start(scene)
    found = []
    for number, chunk in enumerate(chunks):
        value: Any = DeviceChunk(chunk)
        for runner in runners:
            value = runner.step(value)
        found.append(value.frames)
        if number == save_after:
            saved = [{name: tensor.clone() for name, tensor in runner.save().items()} for runner in runners]
            runners = [StageRunner(stage) for stage in stages(**kind)]
            for runner, tensors in zip(runners, saved, strict=True):
                runner.load(scene, tensors)
    return torch.cat(found)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.streamdiffvsr(tmp_path_factory.mktemp("published") / "model")


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A small model in the published folders, to change."""
    return shutil.copytree(published, tmp_path / "model")


def test_streamed_equals_whole_and_a_saved_state_continues_alike() -> None:
    whole = restore([frames(5)], SCENE)
    assert whole.shape == (5, 3, 140, 160)
    for after in (None, 0, 2, 4):
        assert torch.equal(restore(list(frames(5).split(1)), SCENE, after), whole)
    assert torch.equal(restore(list(frames(5).split(2)), SCENE), whole)


def test_the_first_frame_of_a_scene_knows_no_other() -> None:
    motion, _ = stages()
    chunk, state = motion.step(DeviceChunk(frames(2)), motion.start(SCENE))
    assert chunk.flows[0] is None
    assert chunk.flows[1] is not None
    assert motion.step(DeviceChunk(frames(1)), state)[0].flows[0] is not None
    assert motion.step(DeviceChunk(frames(1)), motion.start(SCENE))[0].flows[0] is None


def test_the_flow_points_from_a_frame_to_the_one_before_it() -> None:
    motion, _ = stages()
    chunk, _ = motion.step(DeviceChunk(frames(2)), motion.start(SCENE))
    large = torch.nn.functional.interpolate(chunk.frames, scale_factor=4, mode="bicubic")
    flow = chunk.flows[1]
    assert flow is not None
    assert torch.allclose(flow, (large[1:] - large[:1])[:, :2])


def test_noise_is_drawn_frame_by_frame_from_a_generator_of_the_scene() -> None:
    def noises(number: int, seed: int) -> list[Tensor]:
        _, stage = stages(seed=seed)
        chunk = MotionChunk(pad_frames(frames(2)), (None, torch.zeros(1, 2, 144, 160)))
        stage.step(chunk, stage.start(SceneStart(number, (35, 40), (140, 160))))
        return cast(Mixture, stage._networks).noises

    generator = torch.Generator().manual_seed(42)
    for noise in noises(0, 42):
        assert torch.equal(noise, torch.randn(1, 4, 36, 40, generator=generator))
    assert not torch.equal(noises(1, 42)[0], noises(0, 42)[0])
    assert torch.equal(noises(1, 42)[1], noises(1, 42)[1])


@pytest.mark.parametrize(
    ("source", "padded"), [((16, 24), (32, 32)), ((35, 40), (36, 40)), ((32, 33), (32, 36)), ((1, 1), (32, 32))]
)
def test_frames_are_padded_to_what_the_networks_take(source: tuple[int, int], padded: tuple[int, int]) -> None:
    picture = torch.rand(1, 3, *source)
    found = pad_frames(picture)
    assert found.shape[-2:] == padded
    assert torch.equal(found[..., : source[0], : source[1]], picture)
    assert torch.equal(found[..., -1, -1], picture[..., -1, -1])


@pytest.mark.parametrize("scale", [2, 3])
def test_other_scales_are_resized_and_the_user_learns_it_once(scale: int) -> None:
    scene = SceneStart(0, (35, 40), (35 * scale, 40 * scale))
    motion, stage = stages(scale)
    chunk, _ = motion.step(DeviceChunk(frames(1)), motion.start(scene))
    restored, state = stage.step(chunk, stage.start(scene))
    assert restored.frames.shape == (1, 3, 35 * scale, 40 * scale)
    (note,) = restored.notes
    assert note.code == "model-scale-resized"
    assert f"{scale} times" in note.text
    assert stage.step(chunk, state)[0].notes == ()
    later = stage.start(SceneStart(1, scene.source, scene.target))
    assert stage.step(chunk, later)[0].notes == ()


def test_large_flows_are_found_at_a_smaller_size() -> None:
    assert flow_size(720, 1280) == (720, 1280)
    assert flow_size(1088, 1920) == (1088, 1920)  # as published
    for height, width in ((2160, 3840), (1440, 2560), (4096, 512)):
        rows, columns = flow_size(height, width)
        assert rows % 8 == columns % 8 == 0
        assert volume_bytes(rows, columns) <= 2e9
        assert rows / columns == pytest.approx(height / width, rel=0.02)


def test_a_smaller_flow_is_in_pixels_of_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "flow_size", lambda height, width: (height // 2, width // 4))
    network = Difference()
    monkeypatch.setattr(network, "flow", lambda current, previous: torch.ones_like(current[:, :2]))
    found = EstimateMotion(cast(Any, network)).flow(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))
    assert found.shape == (1, 2, 128, 128)
    assert torch.equal(found.mean((0, 2, 3)), torch.tensor([4.0, 2.0]))


@needs_extra
def test_rows_of_the_empty_prompt_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRX_HOME", str(tmp_path / "home"))
    config = TextConfig(vocab_size=20, hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
    tensors = random_weights(TextEncoder(config))
    rows = []
    renames: tuple[Callable[[str], str], ...] = (str, lambda name: name.removeprefix("text_model."))
    for number, rename in enumerate(renames):  # old and new libraries
        path = tmp_path / f"{number}.safetensors"
        extra = {"text_model.embeddings.position_ids": torch.arange(77)[None]} if number == 0 else {}
        save_file({**{rename(f"text_model.{name}"): tensor for name, tensor in tensors.items()}, **extra}, path)
        components = Components({"clip_text": path}, given={"clip_text": {"num_attention_heads": 2}})
        rows.append(model.empty_prompt(components))
        with monkeypatch.context() as patch:
            patch.setattr(model, "load_text", lambda components: pytest.fail("loaded again"))
            assert torch.equal(model.empty_prompt(components), rows[-1])
    assert rows[0].shape == (1, 77, 24)
    assert torch.equal(rows[0], rows[1])


def test_sizes_of_a_downloaded_model_come_from_its_configs(tmp_path: Path) -> None:
    entry = catalogue.load_all(FAMILIES)["stream-diffvsr"]
    files = {part.role: tmp_path / part.path for part in entry.parts}
    for role, table in (("unet", {"norm_num_groups": 4}), ("controlnet", {"norm_num_groups": 8})):
        files[f"{role}_config"].parent.mkdir()
        files[f"{role}_config"].write_text(json.dumps({"_class_name": "X", **table}))
    downloader = cast(Downloader, SimpleNamespace(provide=lambda entry, roles: files))
    components = from_entry(entry, set(), downloader)
    assert components.given["unet"]["norm_num_groups"] == 4
    assert components.given["controlnet"]["norm_num_groups"] == 8
    files["unet_config"].write_text("{")
    with pytest.raises(ModelError, match=r"cannot read .*unet.config\.json"):
        from_entry(entry, set(), downloader)


def test_only_the_steps_it_was_distilled_to_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "find_spec", lambda name: SimpleNamespace())
    known = catalogue.load_all(FAMILIES)
    select_model(ModelSettings(name="stream-diffvsr", steps=4), known, UPSCALE, DeviceInfo())
    with pytest.raises(UsageError, match="stream-diffvsr was trained for 4 steps, not for 8"):
        select_model(ModelSettings(name="stream-diffvsr", steps=8), known, UPSCALE, DeviceInfo())
    with pytest.raises(UsageError, match="--steps has no effect with model embedded"):
        select_model(ModelSettings(name="embedded", steps=4), known, UPSCALE, DeviceInfo())
    with pytest.raises(UsageError, match="--steps 0 is out of range"):
        ModelSettings(steps=0)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ({"transformers"}, "needs the package transformers."),
        ({"diffusers", "torchvision"}, "needs the packages diffusers and torchvision."),
        ({"diffusers", "transformers", "torchvision"}, "needs the packages diffusers, transformers and torchvision."),
    ],
)
def test_one_line_says_which_packages_are_missing(
    monkeypatch: pytest.MonkeyPatch, missing: set[str], words: str
) -> None:
    monkeypatch.setattr(families, "find_spec", lambda name: None if name in missing else SimpleNamespace())
    known = catalogue.load_all(FAMILIES)
    with pytest.raises(ModelError) as caught:
        select_model(ModelSettings(name="stream-diffvsr"), known, UPSCALE, DeviceInfo())
    assert str(caught.value) == f'the model family stream-diffvsr {words} Install with: pip install "vrx[diffusers]"'
    assert not supports(known["stream-diffvsr"], ModelSettings(), UPSCALE)  # --model auto passes over it
    missing.clear()
    assert select_model(ModelSettings(name="stream-diffvsr"), known, UPSCALE, DeviceInfo())


def test_tiles_are_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "find_spec", lambda name: SimpleNamespace())
    with pytest.raises(UsageError, match="--tile has no effect with model stream-diffvsr: its decoder mixes"):
        select_model(
            ModelSettings(name="stream-diffvsr", tile="512"), catalogue.load_all(FAMILIES), UPSCALE, DeviceInfo()
        )


@needs_extra
@pytest.mark.filterwarnings("ignore")  # of the library's oldest version
def test_the_text_encoder_reads_what_the_published_tokenizer_gives(tmp_path: Path) -> None:
    from transformers import CLIPTokenizer

    words = ["!", "a", "b</w>", "<|startoftext|>", "<|endoftext|>"]
    (tmp_path / "vocab.json").write_text(json.dumps({word: place for place, word in enumerate(words)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path, pad_token="!", model_max_length=9)
    config = TextConfig(vocab_size=len(words), max_position_embeddings=9)
    assert tokenizer("", padding="max_length", truncation=True).input_ids == config.empty_prompt


@needs_extra
def test_the_scheduler_is_that_of_its_config_and_the_published_one_without(folder: Path) -> None:
    config = folder / "scheduler" / "scheduler_config.json"
    assert load_schedule(read_folder(folder)).timesteps == load_schedule(Components()).timesteps == (999, 749, 499, 249)
    config.write_text(json.dumps({"num_train_timesteps": 500, "timestep_spacing": "trailing", "_class_name": "X"}))
    assert load_schedule(read_folder(folder)).timesteps == (499, 374, 249, 124)
    for wrong in ({"num_train_timesteps": 3}, {"num_train_timesteps": 10**9}, {"beta_schedule": "none"}):
        config.write_text(json.dumps(wrong))
        with pytest.raises(ModelError, match=r"scheduler_config\.json has an invalid configuration"):
            load_schedule(read_folder(folder))


@needs_extra
@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("unet", {"num_class_embeds": 1000}, "num_class_embeds is 1000"),
        ("unet", {"transformer_layers_per_block": [1, 1, 1, 10**6]}, "transformer_layers_per_block is"),
        ("controlnet", {"norm_num_groups": 3}, "invalid configuration"),
        ("vae", {"num_decoder_blocks": [3, 3, 3]}, "num_decoder_blocks is"),
        ("vae", {"scaling_factor": 0}, "scaling_factor is 0"),
        ("text_encoder", {"num_attention_heads": 7}, "invalid configuration"),
    ],
)
def test_a_config_that_vrx_cannot_follow_is_refused(
    folder: Path, tmp_path: Path, part: str, change: dict[str, object], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VRX_HOME", str(tmp_path / "home"))
    config = folder / part / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **change}))
    request = BuildRequest(read_folder(folder), ModelSettings(), torch.device("cpu"), torch.float32)
    with pytest.raises(ModelError, match=words):
        model.load(request)


@needs_extra
@torch.inference_mode()
def test_configs_are_followed_where_they_differ_from_the_published_ones(folder: Path) -> None:
    sample, rows = torch.rand(1, 7, 8, 8), torch.rand(1, 77, small.TEXT)
    found = []
    for change in ({}, {"act_fn": "gelu"}, {"flip_sin_to_cos": False}):
        config = folder / "unet" / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), **change}))
        unet = read_folder(folder).load("unet", Unet)
        unet.guide(rows)
        found.append(unet.denoise(sample, 9))
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[1], found[2])
    vae = folder / "vae" / "config.json"
    vae.write_text(json.dumps({"scaling_factor": 2.0, "latent_magnitude": 5}))
    tiny = read_folder(folder).load("temporal_autoencoder", TemporalAutoencoder)
    assert tiny.scaling_factor == 2
    given = SimpleNamespace(denoise=lambda *_: torch.ones(1, 4, 8, 8))
    networks = Networks(unet, cast(Any, None), tiny, cast(Any, None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Networks, "denoise", lambda *_: given.denoise())
        restored = networks.restore(sample, sample, None)
    assert torch.equal(restored, tiny.decode(torch.full((1, 4, 8, 8), 0.5)))


@needs_extra
@torch.inference_mode()
def test_keys_and_values_of_the_prompt_are_kept_and_change_nothing(folder: Path) -> None:
    components = read_folder(folder)
    sample, rows = torch.rand(1, 7, 8, 8), torch.rand(1, 77, small.TEXT)
    picture = torch.rand(1, 3, 32, 32)
    for role, kind in (("unet", Unet), ("controlnet", ControlNet)):
        network: Any = components.load(role, kind)
        more = {"controlnet_cond": picture} if kind is ControlNet else {}
        expected = network.library(sample, 9, rows, return_dict=False, **more)
        weights = sum(p.numel() for p in network.parameters())
        network.guide(rows)
        found = network.control(sample, 9, picture) if more else (network.denoise(sample, 9),)
        for mine, theirs in zip(tree_leaves(found), tree_leaves(expected), strict=True):
            assert torch.equal(mine, theirs)
        kept = [layer for layer in network.modules() if isinstance(layer, Constant)]
        assert len(kept) == 2 * {"unet": 16, "controlnet": 6}[role]  # keys and values of each cross-attention
        assert sum(p.numel() for p in network.parameters()) < weights  # of the layers that gave them


@pytest.mark.parametrize("size", [(640, 360), (1280, 720), (1920, 1088), (2560, 1440), (3840, 2160)])
def test_the_footprint_is_no_less_than_what_the_stages_take(size: tuple[int, int]) -> None:
    (footprint,) = FAMILIES["stream-diffvsr"].capabilities.footprints
    assert footprint.minimum(size[0] * size[1]) >= model.peak_bytes(*size)
    assert model.peak_bytes(1920, 1088) == pytest.approx(12e9, rel=0.02)
