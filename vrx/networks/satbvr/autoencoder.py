"""CogVideoX's autoencoder, which is diffusers', streamed: 9 frames first, then 8 at a time, in overlapping tiles.

What a call keeps for the next one is a value.  Tiles, their overlap and their blending are those of diffusers, so
that a video in one call or in many gives the latents and the pictures of its `encode` and `decode` with tiling on.

Legend: B = 1, T frames, F latent frames, H and W sides in pixels, h = H / 8 and w = W / 8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from vrx.networks.causal_conv import ConvCache
from vrx.networks.libraries import LibraryNetwork, load
from vrx.networks.published import Given, NetworkConfig, Shapes, count_entries

SPATIAL = 8  # pixels a side of a latent
TEMPORAL = 4  # frames of a latent frame, but for a scene's first, which is one
FRAMES, LATENTS = 8, 2  # of a step; a scene's first has one more
LEVELS = 4  # of widths, three halvings between them
BLOCKS = {"down_block_types": ("CogVideoXDownBlock3D",) * LEVELS, "up_block_types": ("CogVideoXUpBlock3D",) * LEVELS}
OVERLAP = (1 / 6, 1 / 5)  # of a tile's height and width
UNUSED = ("conv_y", "conv_b")  # convolutions that look at one frame only, whose inputs diffusers returns all the same
SEPARATOR = "/"  # in the names of a cache: module names have dots

OffloadCache = Callable[[ConvCache], ConvCache]  # moves a cache that is not needed before the next call


def leave(cache: ConvCache) -> ConvCache:
    """Leave a cache where it is."""
    return cache


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig(NetworkConfig):
    """Sizes under diffusers' names; the defaults are those of CogVideoX 1.5.

    Tiles are half of `sample_height` and `sample_width` pixels.
    """

    in_channels: int = 3
    out_channels: int = 3
    latent_channels: int = 16
    block_out_channels: tuple[int, ...] = (128, 256, 256, 512)
    layers_per_block: int = 3
    norm_num_groups: int = 32
    sample_height: int = 480
    sample_width: int = 720
    scaling_factor: float = 0.7

    LIMITS: ClassVar[Mapping[str, int]] = {"layers_per_block": 16, "in_channels": 64, "out_channels": 64}

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> Self:
        """See `NetworkConfig`; groups, tiles and the factor are not in the tensors."""
        stated = {item.name: given[item.name] for item in fields(cls) if item.name in given}
        levels = range(count_entries(shapes, "encoder.down_blocks."))
        first = "encoder.down_blocks.{}.resnets.0.conv1.conv.weight"
        found = {
            "in_channels": shapes["encoder.conv_in.conv.weight"][1],
            "out_channels": shapes["decoder.conv_out.conv.weight"][0],
            "latent_channels": shapes["decoder.conv_in.conv.weight"][1],
            "block_out_channels": tuple(shapes[first.format(level)][0] for level in levels),
            "layers_per_block": count_entries(shapes, "encoder.down_blocks.0.resnets."),
        }
        return cls(**{**stated, **found})

    def validate(self, tensors: int) -> None:
        """Refuse what no file can mean, or what is not built here.  Raises ValueError."""
        super().validate(tensors)
        if len(self.block_out_channels) != LEVELS:
            raise ValueError(f"{len(self.block_out_channels)} levels are not a grid of {SPATIAL} pixels")
        if not self.scaling_factor or min(self.sample_height, self.sample_width) < 16 * SPATIAL:
            raise ValueError(f"tiles of {self.sample_height}x{self.sample_width} / 2, scaling {self.scaling_factor}")


@dataclass(frozen=True)
class TileGrid:
    """Overlapping tiles of one size, (height, width), `stride` apart; `blend` rows and columns fade into each other.

    `side`, `stride` are those of the input, `shown` and `blend` of the output: of a tile its first `shown` rows count.
    """

    side: tuple[int, int]
    stride: tuple[int, int]
    blend: tuple[int, int]
    shown: tuple[int, int]

    @classmethod
    def of(cls, side: tuple[int, int], out: tuple[int, int]) -> Self:
        """Tiles of a side of the input that become so many pixels or latents of the output, as diffusers has them."""
        stride = int(side[0] * (1 - OVERLAP[0])), int(side[1] * (1 - OVERLAP[1]))
        blend = int(out[0] * OVERLAP[0]), int(out[1] * OVERLAP[1])
        return cls(side, stride, blend, (out[0] - blend[0], out[1] - blend[1]))

    def starts(self, size: tuple[int, int]) -> tuple[range, range]:
        """Where tiles begin in rows and columns of the input: one piece where the size is that of a tile at most."""
        if size[0] <= self.side[0] and size[1] <= self.side[1]:
            return range(1), range(1)
        return range(0, size[0], self.stride[0]), range(0, size[1], self.stride[1])


@dataclass(frozen=True)
class Posterior:
    """The distribution of latents, scaled as the transformers take them: mean and deviation [B, 16, F, h, w]."""

    mean: Tensor
    std: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Latents for noise of the same shape."""
        return self.mean + self.std * noise


