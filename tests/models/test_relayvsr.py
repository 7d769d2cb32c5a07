"""RelayVSR at a small size: streamed and whole, saved and continued, in tiles, with weights that wait on the host."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.models import small_wan22 as small
from vrx.errors import ModelError
from vrx.models import relayvsr
from vrx.models.base import SceneStart
from vrx.models.family import BuildRequest
from vrx.models.loader import detect_family, load_model, read_folder
from vrx.models.loader import entry_from_path as entry
from vrx.models.relayvsr import Generate, RelayVsrModel, enlarge, to_network
from vrx.models.tiling import Tiling
from vrx.networks.wan.rope import rope
from vrx.settings import ModelSettings, RestoreSettings, Task

CPU = torch.device("cpu")
SOURCE = (13, 22)  # no multiples of 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.relayvsr(tmp_path_factory.mktemp("small") / "model")


def load(folder: Path, **settings: Any) -> RelayVsrModel:
    found = small.load(folder, **settings)
    assert isinstance(found, RelayVsrModel)
    return found


def clip(frames: int, source: tuple[int, int] = SOURCE) -> Tensor:
    return small.clip(frames, source)


@torch.inference_mode()
def whole(model: RelayVsrModel, x: Tensor) -> Tensor:
    """The same with the whole clip at hand: all key frames in one forward under a mask, then window after window."""
    network, video = model.key_frames, to_network(x)
    keys = sorted({*range(0, len(x), model.window - 1), len(x) - 1})
    generator = torch.Generator().manual_seed(model.seed)
    shape = (1, network.config.in_dim, video.shape[-2] // 4, video.shape[-1] // 4)
    noise = torch.stack([torch.randn(shape, generator=generator) for _ in keys], 2)
    grid = network.grid(noise)
    frame = torch.arange(grid[0]).repeat_interleave(grid[1] * grid[2])
    apart = frame[:, None] - frame[None]
    mask = (apart >= 0) & (apart < network.config.context_frames)
    tokens = torch.cat([network.project(enlarge(video[key : key + 1])) for key in keys], 1)
    freqs = rope(grid, 0, network.config.head_dim, CPU)
    prediction = network.run(
        noise,
        model.conditions,
        freqs,
        lambda _, q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask),
        [tokens],
    )
    memories = [model.small.remember(latent[:, :, 0]) for latent in (noise - prediction).split(1, 2)]
    found: list[Tensor] = []
    windows = list(pairwise(keys)) or [(0, 0)]
    for place, (first, last) in enumerate(windows):
        recent = None
        for number in range(first, last + 1):
            after = memories[min(place + 1, len(memories) - 1)]
            out, recent = model.small(
                video[number : number + 1], memories[place], after, [] if recent is None else [recent]
            )
            if number == len(found):
                found.append(out[..., : 4 * x.shape[-2], : 4 * x.shape[-1]])
    return (torch.cat(found) / 2 + 0.5).clamp(0, 1)


@pytest.mark.parametrize(
    ("window", "lengths"), [(6, range(1, 19)), (16, (1, 2, 15, 16, 17, 30, 31, 32, 46, 50)), (2, (1, 2, 3, 5))]
)
def test_streamed_is_whole_for_every_length_up_to_three_chunks_and_a_bit(
    window: int, lengths: Iterable[int], tmp_path: Path
) -> None:
    model = replace(load(small.relayvsr(tmp_path / "model", spatial_window_size=None)), window=window)
    for count in lengths:
        x = clip(count, (8, 12))
        found = small.run(model, x)
        assert found.shape == (count, 3, 32, 48)
        torch.testing.assert_close(found, whole(model, x), atol=1e-4, rtol=0)
        assert float(found.std()) > 0.05


def test_the_causal_mode_does_not_look_at_the_next_key_frame(folder: Path) -> None:
    model, x = replace(load(folder), causal=True), clip(16)
    other = torch.cat([x[:15], 1 - x[15:]])
    assert torch.equal(small.run(model, x)[:15], small.run(model, other)[:15])
    assert not torch.equal(small.run(load(folder), x)[:15], small.run(load(folder), other)[:15])


@pytest.mark.parametrize(("tile", "source"), [("off", SOURCE), ("256", (5, 90))])
def test_a_saved_scene_continues_alike_and_is_the_same_every_time(
    tile: str, source: tuple[int, int], folder: Path
) -> None:
    model, x = load(folder, tile=tile), clip(40, source)
    expected = small.run(model, x)
    assert expected.shape == (40, 3, 4 * source[0], 4 * source[1])
    assert torch.equal(small.run(load(folder, tile=tile), x), expected)
    for chunk in (1, 2):
        assert torch.equal(small.run(load(folder, tile=tile), x, reload_at=chunk), expected)


def test_every_scene_begins_anew_with_noise_of_its_own(folder: Path) -> None:
    model, x = load(folder), clip(17)
    first = small.run(model, x)
    assert torch.equal(small.run(model, x), first)
    assert not torch.equal(small.run(model, x, number=1), first)
    assert not torch.equal(small.run(load(folder, seed=1), x), first)


def test_every_size_is_padded_by_its_border_and_cut_exactly(folder: Path) -> None:
    model, x = load(folder), clip(2, (16, 24))
    for height, width in ((1, 1), (16, 17), (9, 24)):
        part = x[..., :height, :width]
        padded = F.pad(part, (0, -width % 8, 0, -height % 8), mode="replicate")
        expected = small.run(model, padded)[..., : 4 * height, : 4 * width]
        assert torch.equal(small.run(model, part), expected)


def test_other_scales_are_resized(folder: Path) -> None:
    model, x = load(folder), clip(3)
    large = small.run(model, x)
    small_size = (2 * SOURCE[0], 2 * SOURCE[1])
    expected = F.interpolate(large, small_size, mode="bicubic", antialias=True).clamp(0, 1)
    torch.testing.assert_close(small.run(model, x, scale=2), expected, atol=1e-6, rtol=0)


def test_tiles_agree_with_the_whole_away_from_their_seams(folder: Path) -> None:
    x = clip(18, (8, 90))  # 368 pixels of padded output a row: the second tile begins at 224
    expected, tiled = (small.run(load(folder, tile=tile), x) for tile in ("off", "256"))
    assert tiled.shape == expected.shape
    near = (tiled - expected).abs().amax((0, 1, 2))  # by column
    assert float(near[:96].max()) < 1e-5
    assert float(near[160:300].max()) > 1e-3
    assert float((tiled - expected).abs().mean()) < 0.1 * float(expected.std())
    for tile in ("auto", "384"):
        assert torch.equal(small.run(load(folder, tile=tile), x), expected)


def test_noise_is_the_whole_pictures_and_each_tile_has_its_ring(folder: Path) -> None:
    system = load(folder, tile="256").restorer(RestoreSettings(task=Task.UPSCALE, scale=4))
    generate = system.stages["generate"]
    assert isinstance(generate, Generate)
    state = generate.start(SceneStart(0, (8, 180), (32, 720)))
    assert [ring.window for ring in state.rings] == [16, 16, 16, 4]  # tokens of two key frames, a row of 8 or 2
    assert generate.draw(state).shape == (1, small.CHANNELS, 2, 46)


def test_layers_that_wait_on_the_host_give_the_same(folder: Path) -> None:
    x = clip(20)
    assert torch.equal(small.run(load(folder, offload=True), x), small.run(load(folder), x))


def test_rings_of_tiles_wait_on_the_host_where_the_device_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    assert Tiling(free=lambda: 8_000_000_000).has_room(gpu)
    assert not Tiling(free=lambda: 7_999_999_999).has_room(gpu)
    assert not Tiling().has_room(gpu)
    assert Tiling().has_room(CPU)


def test_the_published_layout_is_recognized(folder: Path, tmp_path: Path) -> None:
    assert detect_family(folder) == "relayvsr"
    found = read_folder(folder)
    assert set(found.files) == {relayvsr.KEY_FRAMES, relayvsr.SMALL}
    model = load(folder)
    assert model.key_frames.config.spatial_window == (2, 3)
    assert model.key_frames.config.context_frames == 3
    assert model.small.config.video == (4, 4)
    renamed = tmp_path / "other"
    renamed.mkdir()
    for name, new in (("wan", "a"), ("flash", "b")):
        (renamed / f"{new}.safetensors").write_bytes((folder / f"{name}.safetensors").read_bytes())
    assert set(read_folder(renamed).files) == set(found.files)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temporal_context_frames": 5}, r"temporal_context_frames is 5; positions were trained for 1 to 4"),
        ({"temporal_rope": {"policy": "rolling"}}, r"policy is rolling, and only fixed_end is supported"),
        ({"qk_norm": "none"}, r"qk_norm is none"),
    ],
)
def test_a_configuration_that_is_not_known_is_refused(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        load(small.relayvsr(tmp_path / "model", **changes))


def test_a_file_without_its_configuration_is_refused(folder: Path) -> None:
    found = read_folder(folder)
    found.given.pop(relayvsr.SMALL)
    request = BuildRequest(found, ModelSettings(), CPU, torch.float32)
    with pytest.raises(ModelError, match=r"flash\.safetensors has no `config` metadata"):
        load_model(entry(folder), request)


def test_the_prompts_weights_are_dropped(folder: Path) -> None:
    model = load(folder)
    names = [name for name, tensor in model.key_frames.named_parameters() if tensor.numel()]
    assert not [name for name in names if ".cross_attn.k." in name or ".cross_attn.v." in name]
    assert model.conditions.context.keys.shape == (2, 1, 2, 5, 24)
