"""RelayVSR (arXiv 2609.37850): a large network for every fifteenth frame, a small one for all.

Generate: Wan 2.2 TI2V 5B makes a latent of each key frame in one step, from noise, with the enlarged frame beside it.
Decode: a small video transformer enlarges each frame by four, and sees the latents of the two key frames around it and
its own last frame.  No autoencoder: latents are never decoded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.errors import ModelError
from vrx.models.base import AnyStage, CacheUsage, ChunkSchedule, DeviceChunk, RestoredChunk, SceneStart, Stage
from vrx.models.components import Component
from vrx.models.family import BuildRequest, Capabilities, Family
from vrx.models.footprint import Footprint, Linear
from vrx.models.layouts import pad_to_multiple, round_up
from vrx.models.noise import scene_generator
from vrx.models.resizing import crop, resize_notes
from vrx.models.room import Room, load_with_room
from vrx.models.saved import pack, unpack
from vrx.models.tiling import Tiles, Tiling
from vrx.models.token_tiles import PATCH, PIXELS, Cut, Grid, in_tiles, tile_sizes
from vrx.networks.cache import Rolling
from vrx.networks.grouped_attention import FrameMemory
from vrx.networks.relayvsr.key_frames import KeyFrameTransformer
from vrx.networks.relayvsr.small_transformer import SCALE, SmallTransformer
from vrx.networks.wan.transformer import Conditions
from vrx.settings import RestoreSettings

WINDOW = 16  # frames from a key frame to the next one, both counted
MULTIPLE = 8  # pixels of the source: two latents
# The authors' 13.82 GB at 1920x1080 and 24.25 at 3840x2160.  Offloaded: without the 8.7 GB of the blocks, but for
# two of them; in tiles: computed, as the other tiles' memories wait on the host.
FOOTPRINT = Footprint(
    Linear(10.4e9, 1_680), offloaded=Linear(2.3e9, 1_680), quantized=Linear(6.1e9, 1_680), tiled=Linear(12.1e9, 420)
)
KEY_FRAMES, SMALL = "key_frame_transformer", "small_transformer"  # roles


def window_schedule(window: int) -> ChunkSchedule:
    """Windows of so many frames; each shares its first frame with the one before it."""
    return ChunkSchedule(first=window, next=window - 1)


SCHEDULE = window_schedule(WINDOW)


def enlarge(frame: Tensor) -> Tensor:
    """[1, 3, H, W] at four times the size, bilinear: what the key-frame network is shown."""
    return F.interpolate(frame, scale_factor=SCALE, mode="bilinear")


def to_network(frames: Tensor) -> Tensor:
    """[T, 3, H, W] in 0..1 to -1..1, its last row and column repeated up to what the networks take."""
    return pad_to_multiple(frames, MULTIPLE) * 2 - 1


def grid_of(scene: SceneStart) -> Grid:
    """Rows and columns of a scene's tokens in the large network."""
    height, width = (round_up(side, MULTIPLE) // MULTIPLE for side in scene.source)
    return height, width


@dataclass(frozen=True)
class KeyedChunk:
    """From generate to decode: a window's frames [T, 3, H, W], and the latents [1, C, h, w] of its new key frames.

    The first frame of a scene is one, and the last frame of every window.  Padded, in -1..1.
    """

    frames: Tensor
    latents: tuple[Tensor, ...]


@dataclass
class GenerateState:
    """A scene's noise and tiles, the key frames that each tile remembers, and how many there were."""

    scene: SceneStart
    tiles: Tiles | None
    generator: torch.Generator
    rings: list[Rolling]
    count: int = 0


class Generate(Stage[DeviceChunk, KeyedChunk, GenerateState]):
    """Key frames to latents: noise minus prediction."""

    def __init__(self, model: RelayVsrModel) -> None:
        self._network, self._conditions, self._seed = model.key_frames, model.conditions, model.seed
        self._tiling, self._tiles, network = model.tiling, model.tiles, model.key_frames
        self._device = network.patch_embedding.weight.device

    def start(self, scene: SceneStart) -> GenerateState:
        """Nothing remembered yet; noise by the seed and the scene."""
        return self._begin(scene, self._tiles(scene))

    def _begin(self, scene: SceneStart, tiles: Tiles | None) -> GenerateState:
        rings = [self._rest(self._network.allocate_ring(*size), tiles) for size in tile_sizes(tiles, grid_of(scene))]
        return GenerateState(scene, tiles, scene_generator(self._seed, scene), rings)

    def step(self, chunk: DeviceChunk, state: GenerateState) -> tuple[KeyedChunk, GenerateState]:
        """Latents of the key frames that are new: the last of a window, before it the first of a scene."""
        frames = to_network(chunk.frames.float())
        first = [] if state.count or len(frames) == 1 else [frames[:1]]
        latents = tuple(self.latent(frame, state) for frame in (*first, frames[-1:]))
        return KeyedChunk(frames, latents), replace(state, count=state.count + len(latents))

    def latent(self, frame: Tensor, state: GenerateState) -> Tensor:
        """The latent [1, C, h, w] of the next key frame [1, 3, H, W]."""
        large = enlarge(frame)
        noise = self.draw(state).to(self._device)

        def run(number: int, cut: Cut) -> Tensor:
            part, ring = cut(noise, PATCH), state.rings[number].to(self._device)
            prediction = self._network.predict(part[:, :, None], cut(large, PIXELS), self._conditions, ring)
            state.rings[number] = self._rest(ring, state.tiles)
            return part - prediction[:, :, 0]

        return in_tiles(grid_of(state.scene), state.tiles, PATCH, run)

    def _rest(self, ring: Rolling, tiles: Tiles | None) -> Rolling:
        """A ring until its next turn: those of several tiles wait on the host where the device is short of memory."""
        return ring if tiles is None or self._tiling.has_room(self._device) else ring.to(torch.device("cpu"))

    def draw(self, state: GenerateState) -> Tensor:
        """Noise [1, C, h, w] of the next key frame, drawn on the processor: the same on every device."""
        rows, columns = grid_of(state.scene)
        shape = (1, self._network.config.in_dim, rows * PATCH, columns * PATCH)
        return torch.randn(shape, generator=state.generator)

    def save(self, state: GenerateState) -> dict[str, Tensor]:
        """Noise, rings, and the side and stride of the tiles (0 for none)."""
        found = {
            "generator": state.generator.get_state(),
            "tiles": torch.tensor((state.tiles.side, state.tiles.stride) if state.tiles else (0, 0)),
            "count": torch.tensor(state.count),
        }
        return found | pack((f"ring.{number}", ring.tensors()) for number, ring in enumerate(state.rings))

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> GenerateState:
        """The state that `save` gave."""
        side, stride = tensors["tiles"].tolist()
        state = self._begin(scene, Tiles(side, stride) if side else None)
        state.generator.set_state(tensors["generator"].cpu())
        for number, ring in enumerate(state.rings):
            ring.restore(unpack(f"ring.{number}", tensors))
        return replace(state, count=int(tensors["count"]))

    def cache_usage(self, state: GenerateState) -> CacheUsage:
        """Keys and values of the key frames."""
        return CacheUsage(sum(ring.nbytes for ring in state.rings), all(ring.full for ring in state.rings))


@dataclass(frozen=True)
class DecodeState:
    """A scene's tiles, the latest key frame [1, 3, H, W], and its latent's memory for each tile.

    `frame` is None before the first window, which has no frame in common with one before it.
    """

    scene: SceneStart
    tiles: Tiles | None
    start: tuple[FrameMemory, ...] = ()
    frame: Tensor | None = None


class Decode(Stage[KeyedChunk, RestoredChunk, DecodeState]):
    """Frames and the latents around them to enlarged frames.

    `causal`: the key frame after a frame is not looked at.
    """

    def __init__(self, model: RelayVsrModel, scale: int) -> None:
        self._network, self._scale, self._tiles, self._causal = model.small, scale, model.tiles, model.causal
        self._device = model.small.video_type_embedding.device

    def start(self, scene: SceneStart) -> DecodeState:
        """Nothing seen yet."""
        return DecodeState(scene, self._tiles(scene))

    def step(self, chunk: KeyedChunk, state: DecodeState) -> tuple[RestoredChunk, DecodeState]:
        """Restored frames [T, 3, s H, s W] in 0..1."""
        memories = [self.remember(latent, state) for latent in chunk.latents]
        start, end = (state.start or memories[0]), memories[-1]
        memory = [[] for _ in end]  # type: list[list[FrameMemory]]
        out = chunk.frames.new_empty(len(chunk.frames), 3, *state.scene.target)
        if state.frame is not None:  # known already, but for what the window's first frame is to remember
            self.frame(state.frame, (start, end), memory, state)
        for number, frame in enumerate(chunk.frames.split(1)):
            large = self.frame(frame, (start, end), memory, state)
            out[number] = crop(large, state.scene, SCALE)[0]
        notes = () if state.start else resize_notes("RelayVSR", SCALE, self._scale, state.scene)
        return RestoredChunk(out, notes), replace(state, start=end, frame=chunk.frames[-1:].clone())

    def remember(self, latent: Tensor, state: DecodeState) -> tuple[FrameMemory, ...]:
        """A key frame's memory, for each tile."""
        grid, found = grid_of(state.scene), []

        def run(_: int, cut: Cut) -> Tensor:
            part = cut(latent, PATCH)
            found.append(self._network.remember(part))
            return part

        in_tiles(grid, state.tiles, PATCH, run)
        return tuple(found)

    def frame(
        self,
        frame: Tensor,
        around: tuple[tuple[FrameMemory, ...], tuple[FrameMemory, ...]],
        recent: list[list[FrameMemory]],
        state: DecodeState,
    ) -> Tensor:
        """A frame [1, 3, H, W] to [1, 3, 4 H, 4 W]; `recent`, for each tile, moves on."""
        start, end = around
        most = self._network.config.window_size - 1

        def run(number: int, cut: Cut) -> Tensor:
            after = None if self._causal else end[number]
            large, own = self._network(cut(frame, MULTIPLE), start[number], after, recent[number])
            recent[number] = [*recent[number], own][-most:] if most else []
            return large

        return in_tiles(grid_of(state.scene), state.tiles, PIXELS, run)

    def save(self, state: DecodeState) -> dict[str, Tensor]:
        """The latest key frame and its memories."""
        if state.frame is None:
            return {}
        sides = (state.tiles.side, state.tiles.stride) if state.tiles else (0, 0)
        found = {"frame": state.frame.clone(), "tiles": torch.tensor(sides)}
        return found | pack((f"start.{number}", memory.tensors()) for number, memory in enumerate(state.start))

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> DecodeState:
        """The state that `save` gave."""
        if "frame" not in tensors:
            return self.start(scene)
        side, stride = tensors["tiles"].tolist()
        tiles = Tiles(side, stride) if side else None
        count = len(tile_sizes(tiles, grid_of(scene)))
        start = (FrameMemory.restore(unpack(f"start.{number}", tensors), self._device) for number in range(count))
        return DecodeState(scene, tiles, tuple(start), tensors["frame"].to(self._device))

    def cache_usage(self, state: DecodeState) -> CacheUsage:
        """Keys and values that a frame sees: of both latents and of the frames before it."""
        most = self._network.config.window_size - 1
        return CacheUsage(sum(memory.nbytes for memory in state.start) * (1 + (not self._causal) + most))


class RelayVsrRestorer:
    """The two stages; networks are on their device, in their type."""

    def __init__(self, model: RelayVsrModel, scale: int) -> None:
        self.scale, self.schedule = scale, window_schedule(model.window)
        self.stages: Mapping[str, AnyStage] = {
            "generate": Generate(model),
            "decode": Decode(model, scale),
        }


@dataclass(frozen=True)
class RelayVsrModel:
    """RelayVSR's networks, loaded, and what all their uses share.

    `window`: frames from a key frame to the next one, both counted.  `causal`: see `Decode`.
    """

    key_frames: KeyFrameTransformer
    conditions: Conditions
    small: SmallTransformer
    seed: int
    tiling: Tiling
    room: Room
    window: int = WINDOW
    causal: bool = False

    def tiles(self, scene: SceneStart) -> Tiles | None:
        """The tiles of a scene, for which there is room from now on."""
        return self.room.tiles(self.tiling, grid_of(scene))

    def restorer(self, restore: RestoreSettings, prompt: str | None = None) -> RelayVsrRestorer:
        """See `LoadedModel`."""
        return RelayVsrRestorer(self, restore.scale)


def load(request: BuildRequest) -> RelayVsrModel:
    """Load both networks.  Raises ModelError, also for files whose configuration is missing."""
    if request.context is None:  # a benchmark's weights have no files
        for role in (KEY_FRAMES, SMALL):
            if request.components.has(role) and not request.components.given.get(role):
                raise ModelError(
                    f"{request.components.where(role)} has no `config` metadata (the windows of its network)",
                    "Get it again from its authors: vrx models pull relayvsr",
                )
    conditions: list[Conditions] = []

    def condition(network: KeyFrameTransformer) -> None:
        with torch.inference_mode():
            conditions.append(network.prompt_conditions())
        network.forget_context()

    key_frames, room = load_with_room(request, KEY_FRAMES, KeyFrameTransformer, FOOTPRINT, condition)
    small = request.load(SMALL, SmallTransformer)
    if key_frames.config.out_dim != small.config.condition_channels:
        raise ModelError(f"{request.components.where(SMALL)} does not fit the {KEY_FRAMES}: other latents")
    return RelayVsrModel(key_frames, conditions[0], small, request.model.seed, request.tiling, room)


FAMILY = Family(
    name="relayvsr",
    capabilities=Capabilities(
        tasks=("upscale",),
        scales=(2, 3, 4),
        schedule=SCHEDULE,
        options={"tile": "both networks work in tiles of so many pixels of output"},
        latent_scale=PIXELS // PATCH,
        native_scale=SCALE,
        offloads=True,
        quantizes=("fp8",),
        footprints=(FOOTPRINT,),
    ),
    components={
        KEY_FRAMES: Component(network=KeyFrameTransformer, files=("wan.*",), notes="config"),
        SMALL: Component(network=SmallTransformer, files=("flash.*",), notes="config"),
    },
    needs=(KEY_FRAMES, SMALL),
    load=load,
)