class CogVideoAutoencoder(LibraryNetwork):
    """diffusers' AutoencoderKLCogVideoX (Apache-2.0).  Raises ImportError without diffusers."""

    CONFIG = AutoencoderConfig
    SIGNATURE = "encoder.down_blocks.0.resnets.0.conv1.conv.weight"

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__(load("diffusers", "AutoencoderKLCogVideoX")(**vars(config), **BLOCKS))
        self.config = config

    @property
    def pixel_tiles(self) -> TileGrid:
        """Tiles of the encoder, in pixels and then latents."""
        side = self.config.sample_height // 2, self.config.sample_width // 2
        return TileGrid.of(side, (side[0] // SPATIAL, side[1] // SPATIAL))

    @property
    def latent_tiles(self) -> TileGrid:
        """Tiles of the decoder, in latents and then pixels."""
        side = self.config.sample_height // 2, self.config.sample_width // 2
        return TileGrid.of((side[0] // SPATIAL, side[1] // SPATIAL), side)

    def encode(
        self, frames: Tensor, caches: list[ConvCache], offload: OffloadCache = leave
    ) -> tuple[Posterior, list[ConvCache]]:
        """The posterior of the next frames [B, 3, T, H, W] in -1..1; a cache a tile, none at a scene's start.

        T is 8 k, and at a scene's start 1 + 8 k.
        """
        moments, after = TiledPass(self.library.encoder, self.pixel_tiles, FRAMES, offload).run(frames, caches)
        mean, log_variance = moments.float().chunk(2, 1)
        scale = self.config.scaling_factor
        return Posterior(mean * scale, torch.exp(0.5 * log_variance.clamp(-30, 20)) * scale), after

    def decode(
        self, latents: Tensor, caches: list[ConvCache], offload: OffloadCache = leave
    ) -> tuple[Tensor, list[ConvCache]]:
        """The next frames [B, 3, T, H, W], about -1..1, of latents [B, 16, F, h, w] as the transformers give them.

        F is 2 k, and at a scene's start 1 + 2 k.
        """
        latents = latents / self.config.scaling_factor
        return TiledPass(self.library.decoder, self.latent_tiles, LATENTS, offload).run(latents, caches)


@dataclass(frozen=True)
class TiledPass:
    """One direction over the next frames, `frames` at a time: all of a tile, then the next tile."""

    network: nn.Module
    grid: TileGrid
    frames: int
    offload: OffloadCache

    def run(self, x: Tensor, caches: list[ConvCache]) -> tuple[Tensor, list[ConvCache]]:
        """The output, and the tiles' caches; there are none at a scene's start."""
        rows, columns = self.grid.starts((x.shape[-2], x.shape[-1]))
        waiting = iter(caches or [ConvCache()] * (len(rows) * len(columns)))
        after: list[ConvCache] = []
        lines: list[Tensor] = []
        above: list[Tensor] = []
        for top in rows:
            band = x[..., top : top + self.grid.side[0], :]
            line: list[Tensor] = []
            for left in columns:
                part = band[..., left : left + self.grid.side[1]]
                tile, cache = run_groups(self.network, part, next(waiting), self.frames)
                after.append(self.offload(cache))
                tile = fade(above[len(line)], tile, self.grid.blend[0], -2) if above else tile
                line.append(fade(line[-1], tile, self.grid.blend[1], -1) if line else tile)
            lines.append(line[0] if len(after) == len(rows) == 1 else self._join(line))
            above = line
        return torch.cat(lines, -2), after

    def _join(self, line: list[Tensor]) -> Tensor:
        """A row of tiles, of each what is shown."""
        return torch.cat([tile[..., : self.grid.shown[0], : self.grid.shown[1]] for tile in line], -1)


def run_groups(network: nn.Module, x: Tensor, cache: ConvCache, frames: int) -> tuple[Tensor, ConvCache]:
    """One tile over its next frames, as many at a time as the network was trained with."""
    found = []
    nested = nest(cache.to(x.device).store)
    for group in in_groups(x, frames):
        out, nested = network(group, conv_cache=nested)
        found.append(out)
    return torch.cat(found, 2), ConvCache(dict(flatten(nested)))


def in_groups(x: Tensor, frames: int) -> list[Tensor]:
    """[B, C, T, H, W] cut in time; what is over goes first, with the first group."""
    count = x.shape[2]
    first = count % frames + (frames if count >= frames else 0)
    return list(x.split([first, *[frames] * ((count - first) // frames)], 2))


def fade(before: Tensor, tile: Tensor, extent: int, axis: int) -> Tensor:
    """A tile whose first rows (or columns) fade from the last ones of the tile before, linear."""
    extent = min(before.shape[axis], tile.shape[axis], extent)
    if not extent:
        return tile
    weight = torch.arange(extent, device=tile.device, dtype=tile.dtype) / extent
    weight = weight[:, None] if axis == -2 else weight
    end = before.narrow(axis, before.shape[axis] - extent, extent)
    begin, rest = tile.narrow(axis, 0, extent), tile.narrow(axis, extent, tile.shape[axis] - extent)
    return torch.cat([end * (1 - weight) + begin * weight, rest], axis)


def nest(store: Mapping[str, Tensor]) -> dict[str, Any]:
    """A cache by names as the nested dictionaries that diffusers takes."""
    found: dict[str, Any] = {}
    for name, tensor in store.items():
        *path, last = name.split(SEPARATOR)
        place = found
        for part in path:
            place = place.setdefault(part, {})
        place[last] = tensor
    return found


def flatten(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors of nested dictionaries by names, without those that nothing reads."""
    for name, value in nested.items():
        if isinstance(value, Tensor):
            if name not in UNUSED:
                yield prefix + name, value
        elif value:
            yield from flatten(value, f"{prefix}{name}{SEPARATOR}")
