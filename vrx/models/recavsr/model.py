"""ReCaVSR (arXiv 2609.37831): Wan 2.2 TI2V 5B in one step, which gets its last result back, and a decoder of its own.

Encode: enlarge, and project to tokens.  Generate: noise to the latents of a block of 21 frames, then of 8, led by the
tokens, by the last latents of the block before, and by what each layer keeps of earlier ones.  Decode: latents to
pixels with the enlarged source beside them (`decoding.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.errors import ModelError
from vrx.models.base import AnyStage, CacheUsage, ChunkSchedule, DeviceChunk, SceneStart, Stage
from vrx.models.components import Component, Components
from vrx.models.family import BuildRequest, Capabilities, Family
from vrx.models.footprint import Footprint, Linear
from vrx.models.layouts import to_video
from vrx.models.noise import scene_generator
from vrx.models.prompts import load_rows
from vrx.models.recavsr.decoding import Decode, GeneratedChunk, WanDecode, grid_of
from vrx.models.room import Room, load_with_room
from vrx.models.saved import pack, unpack
from vrx.models.tiling import Tiles, Tiling
from vrx.models.token_tiles import PATCH, PIXELS, Cut, in_tiles, tile_sizes
from vrx.networks.causal_conv import ConvCache
from vrx.networks.recavsr.flashdecoder import FlashDecoder
from vrx.networks.recavsr.history import History
from vrx.networks.recavsr.transformer import RECYCLED, TIMESTEP, RecycledTransformer
from vrx.networks.wan.residual_decoder import ResidualDecoder, select_tensors
from vrx.networks.wan.transformer import Conditions
from vrx.settings import RestoreSettings

FIRST, NEXT = 21, 8  # frames of a block
FIRST_LATENTS, NEXT_LATENTS = 6, 2
SCHEDULE = ChunkSchedule(first=FIRST, next=NEXT, multiple=NEXT, first_offset=FIRST % NEXT, least=FIRST)
RECYCLED_TRANSFORMER, DECODER, PROMPT = "recycled_transformer", "flashdecoder", "positive_prompt"  # roles
AUTOENCODER = "residual_autoencoder"  # Wan 2.2's
CPU = torch.device("cpu")
# The authors' 15.16 GB at 1920x1080, of which 1.65 are what layers keep.  Offloaded: without the 8.7 GB of the blocks,
# but for two of them; in tiles: computed, as the other tiles' histories wait on the host.
FOOTPRINT = Footprint(
    Linear(11.2e9, 1_900), offloaded=Linear(3.1e9, 1_900), quantized=Linear(6.9e9, 1_900), tiled=Linear(12.8e9, 600)
)
# With Wan 2.2's decoder in place of the other's 1.33 GB at that size: 1.1 GB of weights and 7.6 kB a pixel, computed.
# In tiles those of one tile, as the other tiles' caches wait on the host, and 550 bytes a pixel of the result.
FULL_FOOTPRINT = Footprint(
    Linear(12.2e9, 9_000),
    offloaded=Linear(4.1e9, 9_000),
    quantized=Linear(7.9e9, 9_080),
    tiled=Linear(21.8e9, 1_150),
    decoder="full",
)


def enlarge(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """[T, 3, H, W] in 0..1 at a size, bilinear, not antialiased; not rounded, where the release rounds to 8 bits."""
    return F.interpolate(frames.float(), size, mode="bilinear")


def pad_reflecting(video: Tensor) -> Tensor:
    """[..., H, W] padded right and below to whole tokens: mirrored, or its border repeated where it is too short."""
    for axis in (-1, -2):
        extra = -video.shape[axis] % PIXELS
        sides = (0, extra, 0, 0) if axis == -1 else (0, 0, 0, extra)
        mode = "reflect" if extra < video.shape[axis] else "replicate"
        video = F.pad(video.flatten(0, -3), sides, mode=mode).unflatten(0, video.shape[:-2])
    return video


@dataclass(frozen=True)
class EncodedChunk:
    """From encode to generate: a block's tokens [1, D, F, rows, columns].

    `shown`: the enlarged source [1, 3, T, H, W], padded, in -1..1; `source`: the frames [T, 3, h, w] as they came.
    """

    tokens: Tensor
    shown: Tensor
    source: Tensor


@dataclass
class EncodeState:
    """What the projection waits for."""

    scene: SceneStart
    cache: ConvCache = field(default_factory=lambda: ConvCache(inplace=True))


class Encode(Stage[DeviceChunk, EncodedChunk, EncodeState]):
    """Enlarge, pad, project."""

    def __init__(self, network: RecycledTransformer) -> None:
        self._network, self._device = network, network.patch_embedding.weight.device

    def start(self, scene: SceneStart) -> EncodeState:
        """Nothing read yet."""
        return EncodeState(scene)

    def step(self, chunk: DeviceChunk, state: EncodeState) -> tuple[EncodedChunk, EncodeState]:
        """Tokens of a block, and the enlarged frames it shows."""
        shown = pad_reflecting(to_video(enlarge(chunk.frames, state.scene.target)))
        tokens, cache = self._network.project(shown, state.cache)
        return EncodedChunk(tokens, shown, chunk.frames), EncodeState(state.scene, cache)

    def save(self, state: EncodeState) -> dict[str, Tensor]:
        """What the projection waits for."""
        return state.cache.tensors()

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> EncodeState:
        """The state that `save` gave."""
        store = {name: tensor.to(self._device) for name, tensor in tensors.items()}
        return EncodeState(scene, ConvCache(store, inplace=True))


@dataclass(frozen=True)
class GenerateState:
    """A scene's noise and tiles, what the layers keep of each tile, and the last latents [1, C, 2, h, w]."""

    scene: SceneStart
    tiles: Tiles | None
    generator: torch.Generator
    histories: list[History]
    before: Tensor | None = None


