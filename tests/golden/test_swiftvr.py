"""SwiftVR's networks and its whole procedure, against runs of the release."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.golden.cases import Case, cases, close, filled, formula_weights
from tests.models.test_large import chunks
from vrx.models.autoencoders import StreamingPass
from vrx.models.base import SceneStart
from vrx.models.light_wan import Encode, schedule
from vrx.models.runner import StageRunner
from vrx.models.swiftvr import Decode, Generate, enlarge
from vrx.models.tiling import Tiling
from vrx.networks.causal_conv import ConvCache
from vrx.networks.swiftvr.autoencoder import SPATIAL, Reae, ReaeConfig
from vrx.networks.swiftvr.transformer import SwiftTransformer
from vrx.networks.swiftvr.windows import axis_starts, plan
from vrx.networks.taehv import whole_groups
from vrx.networks.wan.transformer import WanConfig, WanTransformer
from vrx.weights.key_mapping import to_native_keys

CPU = torch.device("cpu")
SIZES = ("latent_channels", "encoder_width", "decoder_widths")


def transformer(case: Case) -> SwiftTransformer:
    weights = to_native_keys(case.weights())
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    heads = {"num_heads": case.model["num_attention_heads"]}
    network = filled(WanTransformer(WanConfig.from_tensors(shapes, heads)), weights)
    return SwiftTransformer(network, case.config["window"])


def autoencoder(case: Case) -> Reae:
    config = ReaeConfig(**{name: value for name, value in case.model.items() if name in SIZES})
    weights = formula_weights(case.config["tensors"], case.config["weights"])
    return filled(Reae(config), shifted(weights, case.config["weights"]))


def shifted(weights: dict[str, Tensor], rule: dict[str, dict[str, float]]) -> dict[str, Tensor]:
    """The weights with what a case adds to the values that its formula gives."""
    for name, offset in rule.get("offsets", {}).items():
        weights[name] = weights[name] + offset
    return weights


@pytest.mark.parametrize("case", cases("swiftvr_windows"))
def test_windows(case: Case) -> None:
    for axis in case.config["axes"]:
        assert axis_starts(axis["tokens"], axis["window"], shifted=False) == axis["plain"]
        assert axis_starts(axis["tokens"], axis["window"], shifted=True) == axis["shifted"]
    for number, grid in enumerate(case.config["grids"]):
        for name in ("plain", "shifted"):
            size = (grid["frames"], grid["rows"], grid["columns"])
            found = plan(size, grid["window"], name == "shifted", CPU)
            assert found is not None
            assert torch.equal(found.gather, case.io()[f"{number}.{name}.gather"].long())
            assert torch.equal(found.owner, case.io()[f"{number}.{name}.owner"].long())


@pytest.mark.parametrize("case", cases("swiftvr_dit"))
@torch.inference_mode()
def test_chunks(case: Case) -> None:
    net, io, config = transformer(case), case.io(), case.config
    conditions = net.conditions(io["prompt_embedding"][None])
    parts = io["latent"].split(config["latents_per_chunk"], 2)
    full = config["last_chunk_filled_to"]
    tokens: dict[int, Tensor] = {}
    for number, block in enumerate(net.network.blocks):
        block.register_forward_hook(lambda _, __, out, number=number: tokens.update({number: out}))
    found = []
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        before = parts[number - 1][:, :, part.shape[2] - full :] if last else part[:, :, :0]
        found.append(net.restore(part, before, conditions))
        for name in (name for name in io if name.startswith(f"stream.chunk{number}.block")):
            close(tokens[int(name.rsplit("block", 1)[1])], io[name], case.tolerance)
    close(torch.cat(found, 2), io["stream.x0"], case.tolerance)
    for count in (1, 2):
        if f"short{count}.x0" in io:
            part = io["latent"][:, :, :count]
            zeros = torch.zeros_like(io["latent"][:, :, : full - count])
            close(net.restore(part, zeros, conditions), io[f"short{count}.x0"], case.tolerance)


@pytest.mark.parametrize("case", cases("swiftvr_dit"))
@torch.inference_mode()
def test_latents_in_front_of_every_chunk(case: Case) -> None:
    net, io, config = transformer(case), case.io(), case.config
    conditions = net.conditions(io["prompt_embedding"][None])
    parts = io["latent"].split(config["latents_per_chunk"], 2)
    found = [net.restore(parts[0], parts[0][:, :, :0], conditions)]
    for number, part in enumerate(parts[1:], 1):
        last = number == len(parts) - 1
        count = config["last_chunk_filled_to"] - part.shape[2] if last else config["overlap"]
        before = parts[number - 1]
        found.append(net.restore(part, before[:, :, before.shape[2] - count :], conditions))
    close(torch.cat(found, 2), io.get("overlap.x0", io["stream.x0"]), case.tolerance)


def clip(case: Case) -> Tensor:
    """The clip [1, T, 3, H, W] that the cases of the autoencoder give by a formula."""
    t, c, y, x = np.meshgrid(
        np.arange(case.config["frames"]),
        np.arange(3),
        np.arange(case.config["height"]),
        np.arange(case.config["width"]),
        indexing="ij",
    )
    height, width = case.config["height"], case.config["width"]
    waves = np.sin(2 * np.pi * (2 + c) * x / width + 0.7 * t) * np.cos(2 * np.pi * (1 + c) * y / height - 0.3 * t)
    value = 0.5 + 0.3 * waves + 0.15 * np.sin(0.9 * x + 0.4 * y + 0.3 * t + c)
    return torch.from_numpy(value.astype(np.float32))[None]


@pytest.mark.parametrize("case", cases("swiftvr_reae"))
@torch.inference_mode()
def test_whole_clips_of_the_autoencoder(case: Case) -> None:
    net, io, video = autoencoder(case), case.io(), clip(case)
    close(net.encode_step(whole_groups(video, 4), ConvCache())[0], io["encode.latent"], case.tolerance)
    close(net.encode_step(whole_groups(video[:, :1], 4), ConvCache())[0], io["encode.one_frame"], case.tolerance)
    latent = io["decode.latent"]
    close(net.decode_raw(latent, ConvCache()), io["decode.untrimmed"], case.tolerance)
    close(net.decode_step(latent, ConvCache())[0], io["decode.video"], case.tolerance)
    close(net.decode_step(latent[:, :1], ConvCache())[0], io["decode.one_latent"], case.tolerance)


@pytest.mark.parametrize("case", cases("swiftvr_reae"))
@torch.inference_mode()
def test_the_autoencoder_streamed(case: Case) -> None:
    net, io, config = autoencoder(case), case.io(), case.config
    video = clip(case)
    for sizes in (config["encode_chunks"], [1] * video.shape[1], [3] * (video.shape[1] // 3) + [video.shape[1] % 3]):
        cache, parts = ConvCache(), []
        padded = [*sizes, -video.shape[1] % 4]
        for frames in whole_groups(video, 4).split([size for size in padded if size], 1):
            latent, cache = net.encode_step(frames, cache)
            parts += [latent] if latent.shape[1] else []
        close(torch.cat(parts, 1), io["encode.latent"], case.tolerance)
    for sizes in (config["decode_chunks"], [1] * io["decode.latent"].shape[1]):
        cache, parts = ConvCache(), []
        for latent in io["decode.latent"].split(sizes, 1):
            frames, cache = net.decode_step(latent, cache)
            parts.append(frames)
        close(torch.cat(parts, 1), io["decode.video"], case.tolerance)
        if sizes == config["decode_chunks"]:
            assert [part.shape[1] for part in parts] == config["frames_per_decode_chunk"]


def prepared(case: Case) -> Tensor:
    """The enlarged clip [T, 3, H, W] in 0..1, in black up to whole tokens, as the release has it."""
    config, levels = case.config, case.io()["lq"].permute(0, 3, 1, 2)
    high, wide = config["cropped_to"]
    large = enlarge(levels[..., :high, :wide].float() / 255, (config["output_height"], config["output_width"]))
    right, below = (config[f"padded_{side}"] - config[f"output_{side}"] for side in ("width", "height"))
    return F.pad(large, (0, right, 0, below))


@pytest.mark.parametrize("case", cases("swiftvr_pipeline"))
@torch.inference_mode()
def test_the_procedure(case: Case) -> None:
    io, config = case.io(), case.config
    x, rule = prepared(case), config["reae"]
    wide = (width * rule["width_mult"] for width in (256, 128, 64))
    net = Reae(ReaeConfig(decoder_widths=(*wide, 64)))
    shapes = {name: list(tensor.shape) for name, tensor in net.state_dict().items()}
    filled(net, shifted(formula_weights(shapes, rule["weights"]), rule["weights"]))
    latents, generator = config["clip_length"] // net.temporal, transformer(case)
    stages = (
        Encode(StreamingPass(net.encode_step, Tiling("off"), (SPATIAL, 1)), enlarge, CPU),
        Generate(generator, generator.conditions(io["prompt_embedding"][None]), Tiling("off"), latents + 1),
        Decode(StreamingPass(net.decode_step, Tiling("off"), (1, SPATIAL)), CPU),
    )
    runners = [StageRunner(stage) for stage in stages]
    size = (x.shape[-2], x.shape[-1])
    for runner in runners:
        runner.start(SceneStart(0, size, size))
    tolerance, restored = config["tolerance"], []
    for number, (chunk, count) in enumerate(chunks(x, schedule(latents, latents + 1))):
        encoded = runners[0].step(chunk)
        if number == 0:
            sample = encoded.enlarged[::5, :, ::3, ::3][None]
            close(sample[:, : io["chunk0.input.sample"].shape[1]], io["chunk0.input.sample"], 1e-6)
        generated = runners[1].step(encoded)
        close(encoded.latents, io[f"chunk{number}.latent"], tolerance["latent"])
        close(generated.latents, io[f"chunk{number}.x0"], tolerance["x0"])
        frames = runners[2].step(generated).frames
        close(frames[None, :, :, 1::4, 2::4], io[f"chunk{number}.rgb.sample"], tolerance["rgb"])
        restored.append(frames[:count])
    found = torch.cat(restored)[..., : config["output_height"], : config["output_width"]]
    levels = (found * 255).floor()  # the release truncates
    assert len(levels) == config["output_frames"]
    close(levels, io["output"].permute(0, 3, 1, 2).float(), tolerance["output"])
    assert float((levels == io["output"].permute(0, 3, 1, 2)).float().mean()) > 0.99
