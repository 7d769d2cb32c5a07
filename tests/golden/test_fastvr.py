"""FastVR's networks, schedule and tiles, against runs of the release."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.golden.cases import Case, cases, close, filled
from vrx.networks.causal_conv import ConvCache
from vrx.networks.fastvr.autoencoder import FastVae, FastVaeConfig
from vrx.networks.fastvr.luma import LumaHead
from vrx.networks.fastvr.tiles import spans
from vrx.networks.taehv import whole_groups
from vrx.networks.wan.schedule import TRAIN_STEPS, clean_latent, nearest_sigma
from vrx.networks.wan.transformer import WanConfig, WanTransformer

HISTORY = 3  # latents that a chunk sees of those before


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


def network(case: Case) -> WanTransformer:
    return filled(WanTransformer(WanConfig(**case.model)), case.weights())


@pytest.mark.parametrize("case", cases("fastvr_dit"))
@torch.inference_mode()
def test_chunks_see_the_chunk_before(case: Case) -> None:
    net, io, config = network(case), case.io(), case.config
    sigma = nearest_sigma(config["timestep_requested"], config["shift"], config["train_timesteps"])
    conditions = net.conditions(sigma * TRAIN_STEPS, io["context"], pad=False)
    latent = io["latent"]
    chunks = config["latents_per_chunk"]

    def flow_of(part: Tensor) -> tuple[Tensor, Tensor]:
        cache = net.allocate(*part.shape[-2:], HISTORY, config["chunk"])
        flow = torch.cat([net.step(piece, conditions, cache) for piece in part.split(chunks, 2)], 2)
        return flow, cache.keys[0]

    flow, keys = flow_of(latent)
    close(flow, io["stream.flow"], case.tolerance)
    close(clean_latent(latent, flow, sigma), io["stream.x0"], case.tolerance)
    assert keys.shape[1] == io["stream.cache_k0"].shape[2]
    tiled = torch.zeros_like(latent)
    rows, columns = (spans(length, config["tile"], config["tile_stride"]) for length in latent.shape[-2:])
    for row, column in product(rows, columns):
        part = latent[..., row.begin : row.end, column.begin : column.end]
        restored = clean_latent(part, flow_of(part)[0], sigma)
        inside = (slice(row.first - row.begin, row.last - row.begin),)
        inside += (slice(column.first - column.begin, column.last - column.begin),)
        tiled[..., row.first : row.last, column.first : column.last] = restored[(..., *inside)]
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
    sizes = ("latent_channels", "encoder_width", "decoder_widths", "luma_width")
    net = filled(FastVae(FastVaeConfig(**{name: case.model[name] for name in sizes})), case.weights())
    io, video = case.io(), clip(case)
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
