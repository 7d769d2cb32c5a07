"""ReCaVSR at a small size: streamed and whole, saved and continued, in tiles, with weights that wait on the host."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.models import small_wan22 as small
from vrx.errors import ModelError
from vrx.models.layouts import to_video
from vrx.models.loader import detect_family, read_folder
from vrx.models.recavsr import model as recavsr
from vrx.models.recavsr.decoding import frame_groups
from vrx.models.recavsr.model import SCHEDULE, RecaVsrModel, enlarge, pad_reflecting
from vrx.networks.causal_conv import ConvCache
from vrx.networks.recavsr.flashdecoder import DecoderMemory, FlashDecoder
from vrx.networks.recavsr.history import Anchors, visible
from vrx.networks.recavsr.transformer import RECYCLED, SourceProjection
from vrx.networks.wan.residual_decoder import ResidualDecoder
from vrx.networks.wan.rope import rope
from vrx.weights.key_mapping import to_native_keys

CPU = torch.device("cpu")
SOURCE = (9, 14)  # no whole tokens at four times the size


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.recavsr(tmp_path_factory.mktemp("small") / "model")


def load(folder: Path, **settings: Any) -> RecaVsrModel:
    found = small.load(folder, **settings)
    assert isinstance(found, RecaVsrModel)
    return found


def blocks(frames: int) -> Iterator[tuple[int, int]]:
    """First latent frame and count of every block."""
    begin, latent = 0, 0
    while begin < frames:
        count = 2 if begin else 6
        yield latent, count
        begin, latent = begin + SCHEDULE.size(latent), latent + count


@torch.inference_mode()
def whole(model: RecaVsrModel, x: Tensor) -> Tensor:
    """The same with the whole clip at hand: one projection of all frames, all keys kept and masked by the table.

    Wan's decoder decodes all latents in one call, the other one by one.
    """
    network, size = model.network, (4 * x.shape[-2], 4 * x.shape[-1])
    plan = list(blocks(len(x)))
    count = 1 + 4 * (plan[-1][0] + plan[-1][1] - 1)
    padded = torch.cat([x, x[-1:].expand(count - len(x), -1, -1, -1)])
    shown = pad_reflecting(to_video(enlarge(padded, size)))
    tokens, _ = network.project(shown, ConvCache())
    assert tokens.shape[2] == plan[-1][0] + plan[-1][1]
    generator = torch.Generator().manual_seed(model.seed)
    rows, columns = tokens.shape[-2:]
    kept: list[list[tuple[Tensor, Tensor]]] = [[] for _ in network.blocks]
    before, latents = None, []
    for first, frames in plan:
        noise = torch.randn(1, small.LATENTS, frames, 2 * rows, 2 * columns, generator=generator)
        own = rows * columns

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor, first: int = first, own: int = own) -> Tensor:
            kept[layer].append((k, v))
            keys, values = (torch.cat(part, 2) for part in zip(*kept[layer], strict=True))
            seen = torch.zeros(keys.shape[2] // own, dtype=torch.bool)
            seen[first:] = True
            seen[visible(network.config.actions[layer], first, Anchors())] = True
            mask = seen.repeat_interleave(own)[None].expand(q.shape[2], -1)
            return F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)

        recycled = network.recycle(torch.zeros_like(noise) if before is None else before)
        extra = tokens[:, :, first : first + frames].flatten(2).transpose(1, 2) + recycled
        freqs = rope((frames, rows, columns), first, network.config.head_dim, CPU)
        latent = noise - network.run(noise, model.conditions, freqs, attend, [extra])
        before = latent[:, :, -RECYCLED:]
        latents.append(latent)
    video = decoded(model.decoder, torch.cat(latents, 2), shown)
    return (video[0].transpose(0, 1)[: len(x), :, : size[0], : size[1]] / 2 + 0.5).clamp(0, 1)


def decoded(decoder: FlashDecoder | ResidualDecoder, latents: Tensor, shown: Tensor) -> Tensor:
    """Frames [1, 3, T, H, W] of all latents of a clip."""
    if isinstance(decoder, ResidualDecoder):
        return decoder.decode_step(latents, ConvCache())[0]
    memory, found = DecoderMemory(), []
    for latent, seen in zip(latents.unbind(2), frame_groups(shown.shape[2]), strict=True):
        out, memory = decoder(latent, shown[:, :, seen], memory)
        found.append(out)
    return torch.cat(found, 2)


@pytest.mark.parametrize(("decoder", "lengths"), [("auto", (*range(1, 47), 70)), ("full", (1, 2, 20, 21, 22, 29, 38))])
def test_streamed_is_whole_for_every_length_up_to_three_chunks_and_a_bit(  # of the full one: tests/golden, too
    decoder: str, lengths: tuple[int, ...], tmp_path: Path
) -> None:
    model = load(small.recavsr(tmp_path / "model", spatial_window=[22, 40]), decoder=decoder)
    for count in lengths:
        x = small.clip(count, (8, 12))
        found = small.run(model, x)
        assert found.shape == (count, 3, 32, 48)
        torch.testing.assert_close(found, whole(model, x), atol=1e-4, rtol=0)
        assert float(found.std()) > 0.05


@torch.inference_mode()
def test_the_source_is_projected_alike_however_it_is_cut() -> None:
    network = SourceProjection((5, 6), 7)
    video = torch.randn(1, 3, 41, 32, 64, generator=torch.Generator().manual_seed(0))
    expected, _ = network(video, ConvCache())
    assert expected.shape == (1, 7, 11, 1, 2)
    for sizes in ([1] * 41, [21, 8, 8, 4], [2, 3, 1, 35], [40, 1]):
        cache, parts = ConvCache(), []
        for part in video.split(sizes, 2):
            tokens, cache = network(part, cache)
            parts.append(tokens)
        torch.testing.assert_close(torch.cat(parts, 2), expected, atol=1e-5, rtol=0)
    for count in range(1, 42):
        assert network(video[:, :, :count], ConvCache())[0].shape[2] == -(-count // 4)


@pytest.mark.parametrize(
    ("decoder", "tile", "source"),
    [("auto", "off", SOURCE), ("auto", "256", (5, 90)), ("full", "off", (5, 6)), ("full", "256", (5, 90))],
)
def test_a_saved_scene_continues_alike_and_is_the_same_every_time(
    decoder: str, tile: str, source: tuple[int, int], folder: Path
) -> None:
    model, x = load(folder, tile=tile, decoder=decoder), small.clip(36, source)
    expected = small.run(model, x)
    assert expected.shape == (36, 3, 4 * source[0], 4 * source[1])
    assert torch.isfinite(expected).all()
    for chunk in (1, 2):
        again = load(folder, tile=tile, decoder=decoder)
        assert torch.equal(small.run(again, x, reload_at=chunk), expected)


def test_every_scene_begins_anew_with_noise_of_its_own(folder: Path) -> None:
    model, x = load(folder), small.clip(22, SOURCE)
    first = small.run(model, x)
    assert torch.equal(small.run(model, x), first)
    assert not torch.equal(small.run(model, x, number=1), first)
    assert not torch.equal(small.run(load(folder, seed=1), x), first)


def test_padding_mirrors_or_repeats_where_there_is_too_little() -> None:
    video = torch.arange(20.0).view(1, 1, 1, 1, 20).expand(1, 3, 2, 40, 20)
    padded = pad_reflecting(video)
    assert padded.shape == (1, 3, 2, 64, 32)
    assert padded[0, 0, 0, 0, 19:].tolist() == [19.0, *range(18, 6, -1)]
    narrow = pad_reflecting(video[..., :10])  # 22 of padding do not fit 10 pixels
    assert narrow[0, 0, 0, 0, 9:].tolist() == [9.0] * 23
    tall = torch.arange(33.0).view(1, 1, 1, 33, 1).expand(1, 3, 1, 33, 32)
    assert pad_reflecting(tall)[0, 0, 0, 32:, 0].tolist() == [*range(32, 0, -1)]


def test_it_restores_at_any_size_and_scale(folder: Path) -> None:
    model = load(folder)
    for source, scale in (((1, 1), 4), ((8, 8), 4), ((11, 21), 3), ((20, 9), 2)):
        found = small.run(model, small.clip(2, source), scale=scale)
        assert found.shape == (2, 3, scale * source[0], scale * source[1])
        assert torch.isfinite(found).all()


@pytest.mark.parametrize("decoder", ["auto", "full"])
def test_tiles_agree_with_the_whole_away_from_their_seams(decoder: str, folder: Path) -> None:
    x = small.clip(22 if decoder == "auto" else 5, (8, 90))
    expected, tiled = (small.run(load(folder, tile=tile, decoder=decoder), x) for tile in ("off", "256"))
    assert not torch.equal(tiled, expected)
    near = (tiled - expected).abs().amax((0, 1, 2))  # by column
    assert float(near[:32].max()) < float(near[200:260].max())
    assert float((tiled - expected).abs().mean()) < 0.2 * float(expected.std())
    for tile in ("auto", "384"):
        assert torch.equal(small.run(load(folder, tile=tile, decoder=decoder), x), expected)


def test_layers_that_wait_on_the_host_give_the_same(folder: Path) -> None:
    x = small.clip(22, SOURCE)
    assert torch.equal(small.run(load(folder, offload=True), x), small.run(load(folder), x))


@pytest.mark.parametrize("decoder", ["auto", "full"])
def test_colors_are_matched_where_asked(decoder: str, folder: Path) -> None:
    x = small.clip(1, (4, 6))
    plain, none, fixed, wavelet = (
        small.run(load(folder, color_fix=choice, decoder=decoder), x) for choice in ("auto", "none", "adain", "wavelet")
    )
    assert torch.equal(plain, none)
    source = enlarge(x, (16, 24))
    for found in (fixed, wavelet):
        off = (found - source).mean((-2, -1)).abs().max()
        assert off < 0.5 * (plain - source).mean((-2, -1)).abs().max()


def test_the_published_layout_is_recognized(folder: Path, tmp_path: Path) -> None:
    assert detect_family(folder) == "recavsr"
    found = read_folder(folder)
    roles = {recavsr.RECYCLED_TRANSFORMER, recavsr.DECODER, recavsr.PROMPT, recavsr.AUTOENCODER}
    assert set(found.files) == roles
    model = load(folder)
    assert model.network.config.spatial_window == (2, 3)
    assert model.network.config.actions == ("recent_2_anchor", "none", "recent_4")
    assert isinstance(model.decoder, FlashDecoder)
    assert model.decoder.config.spatial_window_size == (4, 4)
    assert model.conditions.context.keys.shape == (3, 1, 2, 5, 24)
    for number, name in enumerate(("transformer", "flashdecoder", "prompt", "vae")):
        (tmp_path / f"{number}.safetensors").write_bytes((folder / f"{name}.safetensors").read_bytes())
    assert set(read_folder(tmp_path).files) == roles


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"static_kv_router": {"layer_actions": ["none"]}}, "layer_actions has 1 entries for 3 layers"),
        ({"static_kv_router": None}, "layer_actions has 30 entries for 3 layers"),
        ({"static_kv_router": {"layer_actions": ["none", "all", "none"]}}, "has all, which is none of none, anchor"),
        ({"cross_attn_norm": False}, "cross_attn_norm is False, and only True is supported"),
    ],
)
def test_a_configuration_that_is_not_known_is_refused(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        load(small.recavsr(tmp_path / "model", **changes))


def test_rows_of_another_width_are_refused(folder: Path, tmp_path: Path) -> None:
    other = small.recavsr(tmp_path / "model")
    rows = load_file(other / "prompt.safetensors")["positive"]
    save_file({"positive": rows[..., :8].contiguous()}, other / "prompt.safetensors")
    with pytest.raises(ModelError, match=r"prompt\.safetensors holds \[1, 5, 8\] bfloat16, not rows of a prompt"):
        load(other)


def test_either_decoder_is_read_only_where_it_decodes(folder: Path, tmp_path: Path) -> None:
    x, expected = small.clip(2, SOURCE), {}
    for decoder in ("auto", "full"):
        expected[decoder] = small.run(load(folder, decoder=decoder), x)
    assert (expected["full"] - expected["auto"]).abs().max() > 0.1
    for decoder, unused in (("auto", "vae"), ("full", "flashdecoder")):
        other = small.recavsr(tmp_path / decoder)
        (other / f"{unused}.safetensors").unlink()
        assert torch.equal(small.run(load(other, decoder=decoder), x), expected[decoder])
    with pytest.raises(ModelError, match=r"lacks its residual_autoencoder \(vae\.\* or Wan2\.2_VAE\.\*\)"):
        load(tmp_path / "auto", decoder="full")


def test_wans_autoencoder_is_read_under_native_names_too(folder: Path, tmp_path: Path) -> None:
    other = small.recavsr(tmp_path / "model")
    native = to_native_keys(load_file(other / "vae.safetensors"))
    assert "decoder.upsamples.0.upsamples.3.time_conv.weight" in native
    (other / "vae.safetensors").unlink()
    torch.save(native, other / "Wan2.2_VAE.pth")
    x = small.clip(2, SOURCE)
    assert torch.equal(small.run(load(other, decoder="full"), x), small.run(load(folder, decoder="full"), x))


def test_an_autoencoder_of_other_latents_is_refused(tmp_path: Path) -> None:
    other = small.recavsr(tmp_path / "model")
    save_file(small.wan22_autoencoder(8), other / "vae.safetensors")
    with pytest.raises(ModelError, match=r"vae\.safetensors does not fit the transformer: other latents"):
        load(other, decoder="full")
