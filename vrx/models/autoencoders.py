"""Video autoencoders as models use them: pixels in -1..1 to latents and back, streamed, in tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from vrx.models.base import Input, Output, SceneStart, Stage
from vrx.networks.causal_conv import ConvCache
from vrx.networks.leanvae import LeanAutoencoder
from vrx.networks.taehv import TinyAutoencoder
from vrx.networks.wan.autoencoder import TEMPORAL, WanAutoencoder

SPATIAL = 8  # pixels a side of a latent, in every autoencoder here
TILE, STRIDE = 128, 110  # latents; as InfVSR's release
TILED_FROM = 1024  # rows of output above which `auto` tiles where the memory is not known
RESERVE = 8_000_000_000  # bytes that stay free where caches of tiles stay on a GPU: the maps of one tile
LEAN_RANGE = 0.5

Caches = list[ConvCache]  # one a tile
Step = Callable[[Tensor, ConvCache], tuple[Tensor, ConvCache]]


class VideoAutoencoder(Protocol):
    """Two streamed directions; a state is what either keeps of the frames before."""

    def encode_step(self, frames: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
        """Frames [1, 3, T, H, W] in -1..1 to latents [1, C, F, H/8, W/8]."""

    def decode_step(self, latent: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
        """Latents [1, C, F, H, W] to frames [1, 3, T, 8 H, 8 W] in -1..1."""


class WanVideoAutoencoder:
    """Wan's autoencoder, a latent frame at a time; with `tiny`, TAEHV decodes in its place.

    Its widest maps have the size of the picture: those of a whole chunk would take three times the memory, for
    the same result.
    """

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
            pictures = []
            for part in latent.split(1, 2):
                frames, cache = self.network.decode_step(part, cache)
                pictures.append(frames.float().clamp_(-1, 1))
            return torch.cat(pictures, 2), cache
        frames, cache = self.tiny.decode_step(latent.transpose(1, 2), cache)
        return frames.transpose(1, 2).float() * 2 - 1, cache


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
        return frames.float().clamp(-LEAN_RANGE, LEAN_RANGE) / LEAN_RANGE, cache


# ---------------------------------------------------------------- tiles


@dataclass(frozen=True)
class Tiles:
    """Side and stride of tiles in latents."""

    side: int = TILE
    stride: int = STRIDE

    def __post_init__(self) -> None:
        if not 0 < self.stride <= self.side:
            raise ValueError(f"tiles of {self.side} latents cannot stand {self.stride} apart")


@dataclass(frozen=True)
class Tiling:
    """When an autoencoder works in tiles: `wanted` is `auto`, `off` or a side in pixels of output.

    `untiled` pixels of output fit the device in one piece, and `free` asks for its free bytes; None where
    neither is known.
    """

    wanted: str = "auto"
    untiled: int | None = None
    free: Callable[[], int | None] | None = None

    def tiles(self, height: int, width: int) -> Tiles | None:
        """Tiles for an output of so many pixels, None for one piece."""
        if self.wanted not in ("auto", "off"):
            side = int(self.wanted) // SPATIAL
            return Tiles(side, side - max(4, side * (TILE - STRIDE) // TILE))
        fits = height <= TILED_FROM if self.untiled is None else height * width <= self.untiled
        return None if self.wanted == "off" or fits else Tiles()

    def rest(self, cache: ConvCache, device: torch.device) -> ConvCache:
        """The cache of a tile that waits for the next step: on the device while there is room, else on the host."""
        free = None if self.free is None else self.free()
        if device.type != "cuda" or (free is not None and free >= RESERVE):
            return cache
        return cache.to(torch.device("cpu"))


def starts(length: int, tiles: Tiles) -> list[int]:
    """Where tiles begin along an axis; one that the tile before already reaches the end of is left out."""
    found = [0]
    while found[-1] + tiles.side < length:
        found.append(found[-1] + tiles.stride)
    return found


def ramp(length: int, overlap: int, first: bool, last: bool, like: Tensor) -> Tensor:
    """Weights of a tile along an axis: linear over the overlap towards a neighbour, 1 elsewhere."""
    weight = torch.ones(length, device=like.device)
    if not overlap:
        return weight
    rise = (torch.arange(overlap, device=like.device) + 1) / overlap
    edge = min(overlap, length)
    if not first:
        weight[:edge] = torch.minimum(weight[:edge], rise[:edge])
    if not last:
        weight[-edge:] = torch.minimum(weight[-edge:], rise.flip(0)[-edge:])
    return weight


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
        out, cache = self._step(x, caches[0] if caches else ConvCache(spent=True))
        return out, [cache]

    def _tiled(self, x: Tensor, caches: Caches, tiles: Tiles) -> tuple[Tensor, Caches]:
        """A step, tile after tile, seams blended; every tile has its own cache."""
        inner, outer = self._scales
        height, width = x.shape[-2] // inner, x.shape[-1] // inner
        rows, columns = starts(height, tiles), starts(width, tiles)
        places = [(top, left) for top in rows for left in columns]
        overlap = (tiles.side - tiles.stride) * outer
        total = weights = torch.empty(0)
        after: Caches = []
        for number, (top, left) in enumerate(places):
            part = x[..., top * inner : (top + tiles.side) * inner, left * inner : (left + tiles.side) * inner]
            cache = caches[number] if caches else ConvCache(spent=True)
            out, cache = self._step(part, cache.to(x.device))
            after.append(self._tiling.rest(cache, x.device))
            if not number:
                total = out.new_zeros(*out.shape[:-2], height * outer, width * outer)
                weights = out.new_zeros(height * outer, width * outer)
            vertical = ramp(out.shape[-2], overlap, top == 0, top == rows[-1], out)
            level = ramp(out.shape[-1], overlap, left == 0, left == columns[-1], out)
            weight = vertical[:, None] * level[None]
            window = (
                slice(top * outer, top * outer + out.shape[-2]),
                slice(left * outer, left * outer + out.shape[-1]),
            )
            total[(..., *window)] += out * weight
            weights[window] += weight
        return total / weights, after

    def _tiles(self, x: Tensor, count: int) -> Tiles | None:
        """The tiles of a step after one of `count`: a scene goes on as it began, whatever is free by now."""
        height, width = (side // self._scales[0] for side in x.shape[-2:])
        tiles = self._tiling.tiles(height * SPATIAL, width * SPATIAL)
        if self._tiling.wanted != "auto" or count == 0:
            return tiles
        expected = 1 if tiles is None else len(starts(height, tiles)) * len(starts(width, tiles))
        return tiles if count == expected else Tiles() if count > 1 else None


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
            caches.append(ConvCache(spent=True))
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
