"""FastVR at a small size: every length, tiles, sizes, colors, weights in 8 bits, files that do not fit."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.models import small
from tests.models.test_large import DOWNLOADER, chunks, run
from vrx.errors import ModelError
from vrx.models.base import DeviceChunk, SceneStart
from vrx.models.family import BuildRequest
from vrx.models.fastvr import FastVrModel, FastVrRestorer, enlarge, generator_tiles
from vrx.models.loader import entry_from_path, find_components, load_model, read_folder
from vrx.models.runner import SceneRunner
from vrx.models.tiling import Tiling
from vrx.networks.causal_conv import ConvCache
from vrx.networks.fastvr.autoencoder import FastVae, FastVaeConfig
from vrx.networks.fastvr.generator import SIGMA
from vrx.networks.wan.rope import rope
from vrx.networks.wan.transformer import WanTransformer
from vrx.settings import ModelSettings, RestoreSettings, Task

CPU = torch.device("cpu")
SIDE = 32  # pixels of a token
SHARDS = ("dit-00001-of-00002.safetensors", "dit-00002-of-00002.safetensors")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.fastvr(tmp_path_factory.mktemp("models") / "fastvr")


def load(folder: Path, wishes: dict[str, Any] | None = None, **change: Any) -> FastVrModel:
    entry, model = entry_from_path(folder), ModelSettings(**wishes or {})
    components = find_components(entry, model, {}, DOWNLOADER)
    loaded = load_model(entry, BuildRequest(components, model, CPU, torch.float32, **change))
    assert isinstance(loaded, FastVrModel)
    return loaded


def restorer(folder: Path, scale: int = 1, **wishes: Any) -> FastVrRestorer:
    return load(folder, wishes).restorer(RestoreSettings(task=Task.UPSCALE, scale=scale))


def clip(frames: int, source: tuple[int, int] = (20, 36)) -> Tensor:
    still = torch.rand(1, 3, *source, generator=torch.Generator().manual_seed(3))
    return torch.cat([torch.roll(still, 2 * t, -1) for t in range(frames)])


def run_scene(system: FastVrRestorer, x: Tensor, reload_at: int = -1) -> Tensor:
    source = (x.shape[-2], x.shape[-1])
    scene, runner, results = SceneStart(0, source, (source[0] * system.scale, source[1] * system.scale)), None, []
    for number, (chunk, count) in enumerate(chunks(x, system.schedule)):
        if runner is None:
            runner = SceneRunner(system)
            runner.start(scene)
        if number == reload_at:
            saved = {name: {key: t.clone() for key, t in state.items()} for name, state in runner.save().items()}
            runner.step(DeviceChunk(1 - chunk.frames, ahead=chunk.ahead, last=chunk.last))
            runner.load(scene, saved)
        results.append(runner.step(chunk).frames[:count])
    return torch.cat(results)


def whole(model: FastVrModel, x: Tensor) -> Tensor:
    """A scene [T, 3, H, W] with all of it at hand: no stream, latents that do not see each other are masked."""
    network, (count, _, height, width) = model.network.network, x.shape
    x = F.pad(x, (0, -width % SIDE, 0, -height % SIDE), mode="replicate")
    extended = torch.cat([x, x[-1:].expand(-(count - 1) % 4 + 3, -1, -1, -1)])[None]
    latents = model.autoencoder.encode_step(extended, ConvCache())[0].transpose(1, 2)
    grid = network.grid(latents)
    block = torch.arange(grid[0]).repeat_interleave(grid[1] * grid[2]) // 3
    ago = block[:, None] - block[None]
    mask = (ago == 0) | (ago == 1)

    def attend(_: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    freqs = rope(grid, 0, network.config.head_dim, CPU)
    restored = latents - SIGMA * network.run(latents, model.conditions, freqs, attend)
    frames = model.autoencoder.decode_step(restored.transpose(1, 2), extended, ConvCache())[0][0]
    return (frames[:count, :, :height, :width] + 1) / 2


@torch.inference_mode()
def test_a_stream_of_any_length_is_the_whole_scene(folder: Path) -> None:
    model = load(folder)
    system = model.restorer(RestoreSettings(task=Task.UPSCALE, scale=1))
    assert [system.schedule.size(index) for index in range(3)] == [9, 12, 12]
    assert system.schedule.ahead == 3
    for length in range(1, 38):  # to three chunks and a bit
        x = clip(length)
        found = run(system, x)
        assert found.shape == x.shape
        torch.testing.assert_close(found, whole(model, x), atol=1e-5, rtol=0)
    assert float(found.std()) > 0.05


@torch.inference_mode()
@pytest.mark.parametrize(("source", "scale"), [((1, 1), 4), ((7, 5), 3), ((20, 36), 2), ((33, 31), 1), ((64, 32), 1)])
def test_every_size_and_scale_is_exact_and_its_edges_go_on(folder: Path, source: tuple[int, int], scale: int) -> None:
    x = clip(2, source)
    system = restorer(folder, scale)
    found = run_scene(system, x)
    assert found.shape == (2, 3, source[0] * scale, source[1] * scale)
    assert torch.isfinite(found).all()
    flat, encode = torch.full((2, 3, *source), 0.8), system.stages["encode"]
    chunk = DeviceChunk(flat, ahead=flat[:1].expand(3, -1, -1, -1), last=True)
    encoded, _ = encode.step(chunk, encode.start(SceneStart(0, source, (source[0] * scale, source[1] * scale))))
    assert all(side % SIDE == 0 for side in encoded.enlarged.shape[-2:])
    torch.testing.assert_close(encoded.enlarged, torch.full_like(encoded.enlarged, 0.8))


def test_frames_are_enlarged_as_pictures_are_and_stay_in_range() -> None:
    levels = torch.randint(64, 192, (2, 3, 9, 12), generator=torch.Generator().manual_seed(0)).byte()
    x = levels / 255
    for size in ((36, 48), (5, 7)):
        expected = F.interpolate(levels, size, mode="bicubic", antialias=True) / 255  # as Pillow does
        torch.testing.assert_close(enlarge(x, size), expected, atol=1.1 / 255, rtol=0)
    extreme = enlarge(x.round(), (36, 48))
    assert extreme.min() == 0
    assert extreme.max() == 1
    assert enlarge(x, (9, 12)) is x


def test_the_transformer_has_the_published_tiles_unless_told_otherwise() -> None:
    def sides(wanted: str, grid: tuple[int, int]) -> list[tuple[int, int]]:
        tiles = generator_tiles(Tiling(wanted, untiled=10**9), grid)
        return [(rows.end - rows.begin, columns.end - columns.begin) for rows, columns in tiles]

    assert sides("auto", (34, 60)) == [(64, 64)] * 6  # 1920x1088
    assert sides("auto", (32, 57)) == [(64, 64)] * 2
    assert sides("auto", (23, 32)) == [(46, 64)]
    assert sides("off", (34, 60)) == [(68, 120)]
    assert sides("512", (16, 17)) == [(32, 32)] * 2
    assert sides("300", (9, 9)) == [(18, 18)]  # whole tokens: 288 pixels
    first, second = generator_tiles(Tiling("auto"), (32, 57))
    assert (first[1].counted, second[1].counted, second[1].whole) == (slice(0, 57), slice(57, 114), slice(50, 114))


@torch.inference_mode()
def test_a_tile_is_a_stream_of_its_own_and_half_of_what_overlaps_counts(folder: Path) -> None:
    x = clip(26, (32, 416))
    plain, tiled = restorer(folder, tile="off"), restorer(folder, tile="256")
    whole_latents: list[Tensor] = []
    tiled_latents: list[Tensor] = []
    alone: list[Tensor] = []
    for system, found in ((plain, whole_latents), (tiled, tiled_latents), (plain, alone)):
        scene = SceneStart(0, (32, 416), (32, 416))
        encode, generate = plain.stages["encode"], system.stages["generate"]
        narrow = found is alone
        states = encode.start(scene), generate.start(SceneStart(0, (32, 256), (32, 256)) if narrow else scene)
        for chunk, _ in chunks(x, system.schedule):
            encoded, first = encode.step(chunk, states[0])
            if narrow:
                encoded = type(encoded)(encoded.latents[..., :16], encoded.enlarged, encoded.last)
            restored, second = generate.step(encoded, states[1])
            states = first, second
            found.append(restored.latents)
    apart, together, lone = (torch.cat(found, 2) for found in (tiled_latents, whole_latents, alone))
    assert not torch.equal(apart, together)
    counted = generator_tiles(Tiling("256"), (1, 13))[0][1].last
    assert counted == 13  # of 16 latents, the next tile begins at 10
    torch.testing.assert_close(apart[..., :counted], lone[..., :counted], atol=1e-6, rtol=0)


@torch.inference_mode()
@pytest.mark.parametrize("wishes", [{}, {"tile": "256", "color_fix": "wavelet"}, {"color_fix": "adain"}])
def test_it_goes_on_from_a_saved_state_alike(folder: Path, wishes: dict[str, Any]) -> None:
    x = clip(25, (20, 290))
    expected = run_scene(restorer(folder, **wishes), x)
    assert torch.isfinite(expected).all()
    for chunk in (1, 2):
        assert torch.equal(run_scene(restorer(folder, **wishes), x, reload_at=chunk), expected)


@torch.inference_mode()
def test_tiles_agree_with_the_whole_but_for_what_is_far(folder: Path) -> None:
    x = clip(10, (64, 416))
    plain, tiled = (run_scene(restorer(folder, tile=tile), x) for tile in ("off", "256"))
    assert tiled.shape == plain.shape
    assert not torch.equal(tiled, plain)
    assert float((tiled - plain).abs().mean()) < 0.1 * float(plain.std())
    assert torch.equal(run_scene(restorer(folder, tile="auto"), x), plain)


@torch.inference_mode()
def test_colors_are_matched_to_the_frame_they_belong_to_where_asked(folder: Path) -> None:
    x = clip(22) * torch.linspace(0.3, 1, 22)[:, None, None, None]
    plain, none, fixed, wavelet = (
        run_scene(restorer(folder, color_fix=choice), x) for choice in ("auto", "none", "adain", "wavelet")
    )
    assert torch.equal(plain, none)
    for found in (fixed, wavelet):
        off = (found - x).mean((-2, -1)).abs().amax()
        assert off < 0.02
        assert off < 0.3 * (plain - x).mean((-2, -1)).abs().amax()


@pytest.mark.parametrize(("kind", "limit"), [("int8", 0.005), ("fp8", 0.025)])
@torch.inference_mode()
def test_weights_in_8_bits_and_on_the_host(folder: Path, kind: str, limit: float) -> None:
    x, settings = clip(12), RestoreSettings(task=Task.UPSCALE, scale=1)
    ways: list[dict[str, Any]] = [{}, {"quantized": kind}, {"offload": True}, {"quantized": kind, "offload": True}]
    exact, rounded, waiting, both = (run(load(folder, **way).restorer(settings), x) for way in ways)
    assert torch.equal(exact, waiting)
    assert torch.equal(rounded, both)
    assert not torch.equal(exact, rounded)
    assert float((exact - rounded).square().mean().sqrt()) < limit * float(exact.std())


def test_the_layers_at_pixels_stay_in_float32() -> None:
    net = FastVae(FastVaeConfig(encoder_width=6, decoder_widths=(12, 8, 6, 6), luma_width=1)).eval()
    net.load_state_dict(small.random_weights(net))
    net.place(CPU, torch.bfloat16)
    precise = {name.split(".output_head")[0] for name, p in net.named_parameters() if p.dtype is torch.float32}
    assert precise == {"encoder.0.weight", "encoder.0.bias", "decoder"}
    with torch.inference_mode():
        x = torch.rand(1, 4, 3, 32, 32)
        latents, _ = net.encode_step(x, ConvCache())
        frames, _ = net.decode_step(latents, x, ConvCache())
    assert latents.dtype is torch.bfloat16
    assert frames.dtype is torch.float32
    assert float((frames != frames.bfloat16().float()).float().mean()) > 0.5  # values that bfloat16 does not have


def test_the_published_layout_is_recognized(folder: Path, tmp_path: Path) -> None:
    found = read_folder(folder)
    names = {"transformer": SHARDS[0], "conditional_autoencoder": "vae.safetensors", "prompt": "empty_prompt.pt"}
    assert {role: path.name for role, path in found.files.items()} == names
    assert {path.name for path in found.paths()} == {*SHARDS, *list(names.values())[1:]}
    assert load(folder).conditions.context.keys.shape == (2, 1, 2, 12, 24)
    exchanged = shutil.copytree(folder, tmp_path / "exchanged")
    (exchanged / SHARDS[0]).rename(exchanged / "x")
    (exchanged / SHARDS[1]).rename(exchanged / SHARDS[0])
    (exchanged / "x").rename(exchanged / SHARDS[1])
    x, settings = clip(3), RestoreSettings(task=Task.UPSCALE, scale=1)
    with torch.inference_mode():
        assert torch.equal(run(load(exchanged).restorer(settings), x), run(load(folder).restorer(settings), x))


def change(path: Path, name: str, value: Tensor | None, new: str = "") -> None:
    """Give a tensor of a file another value (None: its own) or name."""
    tensors = load_file(path)
    old = tensors.pop(name)
    save_file({**tensors, new or name: (old if value is None else value).contiguous()}, path)


BIAS, VAE_BIAS = "blocks.1.ffn.0.bias", "decoder.tc.decoder.4.bias"


@pytest.mark.parametrize(
    ("file", "name", "value", "new", "message"),
    [
        (0, BIAS, None, "blocks.1.ffn.0.offset", rf"1 missing \({BIAS}\); 1 unexpected \(blocks.1.ffn.0.offset\)"),
        (0, BIAS, torch.zeros(7), "", rf"1 of another shape \({BIAS}\)"),
        (0, BIAS, torch.zeros(64, dtype=torch.int8), "", rf"1 not floating-point \({BIAS}\)"),
        (0, BIAS, torch.full((64,), torch.nan), "", rf"tensor {BIAS} contains NaN or Inf"),
        (0, "time_embedding.0.weight", torch.zeros(48, 0), "", r"has no values, its shape is \[48, 0\]"),
        (0, "patch_embedding.weight", torch.zeros(4), "", "invalid configuration|is not a checkpoint"),
        (0, "patch_embedding.weight", torch.zeros(48, 16, 1, 2, 2), "", "does not fit|does not match"),
        ("vae.safetensors", VAE_BIAS, None, "decoder.tc.decoder.4.more", rf"1 missing \({VAE_BIAS}\); 1 unexpected"),
        ("vae.safetensors", VAE_BIAS, torch.zeros(1), "", r"1 of another shape"),
        ("vae.safetensors", VAE_BIAS, torch.full((32,), torch.inf), "", "contains NaN or Inf"),
        ("vae.safetensors", "decoder.tc.decoder.0.conv_pre.weight", torch.zeros(3), "", "invalid configuration"),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    file: int | str, name: str, value: Tensor | None, new: str, message: str, folder: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    paths = [copy / part for part in SHARDS] if file == 0 else [copy / str(file)]
    path = next(path for path in paths if name in load_file(path))
    change(path, name, value, new)
    with pytest.raises(ModelError, match=message) as raised:
        load(copy)
    assert str(copy) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("way", [{}, {"quantized": "int8"}, {"offload": True}, {"dtype": torch.float16}])
@pytest.mark.parametrize("name", ["blocks.1.ffn.0.weight", BIAS])
def test_a_weight_that_is_not_finite_is_refused_however_weights_are_stored(
    name: str, way: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = next(copy / part for part in SHARDS if name in load_file(copy / part))
    request = BuildRequest(read_folder(copy), ModelSettings(), CPU, torch.float32)
    for value, refused in ((1e5, False), (torch.inf, True), (torch.nan, True)):  # the first is infinite in float16
        weight = load_file(path)[name]
        weight.flatten()[-1] = value
        change(path, name, weight)
        if refused:
            with pytest.raises(ModelError, match=r"tensor blocks\.1\.ffn\.0\.\w+ contains NaN or Inf"):
                replace(request, **way).load("transformer", WanTransformer)
        else:
            replace(request, **way).load("transformer", WanTransformer)


def test_files_that_are_missing_or_there_twice_are_named(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    for name in SHARDS:
        (copy / name).rename(copy / "away")
        with pytest.raises(ModelError, match=f"lacks {name}, one of its 2 files"):
            load(copy)
        (copy / "away").rename(copy / name)
    shutil.copy(copy / SHARDS[0], copy / SHARDS[1])
    with pytest.raises(ModelError, match=r"00002-of-00002\.safetensors and another file of its checkpoint both hold"):
        load(copy)
    shutil.copy(folder / SHARDS[1], copy / SHARDS[1])
    torch.save(torch.ones(1, 12, 7), copy / "empty_prompt.pt")
    with pytest.raises(ModelError, match=r"holds \[1, 12, 7\] float32, not rows of a prompt, 24 wide"):
        load(copy)
    torch.save(torch.ones(1, 0, 24), copy / "empty_prompt.pt")
    with pytest.raises(ModelError, match=r"holds \[1, 0, 24\] float32, not rows"):
        load(copy)
    (copy / "empty_prompt.pt").unlink()
    save_file({}, copy / "empty_prompt.safetensors")
    with pytest.raises(ModelError, match=r"empty_prompt\.safetensors has no tensors"):
        load(copy)
    (copy / "empty_prompt.safetensors").unlink()
    with pytest.raises(ModelError, match=r"lacks its prompt \(.*empty_prompt"):
        load(copy)
