"""SATB-VR's stage on stand-ins for its networks: windows and what passes between them, noise, tiles, memory."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.extras import needs_extra
from vrx.bench.random_weights import RandomComponents
from vrx.bench.stages import parameters
from vrx.errors import ModelError, UsageError
from vrx.models.base import DeviceChunk, SceneStart
from vrx.models.components import Components
from vrx.models.family import BuildRequest
from vrx.models.footprint import Linear
from vrx.models.prompts import load_rows
from vrx.models.registry import FAMILIES
from vrx.models.runner import StageRunner
from vrx.models.satbvr import model
from vrx.models.satbvr import stage as module
from vrx.models.satbvr.memory import FOOTPRINT, OFFLOADED, Memory
from vrx.models.satbvr.stage import SCHEDULE, Options, Restore, choose_tiling, tile_side
from vrx.networks.causal_conv import ConvCache
from vrx.networks.color_transfer import adain, match_colors, wavelet
from vrx.networks.satbvr import sampler as sampling
from vrx.networks.satbvr.autoencoder import Posterior
from vrx.networks.satbvr.sampler import Prompts, Sampler
from vrx.networks.satbvr.solver import Schedule
from vrx.networks.satbvr.tiles import Tiling
from vrx.pipeline.select_model import check_options
from vrx.settings import ModelSettings, RestoreSettings, Task
from vrx.weights import catalogue

CPU = torch.device("cpu")
SIZE = (16, 32)
SCENE = SceneStart(0, SIZE, SIZE)
WINDOW = 20  # latent frames


class Means:
    """In place of the autoencoder: means of 8 x 8 pixels and of four frames; a cache counts the frames."""

    device, dtype, std = CPU, torch.float32, 0.0

    def encode(self, frames: Tensor, caches: list[ConvCache], offload: object) -> tuple[Posterior, list[ConvCache]]:
        small = F.avg_pool3d(frames, (1, 8, 8))
        first = [] if caches else [small[:, :, :1]]
        rest = small[:, :, len(first) :]
        latents = torch.cat([*first, F.avg_pool3d(rest, (4, 1, 1))] if rest.shape[2] else first, 2)
        latents = latents.repeat(1, 6, 1, 1, 1)[:, :16]
        return Posterior(latents, torch.full_like(latents, self.std)), self.count(caches, frames)

    def decode(self, latents: Tensor, caches: list[ConvCache], offload: object) -> tuple[Tensor, list[ConvCache]]:
        large = F.interpolate(latents[0, :3].transpose(0, 1), scale_factor=8).transpose(0, 1)[None]
        times = torch.full((latents.shape[2],), 4)
        times[0] = 4 if caches else 1
        return large.repeat_interleave(times, 2), self.count(caches, latents)

    def count(self, caches: list[ConvCache], x: Tensor) -> list[ConvCache]:
        before = caches[0].store["frames"] if caches else torch.zeros(1)
        return [ConvCache({"frames": before + x.shape[2]})]


class Followers:
    """In place of the networks: every frame gets the mean of what the window's first frames have over their source.

    The first step makes much of it.  So each window invents what nothing in the source decides, and only what it is
    told of the one before makes it invent the same.
    """

    config = SimpleNamespace(sample_height=300, sample_width=300)

    def __init__(self) -> None:
        self.texts: list[float] = []

    def predict(self, lq: Tensor, text: Tensor) -> Tensor:
        root = 0.39354405750427773**0.5
        return (root * lq - lq) / (1 - root**2) ** 0.5  # the clean latent is the source's

    def control(self, noisy: Tensor, lq: Tensor, timestep: int, text: Tensor) -> list[Tensor]:
        return []

    def denoise(self, noisy: Tensor, lq: Tensor, timestep: int, text: Tensor, states: object) -> Tensor:
        self.texts.append(float(text.mean()))
        alpha = float(Schedule().alpha_bar()[timestep])
        over = (noisy / alpha**0.5 - lq)[:, :4].mean((1, 2, 3, 4), keepdim=True) * (40 if timestep == 399 else 1)
        return (alpha**0.5 * noisy - lq - over) / (1 - alpha) ** 0.5


def sampler(steps: int = 5, guidance: float = 1.0) -> Sampler:
    networks = cast(Any, Followers())
    return Sampler(
        denoiser=networks,
        control=networks,
        prompts=Prompts(torch.ones(1, 2, 3), torch.zeros(1, 2, 3)),
        schedule=Schedule(),
        steps=steps,
        guidance=guidance,
    )


def restore(seed: int = 0, tile: str = "auto", color: str = "none", **kind: Any) -> Restore:
    found = sampler(**kind)
    memory = Memory(found.denoiser, found.control, CPU)
    return Restore(cast(Any, Means()), found, Options(scale=1, seed=seed, tile=tile, color=color), memory)


def frames(count: int) -> Tensor:
    return torch.rand(count, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def chunks(video: Tensor) -> list[Tensor]:
    return [video[: SCHEDULE.first], *video[SCHEDULE.first :].split(SCHEDULE.next)]


def run(stage: Restore, parts: list[Tensor], scene: SceneStart = SCENE) -> Tensor:
    runner = StageRunner(stage)
    runner.start(scene)
    return torch.cat([runner.step(DeviceChunk(part)).frames for part in parts])


def windows(
    stage: Restore, video: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> list[tuple[Tensor, Tensor | None, Tensor]]:
    """What the sampler is asked, and what it gives."""
    asked: list[tuple[Tensor, Tensor | None, Tensor]] = []

    def sample(self: object, lq: Tensor, draw: Callable[[torch.Size], Tensor], known: Tensor | None) -> Tensor:
        found = lq + 1
        asked.append((lq, known, found))
        return found

    monkeypatch.setattr(Sampler, "sample", sample)
    run(stage, video)
    return asked


def test_a_window_is_the_context_and_what_is_new_with_the_first_latent_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    video = frames(73 + 64 + 16)
    (first, none, found), (second, known, _), (last, _, _) = windows(restore(), chunks(video), monkeypatch)
    assert none is None
    assert [lq.shape[1] for lq in (first, second, last)] == [WINDOW, WINDOW, 8]
    for lq in (first, second, last):
        assert torch.equal(lq[:, 0], lq[:, 1])
    assert torch.equal(second[:, 1:4], first[:, -3:])
    assert torch.equal(last[:, 1:4], second[:, -3:])
    assert known is not None
    assert torch.equal(known[:, 1:], found[:, -3:])
    assert torch.equal(known[:, :1], found[:, -3:-2])
    latents = torch.cat([first[:, 1:], second[:, 4:], last[:, 4:]], 1)
    whole, _ = Means().encode(video.transpose(0, 1)[None] * 2 - 1, [], None)
    assert torch.allclose(latents, whole.mean.transpose(1, 2), atol=1e-6)


@torch.inference_mode()
def test_no_seam_shows_where_a_window_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    size = (64, 128)
    scene, still = SceneStart(0, size, size), torch.full((73 + 8, 3, *size), 0.5)

    def means(seed: int) -> Tensor:
        return run(restore(seed), chunks(still), scene).mean((1, 2, 3))

    for seed in (0, 1):
        found = means(seed)
        assert (found - 0.5).abs().min() > 0.02  # something was invented, and stays
        assert (found[1:73] - found[:72]).abs().max() < 1e-5
        assert abs(found[73] - found[72]) < 1 / 255
    monkeypatch.setattr(sampling, "replace_first", lambda clean, known: clean)
    found = means(0)
    assert abs(found[73] - found[72]) > 5 / 255  # each window for itself


@torch.inference_mode()
def test_what_is_known_stays_exactly_that() -> None:
    lq = torch.randn(1, 8, 16, 2, 4, generator=torch.Generator().manual_seed(0))
    known = torch.full((1, 4, 16, 2, 4), 0.7)
    for steps in (1, 2, 5):
        found = sampler(steps).sample(lq, torch.randn, known)
        assert torch.equal(found[:, :4], known)
        assert not torch.equal(found[:, 4:6], known[:, :2])


def test_noise_is_one_generators_for_posterior_start_and_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[int, ...]] = []
    draw = module.RestoreState.draw

    def noted(state: module.RestoreState, shape: torch.Size) -> Tensor:
        drawn.append(tuple(shape))
        return draw(state, shape)

    monkeypatch.setattr(module.RestoreState, "draw", noted)
    run(restore(steps=3), [frames(9)])
    assert drawn == [(1, 16, 3, 2, 4), *[(1, 4, 16, 2, 4)] * 3]  # the last step needs none
    assert torch.equal(run(restore(7), [frames(9)]), run(restore(7), [frames(9)]))
    assert not torch.equal(run(restore(7), [frames(9)]), run(restore(8), [frames(9)]))
    other = replace(SCENE, number=1)
    assert not torch.equal(run(restore(7), [frames(9)], other), run(restore(7), [frames(9)]))


def test_a_saved_scene_continues_with_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Means, "std", 0.1)
    video = frames(73 + 64)
    runner = StageRunner(restore())
    runner.start(SCENE)
    runner.step(DeviceChunk(video[:73]))
    saved = {name: tensor.clone() for name, tensor in runner.save().items()}
    expected = runner.step(DeviceChunk(video[73:])).frames
    again = StageRunner(restore())
    again.load(SCENE, saved)
    assert torch.equal(again.step(DeviceChunk(video[73:])).frames, expected)
    assert int(again.state.encoder[0].store["frames"]) == 137


def test_a_state_does_not_grow() -> None:
    runner = StageRunner(restore(steps=1))
    runner.start(SCENE)
    sizes = []
    for count in (73, 64, 64, 64):
        runner.step(DeviceChunk(frames(count)))
        sizes.append(sum(tensor.nbytes for tensor in runner.save().values()))
    assert len(set(sizes)) == 1


@pytest.mark.parametrize(("guidance", "texts"), [(6.0, [1.0, 0.0]), (1.0, [1.0]), (0.0, [1.0])])
def test_guidance_of_one_and_below_leaves_the_negative_prompt_out(guidance: float, texts: list[float]) -> None:
    stage = restore(steps=1, guidance=guidance)
    run(stage, [frames(1)])
    assert cast(Followers, stage._sampler.denoiser).texts == texts


@pytest.mark.parametrize("source", [(1, 1), (17, 30), (24, 40)])
def test_any_size_is_padded_and_cut_exactly(source: tuple[int, int]) -> None:
    scene = SceneStart(0, source, (2 * source[0], 2 * source[1]))
    picture = torch.rand(1, 3, *source)
    stage = restore(steps=1, color="wavelet")
    assert run(stage, [picture], scene).shape == (1, 3, *scene.target)
    large = stage._enlarge(picture, stage.start(scene))
    same = match_colors(large, large, "auto", module.TRANSFER)
    expected = F.interpolate(picture, scene.target, mode="bicubic").clamp(0, 1)
    assert torch.allclose(same[0].transpose(0, 1) / 2 + 0.5, expected, atol=1e-5)


def test_colors_are_matched_as_asked() -> None:
    made, source = torch.rand(2, 1, 3, 2, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for choice, expected in {
        "none": made,
        "adain": adain(made, source),
        "wavelet": wavelet(made, source),
        "auto": made.flip(-1),
    }.items():
        assert torch.equal(match_colors(made, source, choice, lambda x, _: x.flip(-1)), expected)


def test_when_the_transformer_works_in_tiles() -> None:
    published = Tiling(spatial=tile_side(1024))
    assert published.spatial is not None
    assert (published.spatial.tile, published.spatial.stride) == (128, 96)
    assert choose_tiling("auto", (1088, 1920), 2400, False) == Tiling()
    assert choose_tiling("auto", (1088, 1920), 2400, True) == published
    assert choose_tiling("auto", (2160, 3840), 2400, False) == published  # no positions for so many
    assert choose_tiling("1024", (512, 512), 2400, False) == published
    assert choose_tiling("off", (1088, 1920), 2400, True) == Tiling()
    for wanted in ("off", "3000"):
        with pytest.raises(UsageError, match="at most 2400 pixels a side in one piece, and 3840x2160"):
            choose_tiling(wanted, (2160, 3840), 2400, False)


def test_tiles_of_a_scene_stay_those_it_began_with() -> None:
    runner = StageRunner(restore(tile="256"))
    runner.start(SceneStart(0, (16, 288), (16, 288)))
    assert runner.state.tiling == Tiling(spatial=tile_side(256))
    saved = runner.save()
    again = StageRunner(restore(tile="auto"))
    again.load(SceneStart(0, (16, 288), (16, 288)), saved)
    assert again.state.tiling == runner.state.tiling


def test_memory_by_size() -> None:
    """Computed: nothing was measured."""
    hd, full_hd = 1280 * 720, 1920 * 1088
    for pixels, card, whole, untiled in (
        (hd, 24e9, False, True),
        (full_hd, 24e9, False, True),
        (full_hd, 16e9, False, False),
        (full_hd, 80e9, True, True),
    ):
        assert (pixels <= FOOTPRINT.whole.within(int(card))) == whole, (pixels, card)
        memory = Memory(cast(Any, None), cast(Any, None), CPU, int(card * 0.97))
        assert memory.needs_tiles(pixels) != untiled
        assert FOOTPRINT.minimum(pixels) < 24e9


@pytest.mark.parametrize(
    ("host_pixels", "pixels", "tiles"),
    [
        (None, 10**9, False),  # nobody knows
        (1920 * 1088, 1920 * 1088, False),
        (1920 * 1080, 1920 * 1088, True),
        (1280 * 720, 1600 * 1024, False),  # tiles take no less there
        (0, 1280 * 720, False),
    ],
)
def test_a_processor_takes_tiles_where_they_spare_what_it_lacks(
    host_pixels: int | None, pixels: int, tiles: bool
) -> None:
    memory = Memory(cast(Any, None), cast(Any, None), CPU, host_pixels=host_pixels)
    assert memory.needs_tiles(pixels) == tiles


def test_tiles_spare_no_weights_where_those_do_not_wait() -> None:
    uhd, (whole, tiled, both) = 3840 * 2160, (FOOTPRINT.whole, FOOTPRINT.tiled, FOOTPRINT.tiled_offloaded)
    assert tiled is not None
    assert both is not None
    assert tiled.at(uhd) - both.at(uhd) == pytest.approx(whole.at(0) - FOOTPRINT.minimum(0), abs=2)
    assert FOOTPRINT.minimum(uhd, offload=False) == tiled.at(uhd)
    assert FOOTPRINT.minimum(uhd) == both.at(uhd)


def test_caches_wait_on_the_device_while_the_transformer_fits_beside_them() -> None:
    cache, hd = ConvCache({"x": torch.ones(1)}), 1280 * 720
    for free, device, stays in ((7e9, "cuda", True), (6e9, "cuda", False), (0, "cpu", True)):
        memory = Memory(cast(Any, None), cast(Any, None), torch.device(device), free=partial(int, free))
        assert (memory.offload_cache(hd, cache) is cache) == stays
    unknown = Memory(cast(Any, None), cast(Any, None), torch.device("cuda"))
    assert unknown.offload_cache(hd, cache) is not cache


def test_layers_wait_on_the_host_only_where_the_output_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Memory] = []

    def offload(self: Memory) -> None:
        calls.append(self)
        self.rings.append(cast(Any, None))

    memory = Memory(cast(Any, None), cast(Any, None), CPU, int(24e9))
    monkeypatch.setattr(Memory, "offload_weights", offload)
    memory.prepare(640 * 480)
    assert not calls
    memory.prepare(1280 * 720)
    memory.prepare(1280 * 720)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("table", "words"),
    [({}, "lacks its scheduler"), ({"beta_schedule": "linear"}, "scheduler is not SATB-VR's: beta_schedule is linear")],
)
def test_a_missing_or_foreign_schedule_is_refused(table: dict[str, object], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        model.load_schedule(Components(given={"scheduler": table}))


@pytest.mark.parametrize("rows", [torch.ones(2, 3, 8), torch.ones(1, 3, 7), torch.ones(8), torch.ones(1, 3, 8).int()])
def test_rows_that_are_no_prompts_are_refused(rows: Tensor, tmp_path: Path) -> None:
    path = tmp_path / "prompt_embeds.pt"
    torch.save(rows, path)
    request = BuildRequest(Components({"prompt_embeds": path}), ModelSettings(), CPU, torch.float32)
    with pytest.raises(ModelError, match=r"prompt_embeds\.pt holds \[.*\] \w+, not rows of a prompt, 8 wide"):
        load_rows(request, "prompt_embeds", 8)
    torch.save(torch.full((1, 3, 8), float("nan")), path)
    with pytest.raises(ModelError, match=r"prompt_embeds\.pt: .*NaN"):
        load_rows(request, "prompt_embeds", 8)
    torch.save(torch.ones(3, 8).bfloat16(), path)
    assert load_rows(request, "prompt_embeds", 8).shape == (1, 3, 8)


def test_the_options_and_what_is_asked_without_them() -> None:
    assert model.STEPS == 5
    assert sampling.GUIDANCE == 6.0
    assert model.FAMILY.capabilities.steps == tuple(range(1, 11))
    with pytest.raises(UsageError, match="satb-vr was trained for 1 to 10 steps, not for 11"):
        entries = catalogue.load_file(catalogue.packaged_path(), FAMILIES)
        check_options(entries[model.NAME], ModelSettings(steps=11), RestoreSettings(task=Task.UPSCALE, scale=4))
    with pytest.raises(UsageError, match="--guidance -1 is out of range"):
        ModelSettings(guidance=-1)
    with pytest.raises(UsageError, match="--guidance is 'x'"):
        ModelSettings(guidance=cast(Any, "x"))


def test_the_published_numbers() -> None:
    """The authors' code: 80 frames of a temporal tile, of 1024 pixels, beginning 64 and 768 apart."""
    assert (module.WINDOW, module.TILE, module.STRIDE) == (WINDOW, 1024, 768) == (80 // 4, 128 * 8, 96 * 8)
    assert module.TRANSFER is wavelet
    assert module.CONTEXT + 1 == (80 - 64) // 4  # with the first one twice
    assert (SCHEDULE.first, SCHEDULE.next, SCHEDULE.multiple, SCHEDULE.first_offset) == (73, 64, 8, 1)
    assert [SCHEDULE.padding(n, True) for n in (1, 2, 9, 73)] == [0, 7, 0, 0]


@needs_extra
def test_what_the_footprint_says_of_weights_is_what_they_take() -> None:
    """At full size, on a device without numbers; adapters, whose rank is not known, come on top."""
    entry = catalogue.load_file(catalogue.packaged_path(), FAMILIES)[model.NAME]
    elsewhere = torch.device("meta")
    components = RandomComponents.of(entry, model.FAMILY, elsewhere, torch.bfloat16)
    request = BuildRequest(components, ModelSettings(), elsewhere, torch.bfloat16, torch.zeros(1, 226, 4096))
    loaded = model.load(request)
    restorer = loaded.restorer(RestoreSettings(task=Task.UPSCALE, scale=4))
    weights = {id(p): p for stage in restorer.stages.values() for p in parameters(stage)}
    count = sum(p.numel() for p in weights.values())
    assert count == 5_570_676_352 + 529_095_168 + 17_763_379 + 825_767_475 + 215_583_907
    assert entry.parameters == pytest.approx(count, rel=1e-3)
    assert isinstance(FOOTPRINT.whole, Linear)
    assert 2 * count + 2.5e9 < FOOTPRINT.whole.fixed < 2 * count + 4e9  # a tile of the autoencoder, adapters
    denoiser, control = loaded.sampler.denoiser, loaded.sampler.control
    pairs = zip(denoiser.blocks, denoiser.connectors.children(), strict=True)
    rings = [[[*pair] for pair in pairs], [[block] for block in control.blocks]]
    layers = [[sum(p.numel() for module in layer for p in module.parameters()) for layer in ring] for ring in rings]
    resident = count - sum(map(sum, layers)) + 2 * sum(map(max, layers))
    assert OFFLOADED.fixed - 1e9 < 2 * resident + 2.5e9 < OFFLOADED.fixed
