from typing import Any

import pytest
import torch
from torch import Tensor

from tests.golden.cases import Case, cases, close, filled
from tests.golden.test_flashvsr import formula_video
from vrx.models.base import DeviceChunk, SceneStart
from vrx.models.recavsr import model as recavsr
from vrx.models.recavsr.decoding import match_colors
from vrx.models.recavsr.model import (
    FIRST_LATENTS,
    NEXT_LATENTS,
    SCHEDULE,
    Generate,
    RecaVsrModel,
    RecaVsrRestorer,
)
from vrx.models.room import Room
from vrx.models.runner import SceneRunner
from vrx.models.tiling import Tiling
from vrx.networks.causal_conv import ConvCache
from vrx.networks.recavsr.flashdecoder import DecoderMemory, FlashDecoder, FlashDecoderConfig
from vrx.networks.recavsr.history import ACTIONS, Anchors, visible
from vrx.networks.recavsr.transformer import RECYCLED, TIMESTEP, RecycledConfig, RecycledTransformer
from vrx.networks.wan.residual_decoder import DEVIATION, MEAN
from vrx.weights.key_mapping import to_native_keys

CPU = torch.device("cpu")


def anchors(stated: dict[str, int]) -> Anchors:
    return Anchors(stated["initial_index"], stated["stride_latents"], stated["capacity_latents"])


def transformer(config: dict[str, Any], sizes: dict[str, Any], weights: dict[str, Tensor]) -> RecycledTransformer:
    found = {name: tensor.float() for name, tensor in to_native_keys(weights).items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in found.items()}
    made = RecycledConfig.from_tensors(shapes, {**sizes, "spatial_window": config["spatial_window"]})
    assert made.head_dim == sizes["attention_head_dim"]
    assert list(made.actions) == sizes["static_kv_router"]["layer_actions"]
    assert made.anchors == anchors(sizes["static_kv_router"]["anchor"])
    return filled(RecycledTransformer(made), found)


def flashdecoder(sizes: dict[str, Any], weights: dict[str, Tensor]) -> FlashDecoder:
    found = {name: tensor.float() for name, tensor in weights.items()}
    config = FlashDecoderConfig.from_tensors({name: tuple(tensor.shape) for name, tensor in found.items()}, sizes)
    for name in ("dim", "depth", "refinement_depth", "num_heads", "num_kv_groups", "window_size"):
        assert getattr(config, name) == sizes[name]
    return filled(FlashDecoder(config), found)


@pytest.mark.parametrize("case", cases("recavsr_transformer_stream"))
@torch.inference_mode()
def test_the_streamed_transformer(case: Case) -> None:
    config, io = case.config, case.io()
    net = transformer(config, case.model, case.weights())
    assert config["timestep"] == TIMESTEP
    conditions = net.conditions(config["timestep"], io["prompt_embeds"], pad=False)
    close(conditions.time.embedding, io["time.embedding"], 1e-4)
    close(conditions.time.projection.flatten(1), io["time.modulation"].flatten(1), 1e-4)
    close(net.embed_context(io["prompt_embeds"], pad=False), io["text"], 1e-5)
    height, width = config["lq_size"]
    counts = config["lq_frames_per_step"]
    video = formula_video({"height": height, "width": width, "lq_frames": sum(counts)})
    close(video[0, :, ::4, 3::16, 5::16], io["lq.sample"], 1e-6)
    history, cache, before, begin = net.allocate_history(), ConvCache(), None, 0
    for step, noise in enumerate(io["noise"].split(config["latent_frames_per_step"], 2)):
        source, cache = net.project(video[:, :, begin : begin + counts[step]], cache)
        begin += counts[step]
        assert [sorted(kept) for kept in history.kept] == config["kept_latents_per_layer"][step]
        if f"step.{step}.lq_tokens" in io:
            close(source.flatten(2).transpose(1, 2), io[f"step.{step}.lq_tokens"], case.tolerance)
        if f"step.{step}.recycled_tokens" in io:
            again = torch.zeros_like(noise) if before is None else before
            close(net.recycle(again), io[f"step.{step}.recycled_tokens"], case.tolerance)
        latent = noise - net.predict(noise, source, before, conditions, history)
        close(latent, io[f"step.{step}.latent"], case.tolerance)
        before = latent[:, :, -RECYCLED:]


