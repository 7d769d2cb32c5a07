"""FastVR (arXiv 2609.36757): one step of Wan 2.2 over chunks of 12 frames, with a decoder that sees the source.

In: the enlarged source as latents.  Generator: Wan 2.2 TI2V 5B from the middle of its schedule, without noise; each
chunk sees the one before it.  Out: a light decoder with the enlarged source beside it at every size.  Three frames are
read ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.models.autoencoders import Caches, StreamingPass, pack_caches, unpack_caches
from vrx.models.base import AnyStage, CacheUsage, RestoredChunk, SceneStart, Stage
from vrx.models.components import TRANSFORMER, Component
from vrx.models.family import BuildRequest, Capabilities, Family
from vrx.models.footprint import Footprint, Linear
from vrx.models.layouts import round_up
from vrx.models.light_wan import MULTIPLE, Encode, LightChunk, check_fit, schedule
from vrx.models.prompts import load_rows
from vrx.models.saved import pack, unpack
from vrx.models.tiling import Tiles, Tiling
from vrx.models.token_tiles import PATCH, PIXELS, Cut, Grid, in_tiles, tile_sizes, token_tiles
from vrx.networks.axis_tiles import Span
from vrx.networks.causal_conv import ConvCache
from vrx.networks.color_transfer import match_colors
from vrx.networks.fastvr.autoencoder import FastVae
from vrx.networks.fastvr.generator import ChunkMemory, FastTransformer
from vrx.networks.fastvr.tiles import SIDE, STRIDE, spans
from vrx.networks.overflow import clamp_to_unit
from vrx.networks.swiftvr.autoencoder import SPATIAL
from vrx.networks.wan.transformer import TI2V_5B, Conditions, WanTransformer
from vrx.settings import RestoreSettings

LATENTS = 3  # of a chunk
SCHEDULE = schedule(LATENTS, LATENTS)
# Computed (tests/models/test_wan22_memory.py), not measured: weights in bf16 without those of the prompt 9.4 GB, in
# 8 bits 5.3; where they wait on the host 2.4 while they are loaded.  A pixel of output: all stages at work; 3.3 kB of
# it is what the published tiles remember at 1920x1088.  Tiled: that waits on the host but for one tile's 1.1 GB.
FOOTPRINT = Footprint(
    Linear(9.4e9, 6_250),
    offloaded=Linear(2.5e9, 6_250),
    quantized=Linear(5.3e9, 6_250),
    tiled=Linear(13.6e9, 1_050),
)
AUTOENCODER, PROMPT = "conditional_autoencoder", "prompt"  # roles
CPU = torch.device("cpu")


def enlarge(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """[T, 3, H, W] in 0..1 to (height, width), bicubic and antialiased; not rounded, where the release is in 8 bits."""
    if tuple(frames.shape[-2:]) == size:
        return frames
    return F.interpolate(frames, size, mode="bicubic", antialias=True).clamp(0, 1)


def grid_of(scene: SceneStart) -> Grid:
    """Rows and columns of a scene's tokens."""
    height, width = (round_up(side, MULTIPLE) // PIXELS for side in scene.target)
    return height, width


def generator_tiles(tiling: Tiling, grid: Grid) -> list[tuple[Span, Span]]:
    """Rows and columns of the generator's tiles, in latents; `auto` has the published ones whatever the memory.

    Its training knew no positions beyond a side of theirs.
    """
    lengths = [length * PATCH for length in grid]
    if tiling.wanted == "off":
        side = max(lengths)
    else:
        side = SIDE if tiling.wanted == "auto" else max(PATCH, int(tiling.wanted) // PIXELS * PATCH)
    rows, columns = (spans(length, side, max(1, side * STRIDE // SIDE)) for length in lengths)
    return list(product(rows, columns))


@dataclass(frozen=True)
class GenerateState:
    """What every tile remembers of the chunk before; a step replaces one after the other, which saves memory."""

    scene: SceneStart
    memories: list[ChunkMemory]


class Generate(Stage[LightChunk, LightChunk, GenerateState]):
    """Degraded latents to restored ones, each tile a stream of its own; of tiles that overlap one counts."""

    def __init__(self, network: FastTransformer, conditions: Conditions, tiling: Tiling) -> None:
        self._network, self._conditions, self._tiling = network, conditions, tiling
        self._device = network.network.patch_embedding.weight.device

    def start(self, scene: SceneStart) -> GenerateState:
        """Nothing remembered yet."""
        empty = ChunkMemory.empty(self._network.network)
        return GenerateState(scene, [empty for _ in generator_tiles(self._tiling, grid_of(scene))])

    def step(self, chunk: LightChunk, state: GenerateState) -> tuple[LightChunk, GenerateState]:
        """Restored latents [1, 48, F, H, W]."""
        restored = torch.empty_like(chunk.latents)
        tiles = generator_tiles(self._tiling, grid_of(state.scene))
        for number, (rows, columns) in enumerate(tiles):
            part, memory = chunk.latents[..., rows.whole, columns.whole], state.memories[number].to(self._device)
            found, memory = self._network.restore(part, self._conditions, memory)
            restored[..., rows.counted, columns.counted] = found[..., rows.inside, columns.inside]
            rests = len(tiles) == 1 or self._tiling.has_room(self._device)
            state.memories[number] = memory if rests else memory.to(CPU)
        return replace(chunk, latents=restored), state

    def save(self, state: GenerateState) -> dict[str, Tensor]:
        """The memories of all tiles."""
        return pack((str(number), memory.tensors()) for number, memory in enumerate(state.memories))

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> GenerateState:
        """The state that `save` gave."""
        places = range(len(generator_tiles(self._tiling, grid_of(scene))))
        memories = [ChunkMemory.restore(unpack(str(number), tensors), self._device) for number in places]
        return GenerateState(scene, memories)

    def cache_usage(self, state: GenerateState) -> CacheUsage:
        """Keys and values of the chunk before."""
        return CacheUsage(sum(memory.nbytes for memory in state.memories), state.memories[0].latents > 0)


@dataclass(frozen=True)
class DecodeState:
    """A scene's tiles, what the decoder keeps of each, and the source of frames that are not there yet.

    `waiting`: [T, 3, H, W] in 0..1, cut to the scene's size.
    """

    scene: SceneStart
    tiles: Tiles | None
    caches: Caches
    waiting: Tensor


class Decode(Stage[LightChunk, RestoredChunk, DecodeState]):
    """Latents and their source frames to frames, cut to the scene's size, in the source's colors where asked."""

    def __init__(self, autoencoder: FastVae, tiling: Tiling, color: str) -> None:
        self._autoencoder, self._tiling = autoencoder, tiling
        self._color = "none" if color == "auto" else color
        self._device = autoencoder.decoder.align_skip.weight.device

    def start(self, scene: SceneStart) -> DecodeState:
        """Nothing seen yet."""
        return self._begin(scene, token_tiles(self._tiling, grid_of(scene)))

    def _begin(self, scene: SceneStart, tiles: Tiles | None) -> DecodeState:
        caches = [ConvCache(inplace=True) for _ in tile_sizes(tiles, grid_of(scene))]
        return DecodeState(scene, tiles, caches, torch.empty(0, 3, *scene.target, device=self._device))

    def step(self, chunk: LightChunk, state: DecodeState) -> tuple[RestoredChunk, DecodeState]:
        """Restored frames [T, 3, s H, s W] in 0..1."""
        latents, source = chunk.latents.transpose(1, 2), chunk.enlarged[None]

        def run(number: int, cut: Cut) -> Tensor:
            whole, cache = state.tiles is None, state.caches[number]
            cache = cache if whole else cache.to(self._device)
            frames, cache = self._autoencoder.decode_step(cut(latents, PATCH), cut(source, PIXELS), cache)
            state.caches[number] = cache if whole else self._tiling.offload(cache, self._device)
            return frames

        height, width = state.scene.target
        frames = in_tiles(grid_of(state.scene), state.tiles, PIXELS, run)[0, ..., :height, :width]
        if self._color != "none":
            shown = torch.cat([state.waiting, chunk.enlarged[..., :height, :width]])
            state = replace(state, waiting=shown[len(frames) :].clone())
            frames = match_colors(frames, shown[: len(frames)] * 2 - 1, self._color, lambda x, _: x)
        return RestoredChunk(clamp_to_unit((frames + 1) / 2)), state

    def save(self, state: DecodeState) -> dict[str, Tensor]:
        """Caches, the source that waits, and the side and stride of the tiles (0 for none)."""
        sides = (state.tiles.side, state.tiles.stride) if state.tiles else (0, 0)
        found = pack([("caches", pack_caches(state.caches))])
        return found | {"waiting": state.waiting.clone(), "tiles": torch.tensor(sides)}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> DecodeState:
        """The state that `save` gave."""
        side, stride = tensors["tiles"].tolist()
        state = self._begin(scene, Tiles(side, stride) if side else None)
        caches = unpack_caches(unpack("caches", tensors), self._device)
        return replace(state, caches=caches or state.caches, waiting=tensors["waiting"].to(self._device))


class FastVrRestorer:
    """The three stages; networks are on their device, in their type."""

    schedule = SCHEDULE

    def __init__(self, model: FastVrModel, scale: int) -> None:
        self.scale = scale
        device = model.network.network.patch_embedding.weight.device
        encoder = StreamingPass(model.autoencoder.encode_step, model.tiling, (SPATIAL, 1))
        self.stages: Mapping[str, AnyStage] = {
            "encode": Encode(encoder, enlarge, device),
            "generate": Generate(model.network, model.conditions, model.tiling),
            "decode": Decode(model.autoencoder, model.tiling, model.color),
        }


@dataclass(frozen=True)
class FastVrModel:
    """FastVR's networks, loaded; `conditions` are those of its only prompt, `color` as --color-fix has it."""

    autoencoder: FastVae
    network: FastTransformer
    conditions: Conditions
    tiling: Tiling
    color: str

    def restorer(self, restore: RestoreSettings, prompt: str | None = None) -> FastVrRestorer:
        """See `LoadedModel`."""
        return FastVrRestorer(self, restore.scale)


def load(request: BuildRequest) -> FastVrModel:
    """Load the networks.  Raises ModelError."""
    autoencoder = request.load(AUTOENCODER, FastVae)
    network = request.load(TRANSFORMER, WanTransformer)
    check_fit(request, AUTOENCODER, autoencoder.config.latent_channels, network.config)
    rows = load_rows(request, PROMPT, network.config.text_dim)
    generator = FastTransformer(network)
    with torch.inference_mode():
        conditions = generator.conditions(rows.to(request.device))
    return FastVrModel(autoencoder, generator, conditions, request.tiling, request.model.color_fix)


FAMILY = Family(
    name="fastvr",
    capabilities=Capabilities(
        tasks=("upscale",),
        scales=(1, 2, 3, 4),
        schedule=SCHEDULE,
        options={
            "tile": "all networks work in tiles of so many pixels of output (auto: the transformer in those of 1024)",
            "color_fix": "how the colors are matched to the source: none (auto), adain, or wavelet",
        },
        latent_scale=SPATIAL,
        offloads=True,
        quantizes=("int8", "fp8"),
        footprints=(FOOTPRINT,),
    ),
    components={
        TRANSFORMER: Component(network=WanTransformer, published=TI2V_5B, files=("dit-*",)),
        AUTOENCODER: Component(network=FastVae, files=("vae.*",)),
        PROMPT: Component(files=("empty_prompt.*",), signature="tensor"),
    },
    needs=(TRANSFORMER, AUTOENCODER, PROMPT),
    load=load,
)
