"""ReCaVSR (arXiv 2609.37831): Wan 2.2 TI2V 5B in one step, which gets its last result back, and a decoder of its own.

Encode: enlarge, and project to tokens.  Generate: noise to the latents of a block of 21 frames, then of 8, led by the
tokens, by the last latents of the block before, and by what each layer keeps of earlier ones.  Decode: latents to
pixels with the enlarged source beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.errors import ModelError
from vrx.models.base import AnyStage, CacheUsage, ChunkSchedule, DeviceChunk, RestoredChunk, SceneStart, Stage
from vrx.models.components import Component
from vrx.models.family import BuildRequest, Capabilities, Family
from vrx.models.footprint import Footprint, Linear
from vrx.models.layouts import round_up, to_frames, to_video
from vrx.models.noise import scene_generator
from vrx.models.prompts import load_rows
from vrx.models.room import Room, load_with_room
from vrx.models.saved import pack, unpack
from vrx.models.tiling import Tiles, Tiling
from vrx.models.token_tiles import PATCH, PIXELS, Cut, Grid, in_tiles, tile_sizes
from vrx.networks.causal_conv import ConvCache
from vrx.networks.color_transfer import adain, wavelet
from vrx.networks.grouped_attention import FrameMemory
from vrx.networks.recavsr.flashdecoder import FRAMES, DecoderMemory, FlashDecoder
from vrx.networks.recavsr.history import History
from vrx.networks.recavsr.transformer import RECYCLED, TIMESTEP, RecycledTransformer
from vrx.networks.wan.transformer import Conditions
from vrx.settings import RestoreSettings

FIRST, NEXT = 21, 8  # frames of a block
FIRST_LATENTS, NEXT_LATENTS = 6, 2
SCHEDULE = ChunkSchedule(first=FIRST, next=NEXT, multiple=NEXT, first_offset=FIRST % NEXT, least=FIRST)
RECYCLED_TRANSFORMER, DECODER, PROMPT = "recycled_transformer", "flashdecoder", "positive_prompt"  # roles
ADAIN_EPSILON = 4e-5  # the release's 1e-5 is in 0..1
CPU = torch.device("cpu")
# The authors' 15.16 GB at 1920x1080, of which 1.65 are what layers keep.  Offloaded: without the 8.7 GB of the blocks,
# but for two of them; in tiles: computed, as the other tiles' histories wait on the host.
FOOTPRINT = Footprint(Linear(11.2e9, 1_900), offloaded=Linear(3.1e9, 1_900), tiled=Linear(12.8e9, 600))


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


def grid_of(scene: SceneStart) -> Grid:
    """Rows and columns of a scene's tokens."""
    height, width = (round_up(side, PIXELS) // PIXELS for side in scene.target)
    return height, width


@dataclass(frozen=True)
class EncodedChunk:
    """From encode to generate: a block's tokens [1, D, F, rows, columns].

    `shown`: the enlarged source [1, 3, T, H, W], padded, in -1..1; `source`: the frames [T, 3, h, w] as they came.
    """

    tokens: Tensor
    shown: Tensor
    source: Tensor


@dataclass(frozen=True)
class GeneratedChunk:
    """From generate to decode: latents [1, C, F, h, w]; the rest as in `EncodedChunk`."""

    latents: Tensor
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


@dataclass(frozen=True)
class DecodeState:
    """What the decoder remembers of each tile."""

    scene: SceneStart
    tiles: Tiles | None
    memories: list[DecoderMemory]
    begun: bool = False


class Decode(Stage[GeneratedChunk, RestoredChunk, DecodeState]):
    """Latents to pixels with the source beside them, a latent frame at a time.  `color`: as --color-fix has it."""

    def __init__(self, model: RecaVsrModel) -> None:
        self._network, self._color, self._tiles = model.decoder, model.color, model.tiles
        self._device = model.decoder.lr_stem.weight.device

    def start(self, scene: SceneStart) -> DecodeState:
        """Nothing remembered yet."""
        return self._begin(scene, self._tiles(scene))

    def _begin(self, scene: SceneStart, tiles: Tiles | None) -> DecodeState:
        return DecodeState(scene, tiles, [DecoderMemory() for _ in tile_sizes(tiles, grid_of(scene))])

    def step(self, chunk: GeneratedChunk, state: DecodeState) -> tuple[RestoredChunk, DecodeState]:
        """Restored frames [T, 3, s H, s W] in 0..1."""
        out = chunk.source.new_empty((len(chunk.source), 3, *state.scene.target), dtype=torch.float32)
        parts = zip(chunk.latents.unbind(2), frame_groups(len(chunk.source)), strict=True)
        for latent, frames in parts:
            video = self.decode(latent, chunk.shown[:, :, frames], state)
            height, width = state.scene.target
            cut = video[..., :height, :width].clamp(-1, 1)
            out[frames] = to_frames(self.match(cut, chunk.shown[:, :, frames], chunk.source[frames]))
        return RestoredChunk(out), replace(state, begun=True)

    def decode(self, latent: Tensor, shown: Tensor, state: DecodeState) -> Tensor:
        """Frames [1, 3, T, H, W] of a latent frame [1, C, h, w], about -1..1; the state's memories move on."""

        def run(number: int, cut: Cut) -> Tensor:
            source, memory = cut(shown, PIXELS), state.memories[number]
            frames, state.memories[number] = self._network(cut(latent, PATCH), source, memory)
            return frames

        return in_tiles(grid_of(state.scene), state.tiles, PIXELS, run)

    def match(self, video: Tensor, shown: Tensor, source: Tensor) -> Tensor:
        """Frames [1, 3, T, H, W] in the colors of the source: as they are unless asked for."""
        height, width = video.shape[-2:]
        if self._color == "adain":
            return adain(video, shown[..., :height, :width], ADAIN_EPSILON, correction=1)
        if self._color == "wavelet":
            large = F.interpolate(source.float(), (height, width), mode="bicubic").clamp(0, 1)
            return wavelet(video, to_video(large))
        return video

    def save(self, state: DecodeState) -> dict[str, Tensor]:
        """What each tile's decoder remembers, and the side and stride of the tiles (0 for none)."""
        sides = (state.tiles.side, state.tiles.stride) if state.tiles else (0, 0)
        found = {"tiles": torch.tensor(sides)}
        for number, memory in enumerate(state.memories):
            parts = {"latents": memory.latents, "frames": memory.frames}
            found |= pack(
                (f"{number}.{name}.{place}", kept.tensors())
                for name, all_kept in parts.items()
                for place, kept in enumerate(all_kept)
            )
        return found

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> DecodeState:
        """The state that `save` gave."""
        side, stride = tensors["tiles"].tolist()
        state = self._begin(scene, Tiles(side, stride) if side else None)
        for number in range(len(state.memories)):
            latents, frames = (tuple(self._restore(f"{number}.{name}", tensors)) for name in ("latents", "frames"))
            state.memories[number] = DecoderMemory(latents, frames)
        return state

    def _restore(self, name: str, tensors: dict[str, Tensor]) -> Iterator[FrameMemory]:
        """The frames kept under a name."""
        place = 0
        while parts := unpack(f"{name}.{place}", tensors):
            yield FrameMemory.restore(parts, self._device)
            place += 1

    def cache_usage(self, state: DecodeState) -> CacheUsage:
        """Keys and values of the latent and the frames before."""
        return CacheUsage(sum(memory.nbytes for memory in state.memories), all(m.frames for m in state.memories))


def frame_groups(count: int) -> list[slice]:
    """The frames of each latent frame of a block: four, but one of a scene's first."""
    first = count % FRAMES
    return [*([slice(0, first)] if first else []), *(slice(b, b + FRAMES) for b in range(first, count, FRAMES))]


class RecaVsrRestorer:
    """The three stages; networks are on their device, in their type."""

    schedule = SCHEDULE

    def __init__(self, model: RecaVsrModel, scale: int) -> None:
        self.scale = scale
        self.stages: Mapping[str, AnyStage] = {
            "encode": Encode(model.network),
            "generate": Generate(model),
            "decode": Decode(model),
        }


@dataclass(frozen=True)
class RecaVsrModel:
    """ReCaVSR's networks, loaded, and what all their uses share."""

    network: RecycledTransformer
    conditions: Conditions
    decoder: FlashDecoder
    color: str
    seed: int
    tiling: Tiling
    room: Room

    def tiles(self, scene: SceneStart) -> Tiles | None:
        """The tiles of a scene, for which there is room from now on."""
        return self.room.tiles(self.tiling, grid_of(scene))

    def restorer(self, restore: RestoreSettings, prompt: str | None = None) -> RecaVsrRestorer:
        """See `LoadedModel`."""
        return RecaVsrRestorer(self, restore.scale)


def load(request: BuildRequest) -> RecaVsrModel:
    """Load both networks, and the prompt's rows.  Raises ModelError."""
    conditions: list[Conditions] = []

    def condition(network: RecycledTransformer) -> None:
        rows = load_rows(request, PROMPT, network.config.text_dim).to(request.device)
        with torch.inference_mode():
            conditions.append(network.conditions(TIMESTEP, rows, pad=False))
        network.forget_context()

    network, room = load_with_room(request, RECYCLED_TRANSFORMER, RecycledTransformer, FOOTPRINT, condition)
    decoder = request.load(DECODER, FlashDecoder)
    if network.config.out_dim != decoder.config.channels:
        raise ModelError(f"{request.components.where(DECODER)} does not fit the transformer: other latents")
    settings = request.model
    return RecaVsrModel(network, conditions[0], decoder, settings.color_fix, settings.seed, request.tiling, room)


FAMILY = Family(
    name="recavsr",
    capabilities=Capabilities(
        tasks=("upscale",),
        scales=(2, 3, 4),
        schedule=SCHEDULE,
        options={
            "tile": "all networks work in tiles of so many pixels of output",
            "color_fix": "how the colors are matched to the source: none (auto), adain, or wavelet",
        },
        latent_scale=PIXELS // PATCH,
        offloads=True,
        quantizes=("fp8",),
        footprints=(FOOTPRINT,),
    ),
    components={
        RECYCLED_TRANSFORMER: Component(network=RecycledTransformer, files=("transformer.*",)),
        DECODER: Component(network=FlashDecoder, files=("flashdecoder.*",)),
        PROMPT: Component(files=("prompt.*",), signature="positive"),
    },
    needs=(RECYCLED_TRANSFORMER, DECODER, PROMPT),
    load=load,
)
