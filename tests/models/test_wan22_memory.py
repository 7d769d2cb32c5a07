"""The systems on Wan 2.2 at their published sizes, on a device without numbers: parameters, and memory by size."""

import pytest
import torch
from torch import Tensor, nn

from tests.models.alive import Alive
from tests.models.test_large import chunks
from vrx.bench.random_weights import RandomComponents, random_context
from vrx.bench.stages import networks, weights
from vrx.models.base import ChunkSchedule, Restorer, SceneStart
from vrx.models.family import BuildRequest
from vrx.models.footprint import SPARE, Linear
from vrx.models.loader import load_model
from vrx.models.offload import SLOTS
from vrx.models.recavsr import model as recavsr
from vrx.models.recavsr.decoding import GeneratedChunk, WanDecode
from vrx.models.registry import FAMILIES
from vrx.models.runner import StageRunner
from vrx.models.tiling import Tiling
from vrx.networks import fusion
from vrx.networks.quantized import WeightFormat
from vrx.networks.recavsr.flashdecoder import FlashDecoder, FlashDecoderConfig
from vrx.networks.wan.residual_decoder import ResidualDecoder, ResidualDecoderConfig
from vrx.networks.wan.transformer import WanTransformer
from vrx.settings import ModelSettings, RestoreSettings, Task
from vrx.weights import catalogue

ELSEWHERE = torch.device("meta")
NAMES = ["swiftvr", "fastvr"]
HD = 1920, 1088
TILES, TILE = 6, 2 * 30 * 3 * 32 * 32 * 3072 * 2  # of FastVR's transformer at that size, and bytes that each remembers
PROMPT = 2 * 30 * 512 * 3072 * 2  # bytes of keys and values of the prompt
GIVEN_UP = 2 * 30 * (3072 + 1) * 3072 * 2  # bytes of the weights that make them, there while a model is loaded


