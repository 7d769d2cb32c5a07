"""SATB-VR's only stage: enlarge, encode, restore in windows, decode, match the colors.

The parts take turns in the device's memory, which the transformer alone nearly fills.  The autoencoder's caches
live as long as a scene, so that neither latents nor pictures know where a window ends.  A window is twenty latent
frames: the first one twice, as the networks were trained; the last ones of the window before, whose restored
latents are given, so that the new ones continue them; and the new ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.errors import UsageError
from vrx.models.autoencoders import Caches, pack_caches, unpack_caches
from vrx.models.base import AnyStage, ChunkSchedule, DeviceChunk, RestoredChunk, SceneStart, Stage
from vrx.models.layouts import pad_to_multiple, round_up, to_frames, to_video
from vrx.models.noise import scene_generator
from vrx.models.satbvr.memory import Memory
from vrx.networks.color_transfer import match_colors, wavelet
from vrx.networks.overflow import clamp_finite
from vrx.networks.satbvr.autoencoder import FRAMES, SPATIAL, TEMPORAL, CogVideoAutoencoder
from vrx.networks.satbvr.sampler import Sampler
from vrx.networks.satbvr.tiles import Side, Tiling

WINDOW = 20  # latent frames, as published: a tile's 80 frames
CONTEXT = 3  # of them from the window before: with the first one twice, as much as published tiles overlap
SCHEDULE = ChunkSchedule(
    first=TEMPORAL * (WINDOW - 2) + 1,
    next=TEMPORAL * (WINDOW - 1 - CONTEXT),
    multiple=FRAMES,
    first_offset=1,
)
PIXEL_MULTIPLE = 16  # autoencoder x patch
TILE, STRIDE = 1024, 768  # pixels, as published
TRANSFER = wavelet  # of colors, as published
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a run asks for: scale, seed, tiles (as --tile has them), and the color match (as --color-fix has it)."""

    scale: int
    seed: int
    tile: str = "auto"
    color: str = "auto"


@dataclass(frozen=True)
class RestoreState:
    """A scene's noise, the autoencoder's caches, and the latest latents, low-quality and restored.

    Latents are [1, CONTEXT, 16, h, w], None before the first window.  The tiles are those that the scene began
    with, however much memory is free now.
    """

    scene: SceneStart
    generator: torch.Generator
    tiling: Tiling
    encoder: Caches = field(default_factory=list)
    decoder: Caches = field(default_factory=list)
    lq: Tensor | None = None
    restored: Tensor | None = None

    def draw(self, shape: torch.Size) -> Tensor:
        """Standard normal noise, drawn on the processor: the same on every device."""
        return torch.randn(shape, generator=self.generator)


