import math
from pathlib import Path

import pytest
import torch

import vrx.models
from tests.golden.cases import Case, cases, close, filled
from vrx.networks.quantized import WeightFormat
from vrx.networks.wan.schedule import clean_latent, nearest_sigma
from vrx.networks.wan.transformer import WanConfig, WanTransformer

CAUSAL = pytest.mark.parametrize("case", cases("wan_causal"))


def network(case: Case) -> WanTransformer:
    with torch.device("meta"):
        empty = WanTransformer(WanConfig(**case.model))
    return filled(empty.to_empty(device="cpu"), case.weights())


@CAUSAL
@torch.inference_mode()
def test_whole_clips(case: Case) -> None:
    net, io = network(case), case.io()
    timestep = torch.tensor([float(case.config["timestep"])])
    close(net.time_vectors(timestep).embedding, io["full.time_embedding"], case.tolerance)
    close(net.embed_context(io["context"]), io["full.text_embedding"], case.tolerance)
    if "full.time_projection" in io:
        close(net.time_vectors(timestep).projection, io["full.time_projection"], case.tolerance)
    if "full.patch_tokens" in io:
        close(net.tokens(io["latent"]), io["full.patch_tokens"], case.tolerance)
    close(net(io["latent"], net.conditions(case.config["timestep"], io["context"])), io["full.flow"], case.tolerance)


@CAUSAL
@pytest.mark.parametrize("mode", ["stream", "rolling"])
@torch.inference_mode()
def test_streams(case: Case, mode: str) -> None:
    net, io, config = network(case), case.io(), case.config
    latent = io["latent"]
    block, frames = config["frames_per_block"], config["frames"]
    window = frames if mode == "stream" else config["rolling_cache_frames"]
    timestep = config["timestep"]
    sigma = nearest_sigma(timestep, config["timestep_shift"], config["train_timesteps"])
    assert sigma == pytest.approx(float(io["sigma"]), abs=1e-7)
    cache = net.allocate(latent.shape[-2], latent.shape[-1], window, block)
    conditions = net.conditions(timestep, io["context"])
    flow = torch.cat([net.step(part, conditions, cache) for part in latent.split(block, 2)], 2)
    close(flow, io[f"{mode}.flow"], case.tolerance)
    close(clean_latent(latent, flow, sigma), io[f"{mode}.x0"], case.tolerance)
    if mode == "stream" and "stream.cache_k0" in io:
        tokens = cache.end
        close(cache.keys[0, :, :, :tokens].transpose(1, 2), io["stream.cache_k0"], case.tolerance)
        close(cache.values[0, :, :, :tokens].transpose(1, 2), io["stream.cache_v0"], case.tolerance)
        close(conditions.context.keys[0].transpose(1, 2), io["stream.cross_k0"], case.tolerance)
        close(conditions.context.values[0].transpose(1, 2), io["stream.cross_v0"], case.tolerance)


@CAUSAL
@torch.inference_mode()
def test_half_precision_keeps_the_float32_islands(case: Case) -> None:
    net, io = network(case), case.io()
    net.cast_weights(torch.bfloat16)
    for name, parameter in net.named_parameters():
        island = any(part in name for part in ("time_", "head.", "norm", "modulation"))
        assert parameter.dtype == (torch.float32 if island else torch.bfloat16), name
    flow = net(io["latent"], net.conditions(case.config["timestep"], io["context"]))
    assert flow.dtype == torch.float32
    error = flow - io["full.flow"]
    assert float(error.square().mean().sqrt()) < 0.02
    assert float(error.abs().max()) < 0.15


LOSS = {"int8": (54.1, 60.3), "fp8": (41.3, 47.5)}  # dB of the flow and of the latents; see vrx/models/README.md


@pytest.mark.parametrize("case", [case for case in cases("wan_causal") if case.id == "wan_causal/e"])
@pytest.mark.parametrize("kind", LOSS)
@torch.inference_mode()
def test_weights_in_8_bits_lose_what_is_stated(case: Case, kind: WeightFormat) -> None:
    io, config, results = case.io(), case.config, []
    sigma = nearest_sigma(config["timestep"], config["timestep_shift"], config["train_timesteps"])
    for quantized in (False, True):
        net = network(case)
        if quantized:
            net.quantize(kind, torch.device("cpu"))
        net.cast_weights(torch.bfloat16)
        height, width = io["latent"].shape[-2:]
        cache = net.allocate(height, width, config["rolling_cache_frames"], config["frames_per_block"])
        conditions = net.conditions(config["timestep"], io["context"])
        parts = io["latent"].split(config["frames_per_block"], 2)
        flow = torch.cat([net.step(part, conditions, cache) for part in parts], 2)
        results.append((flow, clean_latent(io["latent"], flow, sigma)))
    for found, expected, stated in zip(results[1], results[0], LOSS[kind], strict=True):
        span = float(expected.max() - expected.min())
        psnr = 20 * math.log10(span) - 10 * math.log10(float((found - expected).square().mean()))
        assert psnr == pytest.approx(stated, abs=1.0)
    text = (Path(vrx.models.__file__).parent / "README.md").read_text()
    assert f"| `{kind}` |" in text
    assert " | ".join(f"{stated:.0f} dB" for stated in LOSS[kind]) in text


@pytest.mark.parametrize("case", cases("wan22_dit"))
@torch.inference_mode()
def test_the_transformer_of_wan_22_at_one_timestep_for_the_clip(case: Case) -> None:
    net, io = network(case), case.io()
    tokens: list[torch.Tensor] = []
    for layer in (net.blocks[0], net.blocks[-1], net.head):
        layer.register_forward_hook(lambda _, __, output: tokens.append(output))
    conditions = net.conditions(case.config["timestep"], io["context"])
    flow = net(io["latent"], conditions)
    close(conditions.time.embedding, io["full.time_embedding"], case.tolerance)
    close(conditions.time.projection, io["full.time_projection"], case.tolerance)
    close(net.embed_context(io["context"]), io["full.text_embedding"], case.tolerance)
    close(net.tokens(io["latent"]), io["full.patch_tokens"], case.tolerance)
    for found, name in zip(tokens, ("block0", "block_last", "head_tokens"), strict=True):
        close(found, io[f"full.{name}"], case.tolerance)
    close(flow, io["full.flow"], case.tolerance)
