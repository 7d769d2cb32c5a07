"""Video autoencoders as models use them: pixels in -1..1 to latents and back, streamed, in tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from vrx.models.base import Input, Output, SceneStart, Stage
from vrx.models.components import Component
from vrx.models.family import BuildRequest
from vrx.models.tiling import SPATIAL, Mosaic, Tiles, Tiling, starts, usual_tiles
from vrx.networks.causal_conv import ConvCache
from vrx.networks.leanvae import LeanAutoencoder
from vrx.networks.overflow import clamp_finite
from vrx.networks.taehv import TinyAutoencoder
from vrx.networks.wan.autoencoder import TEMPORAL, WanAutoencoder

LEAN_RANGE = 0.5

AUTOENCODER = Component(network=WanAutoencoder, files=("Wan2.1_VAE.*", "autoencoder.*"), folders=("vae",))
TINY = Component(network=TinyAutoencoder, files=("taew2_1.*", "lighttaew2_1.*"), folders=("vae",), decoder="tiny")
LEAN = Component(network=LeanAutoencoder, files=("LeanVAE-dim16.*",), folders=("vae",))

Caches = list[ConvCache]  # one a tile
Step = Callable[[Tensor, ConvCache], tuple[Tensor, ConvCache]]


class VideoAutoencoder(Protocol):
    """Two streamed directions; a state is what either keeps of the frames before."""

    def encode_step(self, frames: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
        """Frames [1, 3, T, H, W] in -1..1 to latents [1, C, F, H/8, W/8]."""

    def decode_step(self, latent: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
        """Latents [1, C, F, H, W] to frames [1, 3, T, 8 H, 8 W] in -1..1."""


class WanVideoAutoencoder:
    """Wan's autoencoder, a latent frame at a time (`decode_one_by_one`); with `tiny`, TAEHV decodes in its place."""

    def __init__(self, network: WanAutoencoder, tiny: TinyAutoencoder | None = None) -> None:
        self.network, self.tiny = network, tiny
        self._dtype = network.conv1.weight.dtype

    def encode_step(self, frames: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
        """See `VideoAutoencoder`."""
        latents = []
        for group in by_latent(frames.to(self._dtype)):
            latent, cache = self.network.encode_step(group, cache)
            latents.append(latent.float())
        return torch.cat(latents, 2), cache

    def decode_step(self, latent: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
        """See `VideoAutoencoder`."""
        latent = latent.to(self._dtype)
        if self.tiny is None:
            return decode_one_by_one(self.network.decode_step, latent, cache)
        frames, cache = self.tiny.decode_step(latent.transpose(1, 2), cache)
        return frames.transpose(1, 2).float() * 2 - 1, cache


def decode_one_by_one(step: Step, latents: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
    """Frames [1, 3, T, H, W] in -1..1, float32, of latents [1, C, F, h, w], by a step for each latent frame.

    An autoencoder's widest maps have the size of the picture: those of a whole chunk would take three times the
    memory, for the same result.
    """
    videos = []
    for latent in latents.split(1, 2):
        frames, cache = step(latent, cache)
        videos.append(clamp_finite(frames.float(), -1, 1))
    return torch.cat(videos, 2), cache


def by_latent(frames: Tensor) -> tuple[Tensor, ...]:
    """Frames [1, 3, T, H, W] in groups that one latent frame holds; 1 + 4 k of them begin a scene."""
    count = frames.shape[2]
    first = [1] if count % TEMPORAL else []
    return frames.split([*first, *[TEMPORAL] * (count // TEMPORAL)], 2)


class LeanVideoAutoencoder:
    """LeanVAE: half the range, latents as they are."""

    def __init__(self, network: LeanAutoencoder) -> None:
        self.network = network
        self._dtype = network.latent_bottleneck.phi.dtype

    def encode_step(self, frames: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
        """See `VideoAutoencoder`."""
        latent, cache = self.network.encode_step((frames * LEAN_RANGE).to(self._dtype), cache)
        return latent.float(), cache

    def decode_step(self, latent: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
        """See `VideoAutoencoder`."""
        frames, cache = self.network.decode_step(latent.to(self._dtype), cache)
        return clamp_finite(frames.float(), -LEAN_RANGE, LEAN_RANGE) / LEAN_RANGE, cache


# ---------------------------------------------------------------- streams


class StreamingPass:
    """One direction of an autoencoder over a scene, whole or in tiles; states are values.

    `scales` are (pixels of the input, of the output) a latent.
    """

    def __init__(self, step: Step, tiling: Tiling, scales: tuple[int, int]) -> None:
        self._step, self._tiling, self._scales = step, tiling, scales

    def step(self, x: Tensor, caches: Caches) -> tuple[Tensor, Caches]:
        """The next frames or latents; `caches` is empty at a scene's start."""
        tiles = self._tiles(x, len(caches))
        if tiles is not None:
            return self._tiled(x, caches, tiles)
        out, cache = self._step(x, caches[0] if caches else ConvCache(inplace=True))
        return out, [cache]

    def _tiled(self, x: Tensor, caches: Caches, tiles: Tiles) -> tuple[Tensor, Caches]:
        """A step, tile after tile, seams blended; every tile has its own cache."""
        inner, outer = self._scales
        mosaic = Mosaic((x.shape[-2] // inner, x.shape[-1] // inner), tiles, outer)
        after: Caches = []
        for number, place in enumerate(mosaic.places):
            cache = caches[number] if caches else ConvCache(inplace=True)
            out, cache = self._step(mosaic.cut(x, place, inner), cache.to(x.device))
            after.append(self._tiling.offload(cache, x.device))
            mosaic.add(place, out)
        return mosaic.result(), after

    def _tiles(self, x: Tensor, count: int) -> Tiles | None:
        """The tiles of a step after one of `count`: a scene continues as it began, however much is free now."""
        height, width = (side // self._scales[0] for side in x.shape[-2:])
        spatial = max(self._scales)
        tiles = self._tiling.tiles(height * spatial, width * spatial, spatial)
        if self._tiling.wanted != "auto" or count == 0:
            return tiles
        expected = 1 if tiles is None else len(starts(height, tiles)) * len(starts(width, tiles))
        return tiles if count == expected else usual_tiles(spatial) if count > 1 else None


def load_wan(request: BuildRequest, tiny: bool) -> WanVideoAutoencoder:
    """Wan's autoencoder, with TAEHV to decode where `tiny`.  Raises ModelError."""
    small = request.load("tiny", TinyAutoencoder) if tiny else None
    return WanVideoAutoencoder(request.load("autoencoder", WanAutoencoder), small)


def encoder(autoencoder: VideoAutoencoder, tiling: Tiling) -> StreamingPass:
    """Pixels to latents."""
    return StreamingPass(autoencoder.encode_step, tiling, (SPATIAL, 1))


def decoder(autoencoder: VideoAutoencoder, tiling: Tiling) -> StreamingPass:
    """Latents to pixels."""
    return StreamingPass(autoencoder.decode_step, tiling, (1, SPATIAL))


def pack_caches(caches: Caches) -> dict[str, Tensor]:
    """Caches as tensors by name."""
    if any(t.is_pinned() for cache in caches for t in cache.store.values()):
        torch.accelerator.synchronize()  # they may still be on their way to the host
    return {f"{i}.{name}": t for i, cache in enumerate(caches) for name, t in cache.tensors().items()}


def unpack_caches(tensors: dict[str, Tensor], device: torch.device) -> Caches:
    """The caches that `pack_caches` gave."""
    caches: Caches = []
    for key in sorted(tensors, key=lambda k: int(k.split(".", 1)[0])):
        number, name = key.split(".", 1)
        while len(caches) <= int(number):
            caches.append(ConvCache(inplace=True))
        caches[int(number)].store[name] = tensors[key].to(device)
    return caches


# ---------------------------------------------------------------- stages


@dataclass
class AutoencoderState:
    """An autoencoder's caches in one scene."""

    scene: SceneStart
    caches: Caches = field(default_factory=list)


class AutoencoderStage(Stage[Input, Output, AutoencoderState]):
    """Base of stages that keep an autoencoder's caches and nothing else."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def start(self, scene: SceneStart) -> AutoencoderState:
        """Empty caches."""
        return AutoencoderState(scene)

    def save(self, state: AutoencoderState) -> dict[str, Tensor]:
        """The caches."""
        return pack_caches(state.caches)

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> AutoencoderState:
        """The state that `save` gave."""
        return AutoencoderState(scene, unpack_caches(tensors, self._device))