class Restore(Stage[DeviceChunk, RestoredChunk, RestoreState]):
    """Everything, window after window."""

    def __init__(self, autoencoder: CogVideoAutoencoder, sampler: Sampler, options: Options, memory: Memory) -> None:
        self._autoencoder, self._sampler, self._options, self._memory = autoencoder, sampler, options, memory
        self._device, self._dtype = autoencoder.device, autoencoder.dtype

    def start(self, scene: SceneStart) -> RestoreState:
        """Nothing restored yet; noise by the seed and the scene.  Raises UsageError for a size that needs tiles."""
        height, width = (round_up(side, PIXEL_MULTIPLE) for side in scene.target)
        self._memory.prepare(height * width)
        tiling = choose_tiling(
            self._options.tile, (height, width), self._most, self._memory.needs_tiles(height * width)
        )
        return RestoreState(scene, scene_generator(self._options.seed, scene), tiling)

    @property
    def _most(self) -> int:
        """Pixels a side beyond which the transformer knows no positions."""
        config = self._sampler.denoiser.config
        return SPATIAL * min(config.sample_height, config.sample_width)

    def step(self, chunk: DeviceChunk, state: RestoreState) -> tuple[RestoredChunk, RestoreState]:
        """Restored frames [T, 3, s H, s W] in 0..1."""
        video = torch.cat([self._enlarge(part, state).to(self._dtype) for part in chunk.frames.split(FRAMES)], 2)
        video = pad_to_multiple(video, PIXEL_MULTIPLE)
        offload = partial(self._memory.offload_cache, video.shape[-2] * video.shape[-1])
        posterior, encoder = self._autoencoder.encode(video, state.encoder, offload)
        del video
        new = posterior.sample(state.draw(posterior.mean.shape).to(self._device)).transpose(1, 2)
        lq, restored = self._restore(new, state)
        latents = restored[:, -new.shape[1] :].transpose(1, 2).to(self._dtype)
        pictures, decoder = self._autoencoder.decode(latents, state.decoder, offload)
        after = replace(
            state,
            encoder=encoder,
            decoder=decoder,
            lq=lq[:, -CONTEXT:].clone(),
            restored=restored[:, -CONTEXT:].clone(),
        )
        return RestoredChunk(self._finish(pictures, chunk.frames, state)), after

    def _enlarge(self, frames: Tensor, state: RestoreState) -> Tensor:
        """Frames [T, 3, h, w] in 0..1 as video [1, 3, T, H, W] in -1..1."""
        large = F.interpolate(frames.float(), state.scene.target, mode="bicubic")
        return to_video(large.clamp_(0, 1))

    def _restore(self, new: Tensor, state: RestoreState) -> tuple[Tensor, Tensor]:
        """The low-quality latents of a window [1, F, 16, h, w], and the restored ones."""
        lq, known = new, None
        if state.lq is not None and state.restored is not None:
            lq = torch.cat([state.lq, new], 1)
            known = twice_first(state.restored)
        sampler = replace(self._sampler, tiling=state.tiling)
        lq = twice_first(lq)
        return lq, sampler.sample(lq, lambda shape: state.draw(shape).to(self._device), known)

    def _finish(self, pictures: Tensor, frames: Tensor, state: RestoreState) -> Tensor:
        """Decoded video [1, 3, T, H, W] as frames, cut to size, in the colors of the source."""
        height, width = state.scene.target
        found = []
        for part, shown in zip(pictures.split(FRAMES, 2), frames.split(FRAMES), strict=True):
            video = clamp_finite(part[..., :height, :width].float(), -1, 1)
            source = self._enlarge(shown, state)
            found.append(to_frames(match_colors(video, source, self._options.color, TRANSFER)))
        return torch.cat(found)

    def save(self, state: RestoreState) -> dict[str, Tensor]:
        """Caches, latents, noise, and the side of the tiles (0 for none)."""
        side = state.tiling.spatial.tile if state.tiling.spatial else 0
        found = {"generator": state.generator.get_state(), "tile": torch.tensor(side)}
        for name, caches in (("encoder", state.encoder), ("decoder", state.decoder)):
            found |= {f"{name}.{key}": tensor for key, tensor in pack_caches(caches).items()}
        if state.lq is not None and state.restored is not None:
            found |= {"lq": state.lq, "restored": state.restored}
        return found

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> RestoreState:
        """The state that `save` gave; caches stay on the host until their tile's turn."""
        state, side = self.start(scene), int(tensors["tile"])
        state.generator.set_state(tensors["generator"].cpu())
        encoder, decoder = (unpack_caches(below(name, tensors), CPU) for name in ("encoder", "decoder"))
        tiling = Tiling(spatial=tile_side(side * SPATIAL)) if side else Tiling()
        state = replace(state, tiling=tiling, encoder=encoder, decoder=decoder)
        if "lq" not in tensors:
            return state
        return replace(state, lq=tensors["lq"].to(self._device), restored=tensors["restored"].to(self._device))


def below(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with a word, without it."""
    return {key.removeprefix(f"{name}."): t for key, t in tensors.items() if key.startswith(f"{name}.")}


def twice_first(latents: Tensor) -> Tensor:
    """Latents [1, F, 16, h, w] with the first of them in front once more."""
    return torch.cat([latents[:, :1], latents], 1)


def tile_side(pixels: int) -> Side:
    """Tiles of so many pixels, which begin three quarters of that apart as the published ones do."""
    tile = pixels // PIXEL_MULTIPLE * 2
    return Side(tile=tile, stride=tile * STRIDE // TILE)


def choose_tiling(wanted: str, size: tuple[int, int], most: int, short: bool) -> Tiling:
    """The transformer's tiles for an output of a size in pixels; `auto` has some where memory is short.

    A side above `most` pixels is always cut.  Raises UsageError where that is refused.
    """
    if wanted == "auto":
        return Tiling(spatial=tile_side(TILE)) if short or max(size) > most else Tiling()
    side = max(size) if wanted == "off" else int(wanted)
    if min(side, max(size)) > most:
        raise UsageError(
            f"SATB-VR restores at most {most} pixels a side in one piece, and {size[1]}x{size[0]} are asked for",
            "Remove --tile, or use --tile 1024",
        )
    return Tiling() if wanted == "off" else Tiling(spatial=tile_side(side))


class SatbVrRestorer:
    """The stage; networks are on their device, in their type."""

    schedule = SCHEDULE

    def __init__(self, autoencoder: CogVideoAutoencoder, sampler: Sampler, options: Options, memory: Memory) -> None:
        self.scale = options.scale
        self.stages: Mapping[str, AnyStage] = {"restore": Restore(autoencoder, sampler, options, memory)}