@pytest.mark.parametrize("case", cases("recavsr_flashdecoder_stream"))
@torch.inference_mode()
def test_the_streamed_decoder(case: Case) -> None:
    config, io, counts = case.config, case.io(), case.config["output_frames_per_step"]
    assert (list(MEAN), list(DEVIATION)) == (config["latents_mean"], config["latents_std"])
    net, memory = flashdecoder(case.model, case.weights()), DecoderMemory()
    height, width = config["lr_size"]
    video = formula_video({"height": height, "width": width, "lq_frames": sum(counts)})
    close(video[0, :, :, 1::8, 2::8], io["lr.sample"], 1e-6)
    for step, source in enumerate(video.split(counts, 2)):
        out, memory = net(io["latents"][:, :, step], source, memory)
        close(out, io[f"step.{step}.output"], case.tolerance)


@pytest.mark.parametrize("case", cases("recavsr_routing"))
def test_what_layers_keep(case: Case) -> None:
    for table in case.config["cases"]:
        assert set(table["visible_history"]) == set(ACTIONS)
        for action, steps in table["visible_history"].items():
            found = [
                visible(action, 6 + 2 * (step - 1) if step else 0, anchors(case.config["anchor"]))
                for step in range(len(steps))
            ]
            assert found == steps


@pytest.mark.parametrize("case", cases("recavsr_blocks"))
def test_the_plan_of_blocks(case: Case) -> None:
    for plan in case.config["cases"]:
        begin = 0
        found: list[list[int]] = []
        while begin < plan["frames"]:
            valid = min(SCHEDULE.size(len(found)), plan["frames"] - begin)
            found.append([begin, valid, valid + SCHEDULE.padding(valid, not found)])
            begin += valid
        assert found == plan["blocks"]


@pytest.mark.parametrize("case", cases("recavsr_colour_fix"))
@torch.inference_mode()
def test_the_color_fix(case: Case) -> None:
    io, bars = case.io(), case.config["tolerance"]
    source = io["input"].permute(0, 3, 1, 2).float() / 255
    shown, decoded = (io[name].transpose(0, 1)[None] for name in ("reference", "decoded"))
    for name in ("adain", "wavelet"):
        expected = io[name] if name == "adain" else io[name] * 2 - 1
        matched = match_colors(decoded if name == "adain" else decoded.clamp(-1, 1), shown, source, name)
        close(matched[0].transpose(0, 1), expected.clamp(-1, 1), 2 * bars[name])
    assert torch.equal(match_colors(decoded, shown, source, "auto"), decoded)


@pytest.mark.parametrize("case", cases("recavsr_pipeline"))
@torch.inference_mode()
def test_the_whole_pipeline(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    config, io, bars = case.config, case.io(), case.config["tolerance"]
    assert (list(MEAN), list(DEVIATION)) == (config["latents_mean"], config["latents_std"])
    net = transformer(config, config["model"], case.weights("transformer"))
    decoder = flashdecoder(config["decoder"], case.weights("flashdecoder"))
    conditions = net.conditions(config["timestep"], io["prompt_embeds"], pad=False)
    model = RecaVsrModel(net, conditions, decoder, "auto", 0, Tiling("off"), Room(net, recavsr.FOOTPRINT, CPU))
    size, latents, found = tuple(config["output_size"]), [], []
    counts = [FIRST_LATENTS if not block["start"] else NEXT_LATENTS for block in config["blocks"]]
    rows = iter(io["noise"].split(counts, 2))
    enlarged = io["enlarged8"].permute(0, 3, 1, 2).float() / 255
    source = io["input"].permute(0, 3, 1, 2).float() / 255
    levels = (recavsr.enlarge(source, size) - enlarged).abs() * 255
    assert float(levels.max()) < 1.01  # theirs is 8-bit arithmetic

    def show(frames: Tensor, target: tuple[int, int]) -> Tensor:
        assert target == size
        return frames

    monkeypatch.setattr(recavsr, "enlarge", show)
    monkeypatch.setattr(Generate, "draw", lambda *_: next(rows))
    system = RecaVsrRestorer(model, 4)
    runner = SceneRunner(system)
    runner.start(SceneStart(0, (config["height"], config["width"]), size))
    generate = runner.runners["generate"].stage
    step = generate.step

    def note(*arguments: Any) -> Any:
        out = step(*arguments)
        latents.append(out[0].latents)
        return out

    monkeypatch.setattr(generate, "step", note)
    for block in config["blocks"]:
        part = enlarged[block["start"] : block["start"] + block["valid"]]
        padded = torch.cat([part, part[-1:].expand(block["length"] - block["valid"], -1, -1, -1)])
        found.append(runner.step(DeviceChunk(padded)).frames[: block["valid"]])
    for number, latent in enumerate(latents):
        close(latent, io[f"step.{number}.latent"], bars["latent"])
    off = ((torch.cat(found) * 255).round().permute(0, 2, 3, 1) - io["output8"].float()).abs()
    assert float(off.max()) <= bars["output8"]
    assert float((off > 0).float().mean()) <= 1e-3
