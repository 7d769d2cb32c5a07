import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.golden.cases import Case, cases, close, filled
from vrx.models.flashvsr import SCHEDULE, enlarge
from vrx.networks import color_transfer
from vrx.networks.causal_conv import ConvCache
from vrx.networks.flashvsr import attention as sparse
from vrx.networks.flashvsr import transformer as flash
from vrx.networks.flashvsr.projection import LqProjection, ProjectionConfig
from vrx.networks.taehv import ConditionalConfig, ConditionalDecoder
from vrx.networks.wan.transformer import WanConfig, WanTransformer


def transformer(sizes: dict[str, Any], weights: dict[str, Tensor]) -> WanTransformer:
    return filled(WanTransformer(WanConfig(**sizes)), weights)


def options(config: dict[str, Any]) -> flash.SparseOptions:
    return flash.SparseOptions(
        ratio=config["topk_ratio"], reach=config["local_range"], pairs=math.floor(config["kv_ratio"])
    )


@pytest.mark.parametrize("case", cases("flashvsr_lq_projection"))
@torch.inference_mode()
def test_the_lq_projection(case: Case) -> None:
    net = filled(LqProjection(ProjectionConfig(**case.model, version=case.config["version"])), case.weights())
    io, first, after = case.io(), case.config["first_step_frames"], case.config["step_frames"]
    video = io["video"]
    for begin, size in ((first, after), (first + after, 2 * after), (video.shape[2], after)):
        cache, parts = ConvCache(), []
        for part in (video[:, :, :begin], *video[:, :, begin:].split(size, 2)):
            if part.shape[2]:
                features, cache = net.step(part, cache)
                parts.append(features[0])
        close(torch.cat(parts, 1), io["features"], case.tolerance)


@pytest.mark.parametrize("case", cases("flashvsr_dit"))
@torch.inference_mode()
def test_the_streamed_transformer(case: Case) -> None:
    net, io, config = transformer(case.model, case.weights()), case.io(), case.config
    conditions = net.conditions(config["timestep"], io["context"], pad=False)
    network = flash.FlashTransformer(net, options(config))
    cache = network.allocate(*io["noise"].shape[-2:])
    frame = io["noise"].shape[-2] * io["noise"].shape[-1] // 4
    sizes = [config["first_step_frames"]] + [config["step_frames"]] * (config["steps"] - 1)
    parts = []
    for noise, tokens in zip(
        io["noise"].split(sizes, 2), io["lq_features"].split([s * frame for s in sizes], 1), strict=True
    ):
        parts.append(noise - network.step(noise, [tokens], conditions, cache))
    close(torch.cat(parts, 2), io["latent"], case.tolerance)


@pytest.mark.filterwarnings("ignore::UserWarning")  # FlexAttention is slow where it is not compiled
@pytest.mark.parametrize("case", cases("flashvsr_selection"))
@torch.inference_mode()
def test_which_windows_see_which(case: Case) -> None:
    io = case.io()
    for number, sizes in enumerate(case.config["cases"]):
        heads = sizes["heads"]

        def windows(name: str, number: int = number, heads: int = heads) -> tuple[Tensor, tuple[int, int, int]]:
            x = io[f"{number}.{name}"].float()
            grid = (x.shape[0], x.shape[1], x.shape[2])
            tokens = x.flatten(0, 2).unflatten(-1, (heads, -1)).transpose(0, 1)[None]
            return sparse.to_windows(tokens, grid), grid

        (q, grid), (k, _), (v, _) = windows("q"), windows("k"), windows("v")
        local = sparse.local_range(sizes["window_rows"], sizes["window_columns"], sizes["local_range"], q.device)
        assert torch.equal(local, io[f"{number}.local"].bool())
        keep = sparse.select(q, k, local, sizes["topk_ratio"])
        assert torch.equal(keep, io[f"{number}.keep"].bool())
        for attend in (sparse.attend_gathered, sparse.attend_flex):
            out = sparse.from_windows(attend(q, k, v, keep), grid)[0].transpose(0, 1).flatten(1)
            close(out.unflatten(0, grid), io[f"{number}.attention"], case.tolerance)


def formula_video(config: dict[str, Any]) -> Tensor:
    """[1, 3, T, H, W]; the formula stands in the case's config."""
    height, width, frames = config["height"], config["width"], config["lq_frames"]
    c, t, y, x = torch.meshgrid(
        *(torch.arange(count, dtype=torch.float64) for count in (3, frames, height, width)), indexing="ij"
    )
    turn = 2 * math.pi
    video = 0.5 * torch.sin(turn * (2 + c) * x / width + 0.7 * t) * torch.cos(turn * (1 + c) * y / height - 0.3 * t)
    video += 0.3 * torch.sin(0.9 * x + 0.4 * y + 0.3 * t + c)
    video += 0.15 * torch.cos(0.11 * x - 0.23 * y + 0.05 * t * (1 + c))
    return video.float()[None]