@pytest.fixture(autouse=True)
def attention(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fused, as on a GPU: the device without numbers would have every product of queries and keys."""

    def fused(q: Tensor, k: Tensor, v: Tensor, *_: object, **__: object) -> Tensor:
        return torch.empty_like(q)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", fused)


def load(name: str, quantized: WeightFormat | None = None, untiled: int = HD[0] * HD[1]) -> Restorer:
    """A model on a GPU with room for so many pixels in one piece."""
    entry, family = catalogue.load_file(catalogue.packaged_path(), FAMILIES)[name], FAMILIES[name]
    components = RandomComponents.of(entry, family, ELSEWHERE, torch.bfloat16)
    rows = random_context(family)
    request = BuildRequest(components, ModelSettings(), ELSEWHERE, torch.bfloat16, rows, untiled, quantized=quantized)
    return load_model(entry, request).restorer(RestoreSettings(task=Task.UPSCALE, scale=1))


def parts_of(restorer: Restorer) -> list[nn.Module]:
    """Every network."""
    return [network for stage in restorer.stages.values() for network in networks(stage, set())]


def held(restorer: Restorer) -> int:
    """Bytes of all weights."""
    found = {id(tensor): tensor for stage in restorer.stages.values() for tensor in weights(stage)}
    return sum(tensor.nbytes for tensor in found.values())


def peaks(restorer: Restorer, width: int, height: int) -> dict[str, int]:
    """The most bytes that each stage holds in two chunks, its state among them, inputs and weights not counted."""
    scene = SceneStart(0, (height, width), (height, width))
    runners = {name: StageRunner(stage) for name, stage in restorer.stages.items()}
    alive = {name: Alive() for name in runners}
    schedule: ChunkSchedule = restorer.schedule
    clip = torch.empty(schedule.first + schedule.next, 3, height, width, device=ELSEWHERE)
    for number, (value, _) in enumerate(chunks(clip, schedule)):
        for name, runner in runners.items():
            with alive[name]:
                if not number:
                    runner.start(scene)
                value = runner.step(value)
    return {name: counted.peak for name, counted in alive.items()}


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_the_full_size_model_takes_no_more_memory_than_is_stated(name: str) -> None:
    entry = catalogue.load_file(catalogue.packaged_path(), FAMILIES)[name]
    family = FAMILIES[name]
    with ELSEWHERE:
        parts = [part.network(part.config) for part in family.components.values() if part.network]
    assert sum(p.numel() for part in parts for p in part.parameters()) == entry.parameters
    (footprint,) = family.capabilities.footprints
    width, height = HD
    kinds: tuple[WeightFormat | None, ...] = (None, "int8", *(("fp8",) if name == "swiftvr" else ()))  # the same blocks
    for kind in kinds:
        stated = footprint.quantized if kind else footprint.whole
        assert stated is not None
        restorer = load(name, kind)
        used = held(restorer) + PROMPT + sum(peaks(restorer, width, height).values())
        assert 0.95 < used / (stated.at(width * height) / SPARE) <= 1


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_weights_that_wait_leave_the_device_to_the_rest(name: str) -> None:
    restorer = load(name)
    network = next(p for p in parts_of(restorer) if isinstance(p, WanTransformer))
    layers = network.waiting_layers()
    waiting = [sum(p.nbytes for module in layer for p in module.parameters()) for layer in layers]
    staying = held(restorer) - sum(waiting) + SLOTS * max(waiting) + PROMPT + GIVEN_UP
    offloaded = FAMILIES[name].capabilities.footprints[0].offloaded
    assert offloaded is not None
    assert 0.9 < staying / offloaded.fixed <= 1


@torch.inference_mode()
def test_what_fastvrs_tiles_remember_may_wait_too() -> None:
    restorer = load("fastvr", untiled=0)
    tiled = FAMILIES["fastvr"].capabilities.footprints[0].tiled
    assert tiled is not None
    used = held(restorer) + PROMPT + sum(peaks(restorer, *HD).values()) - (TILES - 1) * TILE
    assert 0.95 < used / (tiled.at(HD[0] * HD[1]) / SPARE) <= 1


@torch.inference_mode()
def test_wan_22s_decoder_takes_what_is_stated_in_place_of_recavsrs(monkeypatch: pytest.MonkeyPatch) -> None:
    """ReCaVSR's own decoder takes 1.33 GB at 1920x1080 by its authors: so much of a run's footprint is its."""
    for kernel in ("normalize", "add"):  # one pass each, as on a GPU
        monkeypatch.setattr(fusion, kernel, lambda *_: None)
    usual, full = recavsr.FOOTPRINT, recavsr.FULL_FOOTPRINT
    with ELSEWHERE:
        network, other = ResidualDecoder(ResidualDecoderConfig()), FlashDecoder(FlashDecoderConfig())
    network.place(ELSEWHERE, torch.bfloat16)
    network.fuse()
    weights = [sum(p.numel() for p in part.parameters()) * 2 for part in (network, other)]
    uhd = 3840, 2176
    found = [decoding_peak(network, *size)[0] for size in (HD, uhd)]
    per_pixel = (found[1] - found[0]) / (uhd[0] * uhd[1] - HD[0] * HD[1])
    spared = (1.33e9 - weights[1]) / (1920 * 1080)
    for stated, before in ((full.whole, usual.whole), (full.offloaded, usual.offloaded)):
        assert isinstance(stated, Linear)
        assert isinstance(before, Linear)
        assert stated.fixed - before.fixed == pytest.approx(weights[0] - weights[1], rel=0.01)
        assert 1 <= (stated.per_pixel - before.per_pixel) / (per_pixel - spared) < 1.02
    assert full.tiled is not None
    assert usual.tiled is not None
    peak, caches = decoding_peak(network, *uhd, "1024")
    waiting = sum(caches) - max(caches)
    more = [way.at(uhd[0] * uhd[1]) / SPARE for way in (full.tiled, usual.tiled)]
    assert 0.9 < (weights[0] - weights[1] + peak - waiting) / (more[0] - more[1]) <= 1
    assert full.tiled.fixed - usual.tiled.fixed >= weights[0] - weights[1] + decoding_peak(network, 1024, 1024)[0]


def decoding_peak(network: ResidualDecoder, width: int, height: int, tile: str = "off") -> tuple[int, list[int]]:
    """The most bytes that decoding two blocks holds, inputs and weights not counted, and those of each tile's cache."""
    stage = WanDecode(network, "none", lambda _: Tiling(tile))
    state = stage.start(SceneStart(0, (height, width), (height, width)))
    alive = Alive()
    for frames, latents in ((21, 6), (8, 2)):
        latent = torch.empty(1, 48, latents, height // 16, width // 16, device=ELSEWHERE)
        source = torch.empty(frames, 3, height, width, device=ELSEWHERE)
        with alive:
            _, state = stage.step(GeneratedChunk(latent, source.transpose(0, 1)[None], source), state)
    return alive.peak, [cache.nbytes for cache in state.caches]
