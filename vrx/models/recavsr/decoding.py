"""How ReCaVSR's latents become pixels: by its own decoder, which sees the enlarged source, or by Wan 2.2's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.models.autoencoders import AutoencoderStage, AutoencoderState, StreamingPass, decode_one_by_one
from vrx.models.base import CacheUsage, RestoredChunk, SceneStart, Stage
from vrx.models.layouts import round_up, to_frames, to_video
from vrx.models.saved import pack, unpack
from vrx.models.tiling import Tiles, Tiling
from vrx.models.token_tiles import PATCH, PIXELS, Cut, Grid, in_tiles, tile_sizes
from vrx.networks.color_transfer import adain, wavelet
from vrx.networks.grouped_attention import FrameMemory
from vrx.networks.overflow import clamp_finite
from vrx.networks.recavsr.flashdecoder import FRAMES, DecoderMemory, FlashDecoder
from vrx.networks.wan.residual_decoder import SPATIAL, ResidualDecoder

ADAIN_EPSILON = 4e-5  # the release's 1e-5 is in 0..1


def grid_of(scene: SceneStart) -> Grid:
    """Rows and columns of a scene's tokens."""
    height, width = (round_up(side, PIXELS) // PIXELS for side in scene.target)
    return height, width


@dataclass(frozen=True)
class GeneratedChunk:
    """From generate to decode: latents [1, C, F, h, w].

    `shown`: the enlarged source [1, 3, T, H, W], padded, in -1..1; `source`: the frames [T, 3, h, w] as they came.
    """

    latents: Tensor
    shown: Tensor
    source: Tensor


def frame_groups(count: int) -> list[slice]:
    """The frames of each latent frame of a block: four, but one of a scene's first."""
    first = count % FRAMES
    return [*([slice(0, first)] if first else []), *(slice(b, b + FRAMES) for b in range(first, count, FRAMES))]


def restore(chunk: GeneratedChunk, target: tuple[int, int], color: str, videos: Iterable[Tensor]) -> RestoredChunk:
    """A chunk at its size (height, width), of the frames [1, 3, T, H, W] of each latent frame, about -1..1."""
    (height, width), count = target, len(chunk.source)
    out = chunk.source.new_empty((count, 3, height, width), dtype=torch.float32)
    for video, frames in zip(videos, frame_groups(count), strict=True):
        shown = chunk.shown[:, :, frames]
        cut = clamp_finite(video[..., :height, :width], -1, 1)
        out[frames] = to_frames(match_colors(cut, shown, chunk.source[frames], color))
    return RestoredChunk(out)


def match_colors(video: Tensor, shown: Tensor, source: Tensor, color: str) -> Tensor:
    """Frames [1, 3, T, H, W] in the colors of the source, as --color-fix has it: as they are unless asked for."""
    height, width = video.shape[-2:]
    if color == "adain":
        return adain(video, shown[..., :height, :width], ADAIN_EPSILON, correction=1)
    if color == "wavelet":
        large = F.interpolate(source.float(), (height, width), mode="bicubic").clamp(0, 1)
        return wavelet(video, to_video(large))
    return video


class WanDecode(AutoencoderStage[GeneratedChunk, RestoredChunk]):
    """Latents to pixels by Wan 2.2's autoencoder.  `color`: as --color-fix has it; `tiling`: that of a scene."""

    def __init__(self, network: ResidualDecoder, color: str, tiling: Callable[[SceneStart], Tiling]) -> None:
        super().__init__(network.conv2.weight.device)
        self._network, self._color, self._tiling = network, color, tiling

    def step(self, chunk: GeneratedChunk, state: AutoencoderState) -> tuple[RestoredChunk, AutoencoderState]:
        """Restored frames [T, 3, s H, s W] in 0..1."""
        decode = partial(decode_one_by_one, self._network.decode_step)
        decoder = StreamingPass(decode, self._tiling(state.scene), (1, SPATIAL))
        video, caches = decoder.step(chunk.latents, state.caches)
        videos = (video[:, :, frames] for frames in frame_groups(len(chunk.source)))
        restored = restore(chunk, state.scene.target, self._color, videos)
        return restored, AutoencoderState(state.scene, caches)


@dataclass(frozen=True)
class DecodeState:
    """What the decoder remembers of each tile."""

    scene: SceneStart
    tiles: Tiles | None
    memories: list[DecoderMemory]


class Decode(Stage[GeneratedChunk, RestoredChunk, DecodeState]):
    """Latents to pixels with the source beside them.  `color`: as --color-fix has it; `tiles`: those of a scene."""

    def __init__(self, network: FlashDecoder, color: str, tiles: Callable[[SceneStart], Tiles | None]) -> None:
        self._network, self._color, self._tiles = network, color, tiles
        self._device = network.lr_stem.weight.device

    def start(self, scene: SceneStart) -> DecodeState:
        """Nothing remembered yet."""
        return self._begin(scene, self._tiles(scene))

    def _begin(self, scene: SceneStart, tiles: Tiles | None) -> DecodeState:
        return DecodeState(scene, tiles, [DecoderMemory() for _ in tile_sizes(tiles, grid_of(scene))])

    def step(self, chunk: GeneratedChunk, state: DecodeState) -> tuple[RestoredChunk, DecodeState]:
        """Restored frames [T, 3, s H, s W] in 0..1."""
        parts = zip(chunk.latents.unbind(2), frame_groups(len(chunk.source)), strict=True)
        videos = (self.decode(latent, chunk.shown[:, :, frames], state) for latent, frames in parts)
        return restore(chunk, state.scene.target, self._color, videos), state

    def decode(self, latent: Tensor, shown: Tensor, state: DecodeState) -> Tensor:
        """Frames [1, 3, T, H, W] of a latent frame [1, C, h, w], about -1..1; the state's memories move on."""

        def run(number: int, cut: Cut) -> Tensor:
            source, memory = cut(shown, PIXELS), state.memories[number]
            frames, state.memories[number] = self._network(cut(latent, PATCH), source, memory)
            return frames

        return in_tiles(grid_of(state.scene), state.tiles, PIXELS, run)

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
