from typing import Any

import pytest
import torch
from torch import Tensor

from tests.golden.cases import Case, cases, close, filled
from tests.golden.test_flashvsr import formula_video
from vrx.models import relayvsr
from vrx.models.base import DeviceChunk, SceneStart
from vrx.models.relayvsr import Generate, RelayVsrModel, RelayVsrRestorer, enlarge, to_network, window_schedule
from vrx.models.resizing import crop
from vrx.models.room import Room
from vrx.models.runner import SceneRunner
from vrx.models.tiling import Tiling
from vrx.networks.grouped_attention import FrameMemory
from vrx.networks.relayvsr.key_frames import TIMESTEP, KeyFrameConfig, KeyFrameTransformer
from vrx.networks.relayvsr.small_transformer import SmallConfig, SmallTransformer
from vrx.weights.key_mapping import to_native_keys

CPU = torch.device("cpu")


def small_transformer(sizes: dict[str, Any], weights: dict[str, Tensor]) -> SmallTransformer:
    weights = {name: tensor.float() for name, tensor in weights.items()}
    config = SmallConfig.from_tensors({name: tuple(tensor.shape) for name, tensor in weights.items()}, sizes)
    for name in ("dim", "depth", "num_heads", "num_kv_groups", "condition_channels", "window_size"):
        assert getattr(config, name) == sizes[name]
    return filled(SmallTransformer(config), weights)


@pytest.mark.parametrize("case", cases("relayvsr_small_transformer"))
@torch.inference_mode()
def test_the_small_transformer(case: Case) -> None:
    net, io = small_transformer(case.model, case.weights()), case.io()
    start, end = (net.remember(io[f"latent.{name}"]) for name in ("start", "end"))
    for layer in (0, net.config.depth - 1):
        close(start.keys[layer], io[f"memory.start.block.{layer}.key"], case.tolerance)
        close(start.values[layer], io[f"memory.start.block.{layer}.value"], case.tolerance)
    recent: list[FrameMemory] = []
    for number, frame in enumerate(io["lr"].split(1)):
        recent = recent[-(net.config.window_size - 1) :]
        out, own = net(frame, start, end, recent)
        close(out, io[f"frame.{number}.output"], case.tolerance)
        recent.append(own)
    for name in ("keys", "values"):
        kept = torch.cat([getattr(memory, name)[-1] for memory in recent], 2)
        close(kept, io[f"memory.rolling.last.{name[:-1]}"], case.tolerance)
    _, first = net(io["lr"][:1], start, None, [])
    close(net(io["lr"][1:2], start, None, [first])[0], io["first_key_frame_only.frame.1.output"], case.tolerance)


def key_frame_transformer(sizes: dict[str, Any], weights: dict[str, Tensor], prompt: Tensor) -> KeyFrameTransformer:
    found = {name: tensor.float() for name, tensor in to_native_keys({**weights, "prompt_embeds": prompt}).items()}
    config = KeyFrameConfig.from_tensors({name: tuple(tensor.shape) for name, tensor in found.items()}, sizes)
    assert config.context_frames == sizes["temporal_context_frames"]
    assert (config.num_heads, config.head_dim) == (sizes["num_attention_heads"], sizes["attention_head_dim"])
    return filled(KeyFrameTransformer(config), found)


@pytest.mark.parametrize("case", cases("relayvsr_key_frames"))
@torch.inference_mode()
def test_the_key_frame_network(case: Case) -> None:
    config, io = case.config, case.io()
    net = key_frame_transformer(case.model, case.weights(), io["prompt_embeds"])
    assert config["timestep"] == TIMESTEP
    conditions = net.prompt_conditions()
    close(conditions.time.embedding, io["time.embedding"], 1e-4)
    close(conditions.time.projection.flatten(1), io["time.modulation"].flatten(1), 1e-4)
    close(net.embed_context(net.prompt_embeds, pad=False), io["text"], 1e-5)
    height, width = config["lq_size"]
    video = formula_video({"height": height, "width": width, "lq_frames": config["steps"]})
    close(video[0, :, :, 3::16, 5::16], io["lq.sample"], 1e-6)
    cache = net.allocate_ring(*config["tokens"])
    for number in range(config["steps"]):
        frame, noise = video[:, :, number], io["noise"][number : number + 1]
        close(net.project(frame), io[f"step.{number}.lq_tokens"], case.tolerance)
        prediction = net.predict(noise, frame, conditions, cache)
        close(prediction, io[f"step.{number}.prediction"], case.tolerance)
        close(noise - prediction, io[f"step.{number}.latent"], case.tolerance)


@pytest.mark.parametrize("case", cases("relayvsr_pipeline"))
@torch.inference_mode()
def test_the_whole_pipeline(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    config, io, plan = case.config, case.io(), case.config["plan"]
    bars, (height, width) = config["tolerance"], (config["height"], config["width"])
    key_frames = key_frame_transformer(config["wan"], case.weights("wan"), io["prompt_embeds"])
    small = small_transformer(config["flash"], case.weights("flash"))
    model = RelayVsrModel(
        key_frames, key_frames.prompt_conditions(), small, 0, Tiling("off"), Room(key_frames, relayvsr.FOOTPRINT, CPU)
    )
    rows, pictures = iter(io["noise"][:, :, 0].split(1)), []

    def note(picture: Tensor, *others: Any) -> Tensor:
        pictures.append(picture[..., : 4 * height, : 4 * width])
        return crop(picture, *others)

    monkeypatch.setattr(Generate, "draw", lambda *_: next(rows))
    monkeypatch.setattr(relayvsr, "crop", note)
    frames = io["input"].permute(0, 3, 1, 2).float() / 255
    large = enlarge(to_network(frames[:1]))
    close(large[..., 1::8, 2::8], io["enlarged.0.sample"], 1e-5)
    runner, found, latents = SceneRunner(RelayVsrRestorer(model, 4)), [], []
    runner.start(SceneStart(0, (height, width), (4 * height, 4 * width)))
    generate = runner.runners["generate"].stage
    step = generate.step

    def noted(*given: Any) -> Any:
        out = step(*given)
        latents.extend(out[0].latents)
        return out

    monkeypatch.setattr(generate, "step", noted)
    for begin, end in (window["emitted"] for window in plan["windows"]):
        found.append(runner.step(DeviceChunk(frames[begin : end + 1])).frames)
    for key, latent in zip(plan["key_frames"], latents, strict=True):
        close(latent, io[f"latent.{key}"], bars["latent"])
    close(torch.cat(pictures)[::2], io["output"], bars["output"])
    levels = (torch.cat(found) * 255).floor().permute(0, 2, 3, 1)  # the release does not round
    off = (levels - io["output8"].float()).abs()
    assert float(off.max()) <= bars["output8"]
    assert float((off > 0).float().mean()) <= 1e-3


@pytest.mark.parametrize("case", cases("relayvsr_plan"))
def test_the_plan_of_windows(case: Case) -> None:
    for plan in case.config["cases"]:
        schedule = window_schedule(plan["window_size"])
        count, begin, index = plan["frames"], 0, 0
        for window in plan["windows"]:
            end = min(begin + schedule.size(index), count)
            assert [begin, end - 1] == window["emitted"]
            assert schedule.padding(end - begin, index == 0) == 0
            begin, index = end, index + 1
        assert begin == count
        keys = [0, *(window["emitted"][1] for window in plan["windows"])]
        assert sorted(set(keys)) == plan["key_frames"]
