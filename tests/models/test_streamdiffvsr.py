"""Stream-DiffVSR's stages on stand-ins for its networks: what is kept between frames, padding, noise, sizes."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.models.small import random_weights
from vrx.errors import ModelError, UsageError
from vrx.models import family as families
from vrx.models import streamdiffvsr as model
from vrx.models.base import DeviceChunk, SceneStart
from vrx.models.components import Components
from vrx.models.loader import from_entry
from vrx.models.registry import FAMILIES
from vrx.models.runner import StageRunner
from vrx.models.streamdiffvsr import EstimateMotion, MotionChunk, Restore, flow_size, pad_frames
from vrx.networks.diffvsr.raft import volume_bytes
from vrx.networks.diffvsr.text import TextConfig, TextEncoder
from vrx.pipeline.select_model import DeviceInfo, select_model, supports
from vrx.settings import ModelSettings, RestoreSettings, Task
from vrx.weights import catalogue
from vrx.weights.download import Downloader

SCENE = SceneStart(0, (35, 40), (140, 160))
UPSCALE = RestoreSettings(task=Task.UPSCALE, scale=4)


class Difference:
    """In place of RAFT: the flow is the difference of the pictures."""

    def __init__(self) -> None:
        self.mask_predictor = SimpleNamespace(conv=SimpleNamespace(weight=torch.zeros(1)))
        self.sizes: list[tuple[int, int]] = []

    def flow(self, current: Tensor, previous: Tensor) -> Tensor:
        self.sizes.append((current.shape[-2], current.shape[-1]))
        return (current - previous)[:, :2]


class Mixture:
    """In place of the networks: noise and the warped picture over the enlarged frame."""

    rows = torch.zeros(1)

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


def test_rows_of_the_empty_prompt_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRX_HOME", str(tmp_path / "home"))
    config = TextConfig(vocab_size=20, hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
    tensors = random_weights(TextEncoder(config))
    rows = []
    for number, rename in enumerate((str, lambda name: name.removeprefix("text_model."))):  # old and new libraries
        path = tmp_path / f"{number}.safetensors"
        extra = {"text_model.embeddings.position_ids": torch.arange(77)[None]} if number == 0 else {}
        save_file({**{rename(name): tensor for name, tensor in tensors.items()}, **extra}, path)
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


def test_without_diffusers_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "find_spec", lambda name: None)
    known = catalogue.load_all(FAMILIES)
    with pytest.raises(ModelError, match="needs the package diffusers") as caught:
        select_model(ModelSettings(name="stream-diffvsr"), known, UPSCALE, DeviceInfo())
    assert caught.value.hint == 'Install it with: pip install "vrx[diffusers]"'
    assert not supports(known["stream-diffvsr"], None, UPSCALE)  # --model auto passes over it
    monkeypatch.setattr(families, "find_spec", lambda name: SimpleNamespace())
    assert select_model(ModelSettings(name="stream-diffvsr"), known, UPSCALE, DeviceInfo())