class Generate(Stage[EncodedChunk, GeneratedChunk, GenerateState]):
    """Noise to latents in one step."""

    def __init__(self, model: RecaVsrModel) -> None:
        self._network, self._conditions, self._seed = model.network, model.conditions, model.seed
        self._tiling, self._tiles = model.tiling, model.tiles
        self._device = model.network.patch_embedding.weight.device

    def start(self, scene: SceneStart) -> GenerateState:
        """Nothing kept yet; noise by the seed and the scene."""
        return self._begin(scene, self._tiles(scene))

    def _begin(self, scene: SceneStart, tiles: Tiles | None) -> GenerateState:
        histories = [self._network.allocate_history() for _ in tile_sizes(tiles, grid_of(scene))]
        return GenerateState(scene, tiles, scene_generator(self._seed, scene), histories)

    def step(self, chunk: EncodedChunk, state: GenerateState) -> tuple[GeneratedChunk, GenerateState]:
        """Latents [1, C, F, h, w]: noise minus prediction."""
        noise = self.draw(state).to(self._device)

        def run(number: int, cut: Cut) -> Tensor:
            history = state.histories[number].to(self._device)
            before = None if state.before is None else cut(state.before, PATCH)
            part = cut(noise, PATCH)
            prediction = self._network.predict(part, cut(chunk.tokens, 1), before, self._conditions, history)
            rests = state.tiles is None or self._tiling.has_room(self._device)
            state.histories[number] = history if rests else history.to(CPU)
            return part - prediction

        latents = in_tiles(grid_of(state.scene), state.tiles, PATCH, run)
        after = replace(state, before=latents[:, :, -RECYCLED:].clone())
        return GeneratedChunk(latents, chunk.shown, chunk.source), after

    def draw(self, state: GenerateState) -> Tensor:
        """Noise [1, C, F, h, w] of the next block, drawn on the processor: the same on every device."""
        rows, columns = grid_of(state.scene)
        frames = FIRST_LATENTS if state.before is None else NEXT_LATENTS
        shape = (1, self._network.config.in_dim, frames, rows * PATCH, columns * PATCH)
        return torch.randn(shape, generator=state.generator)

    def save(self, state: GenerateState) -> dict[str, Tensor]:
        """Noise, histories, last latents, and the side and stride of the tiles (0 for none)."""
        sides = (state.tiles.side, state.tiles.stride) if state.tiles else (0, 0)
        found = {"generator": state.generator.get_state(), "tiles": torch.tensor(sides)}
        found |= pack((f"history.{number}", kept.tensors()) for number, kept in enumerate(state.histories))
        return found if state.before is None else found | {"before": state.before}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> GenerateState:
        """The state that `save` gave."""
        side, stride = tensors["tiles"].tolist()
        state = self._begin(scene, Tiles(side, stride) if side else None)
        state.generator.set_state(tensors["generator"].cpu())
        for number, history in enumerate(state.histories):
            history.restore(unpack(f"history.{number}", tensors), self._device)
        before = tensors["before"].to(self._device) if "before" in tensors else None
        return replace(state, before=before)

    def cache_usage(self, state: GenerateState) -> CacheUsage:
        """Keys and values of earlier latent frames; all that a layer may keep are there once a second anchor is."""
        full = all(history.full for history in state.histories)
        return CacheUsage(sum(history.nbytes for history in state.histories), full)