@pytest.mark.parametrize("case", cases("flashvsr_stream"))
@torch.inference_mode()
def test_whole_streams(case: Case) -> None:
    config, io, bars = case.config, case.io(), case.config["tolerance"]
    dit = transformer({**config["dit"]}, case.weights("dit"))
    sizes = {**config["lq_projection"], "out_dim": config["dit"]["dim"], "version": config["version"]}
    projection = filled(LqProjection(ProjectionConfig(**sizes)), case.weights("lq_proj_in"))
    decoder = filled(ConditionalDecoder(ConditionalConfig(**config["tcdecoder"])), case.weights("tcdecoder"))
    video, noise = formula_video(config), io["noise"].float()
    close(video[:, :, ::6, 5::16, 3::16], io["lq_video.sample"], 1e-6)
    time = dit.time_vectors(torch.tensor([config["timestep"]]))
    close(time.embedding, io["time.embedding"], 1e-4)
    conditions = dit.conditions(config["timestep"], io["context"], pad=False)
    network = flash.FlashTransformer(dit, options(config))
    cache = network.allocate(*noise.shape[-2:])
    lq_cache, decoder_cache = ConvCache(), ConvCache()
    latents, reads, shows = (config[f"{name}_per_step"] for name in ("latent_frames", "lq_frames", "output_frames"))
    restored = []
    for number in range(config["steps"]):
        begin = [sum(sizes[:number]) for sizes in (latents, reads, shows)]
        lq = video[:, :, begin[1] : begin[1] + reads[number]]
        features, lq_cache = projection.step(lq, lq_cache)
        for index, tokens in enumerate(features):
            close(tokens, io[f"step.{number}.lq_features.{index}"], bars["lq_features"])

        def observe(layer: int, keep: Tensor, number: int = number) -> None:
            assert torch.equal(keep, io[f"step.{number}.block.{layer}.selection"].bool())

        x = noise[:, :, begin[0] : begin[0] + latents[number]]
        prediction = network.step(x, features, conditions, cache, observe)
        close(prediction, io[f"step.{number}.prediction"], bars["prediction"])
        shown = video[:, :, begin[2] : begin[2] + shows[number]]
        frames, decoder_cache = decoder.decode_step((x - prediction).transpose(1, 2), shown, decoder_cache)
        frames = frames.transpose(1, 2) * 2 - 1
        close(frames[..., 2::16, 5::16], io[f"step.{number}.decoded.sample"], bars["decoded"])
        fixed = color_transfer.adain(frames, shown)
        close(fixed[..., 2::16, 5::16], io[f"step.{number}.restored.sample"], bars["restored"])
        restored.append(fixed)
    pixels = torch.cat(restored, 2)[0].transpose(0, 1).flatten(2)
    close(pixels.mean(-1), io["restored.frame_mean"], bars["restored"])
    close(pixels.std(-1, correction=0), io["restored.frame_std"], bars["restored"])


@pytest.mark.parametrize("case", cases("flashvsr_colour_fix"))
@torch.inference_mode()
def test_color_transfer(case: Case) -> None:
    io = case.io()
    close(color_transfer.low_band(io["restored"], case.config["levels"]), io["wavelet.low"], case.tolerance)
    close(color_transfer.adain(io["restored"], io["lq"]), io["adain"], case.tolerance)
    close(color_transfer.wavelet(io["restored"], io["lq"]), io["wavelet"], case.tolerance)


@pytest.mark.parametrize("case", cases("flashvsr_prepare"))
def test_enlarging_and_the_count_of_frames(case: Case) -> None:
    io = case.io()
    for number, sizes in enumerate(case.config["cases"]):
        scale = sizes["scale"]
        if scale != int(scale):
            continue  # we enlarge by whole numbers only
        frame = io[f"{number}.frame"].permute(2, 0, 1)[None].float() / 255
        large = (enlarge(frame, int(scale)) * 255).round()[0].permute(1, 2, 0)
        top, left = sizes["crop_top"], sizes["crop_left"]
        width, height = sizes["target"]
        difference = (large[top : top + height, left : left + width] - io[f"{number}.enlarged"].float()).abs()
        assert float(difference.max()) <= 1
        assert float(difference.mean()) <= 0.003
    for row in case.config["frame_plan"]:
        if row["input_frames"] == row["output_frames"]:  # where the release loses none, we read what it reads
            count, index = row["input_frames"], 0
            while count > 0:
                count, index = count - SCHEDULE.size(index), index + 1
            assert (count, index) == (0, row["steps"])
            assert row["input_frames"] + SCHEDULE.ahead == row["padded"]
