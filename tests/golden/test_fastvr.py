"""FastVR's networks, schedule, tiles and whole procedure, against runs of the release."""

from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from tests.golden.cases import Case, cases, close, filled
from tests.models.test_large import chunks
from vrx.models.autoencoders import StreamingPass
from vrx.models.base import SceneStart
from vrx.models.fastvr import LATENTS, Decode, Generate
from vrx.models.light_wan import Encode, schedule
from vrx.models.runner import StageRunner
from vrx.models.tiling import Tiling
from vrx.networks.causal_conv import ConvCache
from vrx.networks.color_transfer import adain, wavelet
from vrx.networks.fastvr.autoencoder import FastVae, FastVaeConfig
from vrx.networks.fastvr.generator import SIGMA, TIMESTEP, ChunkMemory, FastTransformer
from vrx.networks.fastvr.luma import LumaHead
from vrx.networks.fastvr.tiles import spans
from vrx.networks.swiftvr.autoencoder import SPATIAL
from vrx.networks.taehv import whole_groups
from vrx.networks.wan.schedule import TRAIN_STEPS, nearest_sigma
from vrx.networks.wan.transformer import WanConfig, WanTransformer

CPU = torch.device("cpu")
VAE_SIZES = ("latent_channels", "encoder_width", "decoder_widths", "luma_width")


@pytest.mark.parametrize("case", cases("fastvr_schedule"))
def test_the_network_is_told_the_nearest_entry_of_the_schedule(case: Case) -> None:
    tolerance = case.config["tolerance"]
    for entry in case.config["entries"]:
        sigma = nearest_sigma(entry["requested"], case.config["shift"], case.config["train_timesteps"])
        assert sigma == pytest.approx(entry["sigma"], abs=tolerance["sigma"])
        assert sigma * TRAIN_STEPS == pytest.approx(entry["timestep"], abs=tolerance["timestep"])


@pytest.mark.parametrize("case", cases("fastvr_tiling"))
def test_tiles_and_the_part_of_each_that_counts(case: Case) -> None:
    for grid in case.config["cases"]:
        axes = [spans(grid[side], grid["tile"], grid["stride"]) for side in ("rows", "columns")]
        found = [
            {
                "rows": [row.begin, row.end],
                "columns": [column.begin, column.end],
                "kept_rows": [row.first, row.last],
                "kept_columns": [column.first, column.last],
            }
            for row, column in product(*axes)
        ]
        assert found == grid["tiles"]


def network(case: Case) -> FastTransformer:
    return FastTransformer(filled(WanTransformer(WanConfig(**case.model)), case.weights()))


@pytest.mark.parametrize("case", cases("fastvr_dit"))
@torch.inference_mode()
def test_chunks_see_the_chunk_before(case: Case) -> None:
    net, io, config = network(case), case.io(), case.config
    conditions = net.conditions(io["context"])
    assert pytest.approx(config["timestep"], abs=0.0005) == TIMESTEP
    latent, chunks = io["latent"], config["latents_per_chunk"]

    def restore(x: Tensor) -> tuple[Tensor, ChunkMemory]:
        memory, parts = ChunkMemory.empty(net.network), []
        for piece in x.split(chunks, 2):
            found, memory = net.restore(piece, conditions, memory)
            parts.append(found)
        return torch.cat(parts, 2), memory

    whole, memory = restore(latent)
    close(whole, io["stream.x0"], case.tolerance)
    close((latent - whole) / SIGMA, io["stream.flow"], case.tolerance)
    assert memory.latents == latent.shape[2]
    for name, mine in (("k", memory.keys), ("v", memory.values)):
        rows = mine[0].transpose(1, 2)
        close(rows, io[f"stream.cache_{name}0"].reshape(1, -1, *rows.shape[2:])[:, -rows.shape[1] :], case.tolerance)
    tiled = torch.zeros_like(latent)
    tiles = (spans(length, config["tile"], config["tile_stride"]) for length in latent.shape[-2:])
    for row, column in product(*tiles):
        restored, _ = restore(latent[..., row.whole, column.whole])
        tiled[..., row.counted, column.counted] = restored[..., row.inside, column.inside]
    close(tiled, io["tiled.x0"], case.tolerance)


@pytest.mark.parametrize("case", cases("fastvr_luma"))
@torch.inference_mode()
def test_the_luma_head(case: Case) -> None:
    head = filled(LumaHead(case.model["luma_width"]), case.weights())
    close(head.refine(case.io()["input"]), case.io()["output"], case.tolerance)


def clip(case: Case) -> Tensor:
    """The clip [1, T, 3, H, W] that the cases of the autoencoder give by a formula."""
    height, width, seed = (case.config[name] for name in ("height", "width", "seed"))
    axes = (np.arange(count) for count in (case.config["frames"], 3, height, width))
    t, c, y, x = np.meshgrid(*axes, indexing="ij")
    waves = np.sin(2 * np.pi * (2 + c) * x / width + 0.7 * t + seed) * np.cos(
        2 * np.pi * (1 + c) * y / height - 0.3 * t
    )
    value = 0.5 * waves + 0.3 * np.sin(0.9 * x + 0.4 * y + 0.3 * t + c)
    return torch.from_numpy(value.astype(np.float32))[None]


