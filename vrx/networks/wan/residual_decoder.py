"""The decoder of Wan 2.2 TI2V 5B's autoencoder, streamed: 48 channels to 16 x 16 pixels and 4 frames.

It is that of Wan 2.1 but for three things: every level that grows has a shortcut, in which the channels of its input
stand for the places of a larger output; growing leaves the channels as they are; and a last position is 2 x 2 pixels.

Legend: B batch, T frames, F latent frames, pixels -1..1, latents normalized.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import cast

import torch
from torch import Tensor, nn

from vrx.networks.causal_conv import CausalConv3d, ConvCache, name_layers
from vrx.networks.constants import constant_like
from vrx.networks.published import Given, NetworkConfig, PublishedNetwork, Shapes
from vrx.networks.wan.autoencoder import ChannelNorm, Grow, ResidualBlock, Trunk, fuse_norms

MEAN: tuple[float, ...] = (  # of each channel of its latents
    *(-0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557, -0.1382, 0.0542, 0.2813, 0.0891),
    *(0.157, -0.0098, 0.0375, -0.1825, -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502),
    *(-0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.123, -0.0313, -0.1649, 0.0117, 0.0723),
    *(-0.2839, -0.2083, -0.052, 0.3748, 0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667),
)
DEVIATION: tuple[float, ...] = (
    *(0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.499, 0.4818, 0.5013, 0.8158, 1.0344, 0.5894, 1.0901),
    *(0.6885, 0.6165, 0.8454, 0.4978, 0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659),
    *(0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093, 0.5709, 0.6065, 0.6415, 0.4944),
    *(0.5726, 1.2042, 0.5458, 1.6887, 0.3971, 1.06, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744),
)
SPATIAL, TEMPORAL = 16, 4  # pixels a side and frames of a latent
PATCH, COLORS = 2, 3  # pixels a side of a last position
PARTS = ("decoder.", "conv2.")  # of the autoencoder's tensors, those that decode


@dataclass(frozen=True, kw_only=True)
class ResidualDecoderConfig(NetworkConfig):
    """Sizes; the defaults are those of the release.  `temporal`: whether a level doubles the frames, too."""

    COUNTS = frozenset(("num_res_blocks",))

    dim: int = 256
    z_dim: int = 48
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    temporal: tuple[bool, ...] = (True, True, False)

    def __post_init__(self) -> None:
        if any(before not in (width, 2 * width, 4 * width) for before, width in pairwise(self.widths)):
            raise ValueError(f"widths of levels that no shortcut joins: {self.widths}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels before the first level, and of each."""
        return tuple(self.dim * m for m in (self.dim_mult[-1], *self.dim_mult[::-1]))

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> ResidualDecoderConfig:
        """See `NetworkConfig`."""
        found = {"dim": shapes["decoder.head.2.weight"][1], "z_dim": shapes["conv2.weight"][0]}
        return cls(**{**found, **given})


def select_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of an autoencoder's tensors that decode."""
    return {name: tensor for name, tensor in tensors.items() if name.startswith(PARTS)}


def add_repeated(y: Tensor, x: Tensor, times: int) -> Tensor:
    """`y` [B, c, T, 2 H, 2 W] plus `x` [B, C, F, H, W] spread over its shape, written into `y`.

    A position of x is `times` frames, two rows and two columns of y, in this order, each with its share of the C
    channels: C / c channels of x that follow one another give one of y, and the share of a place is the one it falls
    on.  What x has too many frames in front is left out: a scene's first is one frame.
    """
    group, places = x.shape[1] // y.shape[1], times * 4
    missing = times * x.shape[2] - y.shape[2]
    for place, (frame, row, column) in enumerate(product(range(times), range(2), range(2))):
        part = x[:, place * group // places :: group, int(frame < missing) :]
        y[:, :, (frame - missing) % times :: times, row::2, column::2].add_(part)
    return y


class Level(nn.Module):
    """Residual blocks, and where `grows` is not None twice the rows and columns, and with it twice the frames."""

    def __init__(self, inputs: int, outputs: int, blocks: int, grows: bool | None) -> None:
        super().__init__()
        layers: list[nn.Module] = [ResidualBlock(inputs if i == 0 else outputs, outputs) for i in range(blocks)]
        if grows is not None:
            layers.append(Grow(outputs, outputs, grows))
        self.upsamples = nn.ModuleList(layers)
        self._times = None if grows is None else 1 + grows

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        """[B, C, F, H, W]."""
        y = x
        for layer in self.upsamples:
            y = layer(y, cache)
        return y if self._times is None else add_repeated(y, x, self._times)


class Decoder(Trunk):
    """z_dim channels to 2 x 2 pixels a position."""

    def __init__(self, config: ResidualDecoderConfig) -> None:
        super().__init__()
        widths = config.widths
        self.conv1 = CausalConv3d(config.z_dim, widths[0], 3)
        self.middle = self.middle_of(widths[0])
        grows = (*config.temporal, None)
        self.upsamples = nn.ModuleList(
            Level(*both, config.num_res_blocks + 1, growing)
            for both, growing in zip(pairwise(widths), grows, strict=True)
        )
        last = CausalConv3d(widths[-1], COLORS * PATCH**2, 3)
        self.head = nn.ModuleDict({"0": ChannelNorm(widths[-1]), "2": last})

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        """[B, z_dim, F, H, W] to [B, 12, T, 8 H, 8 W]."""
        x = self.run(self.middle, self.conv1(x, cache), cache)
        return self.finish(self.run(self.upsamples, x, cache), cache)


def unpatchify(x: Tensor) -> Tensor:
    """[B, 12, T, H, W], channels in the order color, column, row, to pixels [B, 3, T, 2 H, 2 W]."""
    b, _, t, h, w = x.shape
    parts = x.unflatten(1, (COLORS, PATCH, PATCH)).permute(0, 1, 4, 5, 3, 6, 2)
    return parts.reshape(b, COLORS, t, PATCH * h, PATCH * w)


class ResidualDecoder(PublishedNetwork):
    """The decoder, and the scale of its latents."""

    CONFIG = ResidualDecoderConfig
    SIGNATURE = "decoder.upsamples.0.upsamples.0.residual.2.weight"

    def __init__(
        self, config: ResidualDecoderConfig, mean: Sequence[float] = MEAN, deviation: Sequence[float] = DEVIATION
    ) -> None:
        super().__init__()
        self.config = config
        self.decoder = Decoder(config)
        self.conv2 = CausalConv3d(config.z_dim, config.z_dim, 1)
        self._mean, self._deviation = tuple(mean), tuple(deviation)
        name_layers(self)

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return self.conv2.weight.dtype

    def fuse(self) -> None:
        """See `PublishedNetwork` and `fuse_norms`."""
        fuse_norms(self)

    def decode_step(self, latent: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
        """The next normalized latents of a scene [B, C, F, H, W] to pixels [B, 3, T, 16 H, 16 W], float32, not clamped.

        T is 4 F, of a scene's first latents 4 F - 3.
        """
        cache = cache.fork()
        wide = latent.float()
        center, spread = (constant_like(part, wide).view(1, -1, 1, 1, 1) for part in (self._mean, self._deviation))
        x = cast(Tensor, self.conv2((wide * spread + center).to(self.dtype)))
        return unpatchify(self.decoder(x, cache)).float(), cache
