"""The temporal tiny autoencoder of Stream-DiffVSR (arXiv 2512.23709), under its published names.

TAESD-like: three stages, four pixels a side of a latent.  Its decoder takes features of the previous frame, moved
to the current one, into the residual branch of each of its blocks.  A step holds nothing: they are given each time.

Legend: B pictures, C channels; features are [B, C, H, W].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks.published import Given, NetworkConfig, PublishedNetwork, Shapes

SPATIAL = 4  # pixels a side of a latent
POOL = 4  # pixels a side of a position that the temporal fusion mixes
FUSION = 0.1  # share of the fused features in a block's branch
ENCODER_STAGES = ((1,), (3, 4, 5), (7, 8, 9))  # places of the blocks in the sequence of layers
DECODER_STAGES = ((2, 3, 4), (7, 8, 9), (12,))
ENCODER_BLOCKS = tuple(place for stage in ENCODER_STAGES for place in stage)
DECODER_BLOCKS = tuple(place for stage in DECODER_STAGES for place in stage)
FIXED: Mapping[str, object] = {  # values of its config that this code does not vary
    "act_fn": "relu",
    "upsample_fn": "nearest",
    "upsampling_scaling_factor": 2,
    "num_encoder_blocks": tuple(map(len, ENCODER_STAGES)),
    "num_decoder_blocks": tuple(map(len, DECODER_STAGES)),
    "in_channels": 3,
    "out_channels": 3,
    "shift_factor": 0.0,
}


@dataclass(frozen=True, kw_only=True)
class TemporalConfig(NetworkConfig):
    """Sizes; the defaults are those of the published file.

    `scaling_factor`: latents are divided by it before they are decoded; `latent_magnitude` m: they enter the decoder
    as m tanh(x / m).
    """

    channels: int = 64
    latent_channels: int = 4
    scaling_factor: float = 1.0
    latent_magnitude: float = 3.0

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> TemporalConfig:
        """See `NetworkConfig`; what tensors do not give is read from the config file.  Raises ValueError."""
        for name, expected in FIXED.items():
            stated = given.get(name, expected)
            if (tuple(stated) if isinstance(stated, list) else stated) != expected:
                raise ValueError(f"{name} is {stated!r}; vrx only knows {expected!r}")
        width, latent = shapes["decoder.layers.0.weight"][:2]
        factors = {name: given[name] for name in ("scaling_factor", "latent_magnitude") if name in given}
        return cls(channels=width, latent_channels=latent, **factors)

    def validate(self, tensors: int) -> None:
        """See `NetworkConfig`.  Raises ValueError."""
        super().validate(tensors)
        for name in ("scaling_factor", "latent_magnitude"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}")


class TemporalBlock(nn.Module):
    """Three convolutions and a skip; features of the previous frame enter the branch before the skip is added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        self.temporal_processor = nn.Sequential(
            nn.Conv1d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv1d(channels, channels, 3, padding=1)
        )
        self.alpha = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor, previous: Tensor | None = None) -> Tensor:
        """Features [B, C, H, W], with those of the previous frame in the same place, or without."""
        branch = self.conv(x)
        if previous is not None:
            branch = branch + FUSION * self.fuse(branch, previous)
        return F.relu(branch + x)

    def fuse(self, branch: Tensor, previous: Tensor) -> Tensor:
        """Both frames' pooled positions, row by row and one frame after the other, mixed along that line."""
        current = F.avg_pool2d(branch, POOL)
        grid = current.shape[-2:]
        line = torch.cat([current.flatten(2), F.avg_pool2d(previous, POOL).flatten(2)], 2)
        first, second = self.temporal_processor(line).chunk(2, 2)
        mixed = torch.lerp(second, first, self.alpha).unflatten(2, grid)
        return F.interpolate(mixed, branch.shape[-2:], mode="bilinear")


class TemporalEncoder(nn.Module):
    """Pixels to latents; its blocks own temporal parameters, which the file has and nothing uses."""

    def __init__(self, config: TemporalConfig) -> None:
        super().__init__()
        width = config.channels
        self.layers = nn.ModuleList(TemporalBlock(width) if n in ENCODER_BLOCKS else nn.Identity() for n in range(11))
        self.layers[0] = nn.Conv2d(3, width, 3, padding=1)
        for place in (2, 6):
            self.layers[place] = nn.Conv2d(width, width, 3, padding=1, stride=2, bias=False)
        self.layers[10] = nn.Conv2d(width, config.latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Latents, and what each block gave."""
        features = []
        for place, layer in enumerate(self.layers):
            x = layer(x)
            if place in ENCODER_BLOCKS:
                features.append(x)
        return x, features


class TemporalDecoder(nn.Module):
    """Latents to pixels in -1..1, not clamped."""

    def __init__(self, config: TemporalConfig) -> None:
        super().__init__()
        width = config.channels
        self.layers = nn.ModuleList(TemporalBlock(width) if n in DECODER_BLOCKS else nn.Identity() for n in range(14))
        self.layers[0] = nn.Conv2d(config.latent_channels, width, 3, padding=1)
        self.layers[1] = nn.ReLU()
        for place in (5, 10):
            self.layers[place] = nn.Upsample(scale_factor=2)
            self.layers[place + 1] = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.layers[13] = nn.Conv2d(width, 3, 3, padding=1)
        self._limit = config.latent_magnitude

    def forward(self, latent: Tensor, previous: Sequence[Tensor] | None) -> Tensor:
        """`previous`: features for each block, in the order of the blocks."""
        x = self._limit * torch.tanh(latent / self._limit)
        features = iter(previous or ())
        for place, layer in enumerate(self.layers):
            x = layer(x, next(features, None)) if place in DECODER_BLOCKS else layer(x)
        return x * 2 - 1


class TemporalAutoencoder(PublishedNetwork):
    """Both directions; in float32 or as it is placed."""

    CONFIG = TemporalConfig
    SIGNATURE = "decoder.layers.2.temporal_processor.0.weight"

    def __init__(self, config: TemporalConfig) -> None:
        super().__init__()
        self.scaling_factor = config.scaling_factor
        self.encoder = TemporalEncoder(config)
        self.decoder = TemporalDecoder(config)

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, 4 h, 4 w] in -1..1 to latents [B, 4, h, w]."""
        return self.encoder((pictures + 1) / 2)[0]

    def features(self, pictures: Tensor) -> list[Tensor]:
        """What the decoder takes of the previous frame's pictures [B, 3, 4 h, 4 w] in -1..1, a tensor for each block.

        Pictures enter as they are, not mapped to 0..1 as for encoding: so the weights were trained.
        """
        return self.encoder(pictures)[1][::-1]

    def decode(self, latent: Tensor, previous: Sequence[Tensor] | None = None) -> Tensor:
        """Latents [B, 4, h, w] to pictures [B, 3, 4 h, 4 w], nominally in -1..1; sides of 4 latents at least.

        `previous`: `features` of the previous frame; None for a scene's first.
        """
        return self.decoder(latent, previous)