@pytest.mark.parametrize("case", cases("fastvr_vae"))
@torch.inference_mode()
def test_the_autoencoder(case: Case) -> None:
    net = filled(FastVae(FastVaeConfig(**{name: case.model[name] for name in VAE_SIZES})), case.weights())
    io, video = case.io(), (clip(case) + 1) / 2
    latent, source = io["decode.latent"].transpose(1, 2), whole_groups(video, 4)
    encoded = net.encode_step(source, ConvCache())[0]
    close(encoded.transpose(1, 2), io["encode.latent"], case.tolerance)
    one = net.encode_step(whole_groups(video[:, :1], 4), ConvCache())[0]
    close(one.transpose(1, 2), io["encode.one_frame"], case.tolerance)
    close(net.decoder.aligned(latent, ConvCache()).transpose(1, 2), io["decode.aligned"], case.tolerance)
    seen: list[Tensor] = []
    hook = net.decoder.tc.decoder[0].register_forward_hook(lambda _, __, output: seen.append(output))
    raw: list[Tensor] = []
    net.decoder.output_head.register_forward_pre_hook(lambda _, inputs: raw.append(inputs[0]))
    whole = net.decode_step(latent, source, ConvCache())[0]
    hook.remove()
    close(torch.cat(seen, 1).transpose(1, 2), io["decode.entry"], case.tolerance)
    close(torch.cat(raw)[3:].transpose(0, 1)[None], io["decode.raw"], case.tolerance)
    close(whole.transpose(1, 2), io["decode.video"], case.tolerance)
    first = net.decode_step(latent[:, :1], source[:, :4], ConvCache())[0]
    close(first.transpose(1, 2), io["decode.one_latent"], case.tolerance)
    cache, frames = ConvCache(), []
    latents = latent.split(case.config["decode_chunks"], 1)
    for part, beside in zip(latents, source.split([4 * len(x[0]) for x in latents], 1), strict=True):
        pictures, cache = net.decode_step(part, beside, cache)
        frames.append(pictures)
    close(torch.cat(frames, 1), whole, 1e-5)
    cache, parts = ConvCache(), []
    for part in source.split(3, 1):
        found, cache = net.encode_step(part, cache)
        parts += [found] if found.shape[1] else []
    close(torch.cat(parts, 1), encoded, 1e-5)


@pytest.mark.parametrize("case", cases("fastvr_colour_fix"))
def test_the_color_fix(case: Case) -> None:
    io = case.io()
    for name, transfer in (("adain", adain), ("wavelet", wavelet)):
        found = transfer(io["restored"].transpose(1, 2), io["reference"].transpose(1, 2))
        close(found.transpose(1, 2), io[name], case.tolerance)


def in_eight_bits(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """As the release enlarges: Pillow's bicubic."""
    pictures = (Image.fromarray(frame.numpy()) for frame in (frames * 255).round().byte().permute(0, 2, 3, 1))
    large = [np.asarray(picture.resize(size[::-1], Image.Resampling.BICUBIC)) for picture in pictures]
    return torch.from_numpy(np.stack(large)).permute(0, 3, 1, 2) / 255


@pytest.mark.parametrize("case", cases("fastvr_pipeline"))
@torch.inference_mode()
def test_the_procedure(case: Case) -> None:
    io, config = case.io(), case.config
    net = filled(FastVae(FastVaeConfig(**config["vae"])), case.weights("vae"))
    generator, off = network(case), Tiling("off")
    tiling = Tiling(str(config["tile"] * SPATIAL))
    color = config["colour_fix"] or "auto"
    stages = (
        Encode(StreamingPass(net.encode_step, off, (SPATIAL, 1)), in_eight_bits, CPU),
        Generate(generator, generator.conditions(io["context"]), tiling),
        Decode(net, off, color),
    )
    x = io["lq"].permute(0, 3, 1, 2).float() / 255
    size = (config["processing_height"], config["processing_width"])
    runners = [StageRunner(stage) for stage in stages]
    for runner in runners:
        runner.start(SceneStart(0, (x.shape[-2], x.shape[-1]), size))
    raw: list[Tensor] = []
    net.decoder.output_head.register_forward_hook(lambda _, __, out: raw.append(out))
    tolerance, restored = config["tolerance"], []
    for number, (chunk, count) in enumerate(chunks(x, schedule(LATENTS, LATENTS))):
        encoded = runners[0].step(chunk)
        if number == 0:
            sample = (encoded.enlarged[::5, :, ::3, ::3] * 2 - 1).transpose(0, 1)[None]
            close(sample, io["chunk0.input.sample"], tolerance["input"])
        close(encoded.latents, io[f"chunk{number}.latent"], tolerance["latent"])
        generated = runners[1].step(encoded)
        close(generated.latents, io[f"chunk{number}.x0"], tolerance["x0"])
        frames = runners[2].step(generated).frames
        decoded = torch.cat(raw)[0 if number else 3 :].transpose(0, 1)[None]
        close(decoded[..., 1::4, 2::4], io[f"chunk{number}.decoded.sample"], tolerance["decoded"])
        raw.clear()
        restored.append(frames[:count])
    found = torch.cat(restored)
    if size != (config["output_height"], config["output_width"]):  # vrx enlarges to the size of the output itself
        found = F.interpolate(found, (config["output_height"], config["output_width"]), mode="bilinear")
    levels = (found * 255).floor()  # the release truncates
    close(levels, io["output"].permute(0, 3, 1, 2).float(), tolerance["output"])
    assert float((levels == io["output"].permute(0, 3, 1, 2)).float().mean()) > 0.99