class RecaVsrRestorer:
    """The three stages; networks are on their device, in their type."""

    schedule = SCHEDULE

    def __init__(self, model: RecaVsrModel, scale: int) -> None:
        self.scale = scale
        self.stages: Mapping[str, AnyStage] = {
            "encode": Encode(model.network),
            "generate": Generate(model),
            "decode": model.decode(),
        }


@dataclass(frozen=True)
class RecaVsrModel:
    """ReCaVSR's networks, loaded, and what all their uses share."""

    network: RecycledTransformer
    conditions: Conditions
    decoder: FlashDecoder | ResidualDecoder
    color: str
    seed: int
    tiling: Tiling
    room: Room

    def tiles(self, scene: SceneStart) -> Tiles | None:
        """The tiles of a scene, for which there is room from now on."""
        return self.room.tiles(self.tiling, grid_of(scene))

    def autoencoder_tiling(self, scene: SceneStart) -> Tiling:
        """How Wan 2.2's autoencoder is tiled in a scene, for which there is room from now on."""
        rows, columns = grid_of(scene)
        return self.room.tiling(self.tiling, rows * columns * PIXELS**2)

    def decode(self) -> AnyStage:
        """The stage of the decoder there is."""
        if isinstance(self.decoder, ResidualDecoder):
            return WanDecode(self.decoder, self.color, self.autoencoder_tiling)
        return Decode(self.decoder, self.color, self.tiles)

    def restorer(self, restore: RestoreSettings, prompt: str | None = None) -> RecaVsrRestorer:
        """See `LoadedModel`."""
        return RecaVsrRestorer(self, restore.scale)


def load(request: BuildRequest) -> RecaVsrModel:
    """Load the networks, with --decoder full Wan 2.2's to decode, and the prompt's rows.  Raises ModelError."""
    conditions: list[Conditions] = []

    def condition(network: RecycledTransformer) -> None:
        rows = load_rows(request, PROMPT, network.config.text_dim).to(request.device)
        with torch.inference_mode():
            conditions.append(network.conditions(TIMESTEP, rows, pad=False))
        network.forget_context()

    settings = request.model
    full = settings.decoder == "full"
    footprint = FULL_FOOTPRINT if full else FOOTPRINT
    network, room = load_with_room(request, RECYCLED_TRANSFORMER, RecycledTransformer, footprint, condition)
    decoder: FlashDecoder | ResidualDecoder
    if full:
        decoder = request.place(load_residual_decoder(request.components))
        role, channels = AUTOENCODER, decoder.config.z_dim
    else:
        decoder = request.load(DECODER, FlashDecoder)
        role, channels = DECODER, decoder.config.channels
    if network.config.out_dim != channels:
        raise ModelError(f"{request.components.where(role)} does not fit the transformer: other latents")
    return RecaVsrModel(network, conditions[0], decoder, settings.color_fix, settings.seed, request.tiling, room)


def load_residual_decoder(components: Components) -> ResidualDecoder:
    """Wan 2.2's autoencoder without its encoder.  Raises ModelError."""
    return components.fill(AUTOENCODER, ResidualDecoder, select_tensors(components.tensors(AUTOENCODER)))


FAMILY = Family(
    name="recavsr",
    capabilities=Capabilities(
        tasks=("upscale",),
        scales=(2, 3, 4),
        schedule=SCHEDULE,
        options={
            "decoder": "full: Wan 2.2's autoencoder decodes, slower and without the source beside it",
            "tile": "all networks work in tiles of so many pixels of output",
            "color_fix": "how the colors are matched to the source: none (auto), adain, or wavelet",
        },
        latent_scale=PIXELS // PATCH,
        offloads=True,
        quantizes=("fp8",),
        footprints=(FULL_FOOTPRINT, FOOTPRINT),
    ),
    components={
        RECYCLED_TRANSFORMER: Component(network=RecycledTransformer, files=("transformer.*",)),
        DECODER: Component(network=FlashDecoder, files=("flashdecoder.*",)),
        PROMPT: Component(files=("prompt.*",), signature="positive"),
        AUTOENCODER: Component(
            network=ResidualDecoder,
            files=("vae.*", "Wan2.2_VAE.*"),
            folders=("vae",),
            decoder="full",
            check=load_residual_decoder,
        ),
    },
    needs=(RECYCLED_TRANSFORMER, DECODER, PROMPT),
    load=load,
)
