"""LeanVAE: a video autoencoder of wavelets and light mixing layers, streamed (Cheng and Yuan, arXiv 2503.14325).

8 x 8 pixels and 4 frames to one latent; the first frame of a scene has a latent of its own.  Steps take 1 + 4 k
frames first, then multiples of 4; any number of latent frames.

Legend: N clips, T frames, F latent frames, D channels; pixels -0.5..0.5, latents not normalized.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks.causal_conv import CausalConv3d, ConvCache, name_layers
from vrx.networks.published import Given, NetworkConfig, PublishedNetwork, Shapes, count_entries

SPATIAL, TEMPORAL = 8, 4  # pixels and frames of a latent
COLORS = 3
VIDEO_AXES, IMAGE_AXES = (2, 3, 4), (4, 3)  # of [N, C, T, H, W], in the order of the published bands
STARTED = "started"


@dataclass(frozen=True, kw_only=True)
class LeanConfig(NetworkConfig):
    """Sizes under their published names; the defaults are those of LeanVAE-dim16."""

    COUNTS = frozenset(("ista_iter_num", "ista_layer_num", "sep_num_layer", "fusion_num_layer"))

    l_dim: int = 128
    h_dim: int = 384
    embedding_dim: int = 512
    latent_dim: int = 16
    ista_iter_num: int = 2
    ista_layer_num: int = 2
    sep_num_layer: int = 2
    fusion_num_layer: int = 4
    patch_size: tuple[int, int, int] = (2, 4, 4)

    def __post_init__(self) -> None:
        object.__setattr__(self, "patch_size", tuple(self.patch_size))

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> LeanConfig:
        """See `NetworkConfig`."""
        latent, width = shapes["latent_bottleneck.phi"]
        found = {
            "l_dim": shapes["encoder.video_low_proj.1.weight"][0],
            "h_dim": shapes["encoder.video_high_proj.1.weight"][0],
            "embedding_dim": width,
            "latent_dim": latent,
            "ista_iter_num": count_entries(shapes, "latent_bottleneck.forward_l."),
            "ista_layer_num": count_entries(shapes, "latent_bottleneck.forward_l.0.dconv_layer."),
            "sep_num_layer": count_entries(shapes, "encoder.low_layer.dconv_layer."),
            "fusion_num_layer": count_entries(shapes, "encoder.fusion_layer.dconv_layer."),
        }
        return cls(**{**found, **given})


# ---------------------------------------------------------------- wavelet and patches


def haar(x: Tensor, axis: int) -> Tensor:
    """Sums and differences of neighbors along an axis, stacked in front: [2, ...]."""
    even, odd = x.unflatten(axis, (-1, 2)).unbind(axis + 1)
    return torch.stack([even + odd, even - odd])


def unhaar(bands: Tensor, axis: int) -> Tensor:
    """The inverse of `haar`."""
    low, high = bands.unbind(0)
    pair = torch.stack([low + high, low - high], axis + 1) / 2
    return pair.flatten(axis, axis + 1)


def to_bands(x: Tensor, temporal: bool) -> Tensor:
    """[N, 3, T, H, W] to [N, 3 x bands, T or T/2, H/2, W/2]: rows and columns halved, time too if asked.

    One Haar level, orthonormal, times sqrt(2) an axis; bands from low to high, the last of `axes` fastest.
    """
    axes = VIDEO_AXES if temporal else IMAGE_AXES
    for depth, axis in enumerate(reversed(axes)):  # what splits last is first
        x = haar(x, axis + depth)
    return x.flatten(0, len(axes) - 1).transpose(0, 1).flatten(1, 2)


def from_bands(x: Tensor, temporal: bool) -> Tensor:
    """The inverse of `to_bands`."""
    axes = VIDEO_AXES if temporal else IMAGE_AXES
    count = len(axes)
    x = x.unflatten(1, (2**count, COLORS)).transpose(0, 1).unflatten(0, (2,) * count)
    for depth, axis in enumerate(axes):
        x = unhaar(x, axis + count - 1 - depth)
    return x


def split_patches(x: Tensor, size: tuple[int, int, int]) -> Tensor:
    """[N, C, T, H, W] to [N, T', H', W', C x values of a patch]."""
    n, c, t, h, w = x.shape
    pt, ph, pw = size
    x = x.view(n, c, t // pt, pt, h // ph, ph, w // pw, pw)
    return x.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4)


def join_patches(x: Tensor, size: tuple[int, int, int]) -> Tensor:
    """The inverse of `patches`."""
    n, t, h, w, _ = x.shape
    pt, ph, pw = size
    x = x.view(n, t, h, w, -1, pt, ph, pw).permute(0, 4, 1, 5, 2, 6, 3, 7)
    return x.reshape(n, -1, t * pt, h * ph, w * pw)


class SplitPatches(nn.Module):
    """Cut into patches, ahead of a linear layer."""

    def __init__(self, size: tuple[int, int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """See `patches`."""
        return split_patches(x, self.size)


class JoinPatches(nn.Module):
    """Put patches back, after a linear layer."""

    def __init__(self, size: tuple[int, int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """See `join_patches`."""
        return join_patches(x, self.size)


# ---------------------------------------------------------------- layers


class DepthwiseConv(nn.Module):
    """A causal depthwise convolution over [N, T, H, W, D]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ds_conv = CausalConv3d(width, width, 3, groups=width)

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        """The same shape."""
        y: Tensor = self.ds_conv(x.permute(0, 4, 1, 2, 3), cache)
        return y.permute(0, 2, 3, 4, 1)


class GatedGelu(nn.Module):
    """The first half times the GELU of the second."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., 2 D] to [..., D]."""
        value, gate = x.chunk(2, -1)
        return value * F.gelu(gate)


def feed_forward(width: int) -> nn.Sequential:
    """LayerNorm, gated GELU network."""
    inner = int(width * 8 / 3)
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, 2 * inner, bias=False),
        GatedGelu(),
        nn.Identity(),  # a dropout in training
        nn.Linear(inner, width, bias=False),
    )


class Mixer(nn.Module):
    """Depthwise convolutions and feed-forward layers in turn, each added to its input where `residual`."""

    def __init__(self, width: int, layers: int, residual: bool = True) -> None:
        super().__init__()
        self.residual = residual
        self.dconv_layer = nn.ModuleList(DepthwiseConv(width) for _ in range(layers))
        self.ffd_layer = nn.ModuleList(feed_forward(width) for _ in range(layers))

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        """[N, T, H, W, D]."""
        for conv, feed in zip(self.dconv_layer, self.ffd_layer, strict=True):
            x = x + conv(x, cache) if self.residual else conv(x, cache)
            x = x + feed(x) if self.residual else feed(x)
        return x


class Backbone(nn.Module):
    """What encoder and decoder share: low and high bands apart, and both together."""

    def __init__(self, config: LeanConfig) -> None:
        super().__init__()
        self.low_layer = Mixer(config.l_dim, config.sep_num_layer)
        self.high_layer = Mixer(config.h_dim, config.sep_num_layer)
        self.fusion_layer = Mixer(config.l_dim + config.h_dim, config.fusion_num_layer)


def band_sizes(config: LeanConfig) -> dict[str, tuple[tuple[int, int, int], int, int]]:
    """Patch, and values of the low and the high bands in it, for the image and the video path."""
    pt, ph, pw = config.patch_size
    area = COLORS * ph * pw
    return {"image": ((1, ph, pw), area, 3 * area), "video": ((pt, ph, pw), pt * area, 7 * pt * area)}


class Encoder(Backbone):
    """Pixels to features."""

    def __init__(self, config: LeanConfig) -> None:
        super().__init__(config)
        for name, (size, low, high) in band_sizes(config).items():
            setattr(self, f"{name}_low_proj", nn.Sequential(SplitPatches(size), nn.Linear(low, config.l_dim)))
            setattr(self, f"{name}_high_proj", nn.Sequential(SplitPatches(size), nn.Linear(high, config.h_dim)))

    def forward(self, video: Tensor, cache: ConvCache) -> Tensor:
        """[N, 3, T, H, W] to [N, F, H/8, W/8, D]."""
        fresh = cache.swap(f"encoder.{STARTED}", video.new_zeros(0)) is None
        lows, highs = [], []
        for name, part in (("image", video[:, :, : int(fresh)]), ("video", video[:, :, int(fresh) :])):
            if part.shape[2]:
                bands = to_bands(part, temporal=name == "video")
                lows.append(getattr(self, f"{name}_low_proj")(bands[:, :COLORS]))
                highs.append(getattr(self, f"{name}_high_proj")(bands[:, COLORS:]))
        low, high = self.low_layer(torch.cat(lows, 1), cache), self.high_layer(torch.cat(highs, 1), cache)
        return cast(Tensor, self.fusion_layer(torch.cat([low, high], -1), cache))


class Decoder(Backbone):
    """Features to pixels."""

    def __init__(self, config: LeanConfig) -> None:
        super().__init__(config)
        self.split = [config.l_dim, config.h_dim]
        for name, (size, low, high) in band_sizes(config).items():
            setattr(self, f"{name}_low_proj", nn.Sequential(nn.Linear(config.l_dim, low), JoinPatches(size)))
            setattr(self, f"{name}_high_proj", nn.Sequential(nn.Linear(config.h_dim, high), JoinPatches(size)))

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        """[N, F, H/8, W/8, D] to [N, 3, T, H, W]."""
        fresh = cache.swap(f"decoder.{STARTED}", x.new_zeros(0)) is None
        low, high = self.fusion_layer(x, cache).split(self.split, -1)
        low, high = self.low_layer(low, cache), self.high_layer(high, cache)
        frames = []
        for name, part in (("image", slice(0, int(fresh))), ("video", slice(int(fresh), None))):
            if low[:, part].shape[1]:
                below = getattr(self, f"{name}_low_proj")(low[:, part])
                above = getattr(self, f"{name}_high_proj")(high[:, part])
                frames.append(from_bands(torch.cat([below, above], 1), temporal=name == "video"))
        return torch.cat(frames, 2)


class Bottleneck(nn.Module):
    """Features to few channels by a matrix, and back by unrolled ISTA (iterative soft thresholding)."""

    def __init__(self, config: LeanConfig) -> None:
        super().__init__()
        width, steps, layers = config.embedding_dim, config.ista_iter_num, config.ista_layer_num
        self.phi = nn.Parameter(torch.randn(config.latent_dim, width) / width**0.5)
        self.Q = nn.Parameter(torch.randn(width, config.latent_dim) / width**0.5)
        self.weights = nn.ParameterList(nn.Parameter(torch.tensor(0.5)) for _ in range(steps))
        self.threshold = nn.ParameterList(nn.Parameter(torch.tensor([0.01])) for _ in range(steps))
        self.forward_l = nn.ModuleList(Mixer(width, layers, residual=False) for _ in range(steps))
        self.backward_l = nn.ModuleList(Mixer(width, layers, residual=False) for _ in range(steps))

    def shrink(self, features: Tensor) -> Tensor:
        """[..., D] to [..., latent]."""
        return features @ self.phi.T

    def expand(self, y: Tensor, cache: ConvCache) -> Tensor:
        """[N, F, H, W, latent] to [N, F, H, W, D]."""
        x = y @ self.Q.T
        steps = zip(self.weights, self.threshold, self.forward_l, self.backward_l, strict=True)
        for weight, threshold, into, back in steps:
            r = x - weight * ((x @ self.phi.T - y) @ self.phi)
            sparse = into(r, cache)
            sparse = torch.sign(sparse) * F.relu(sparse.abs() - threshold)
            x = r + back(sparse, cache)
        return x


class LeanAutoencoder(PublishedNetwork):
    """Encoder, bottleneck, decoder."""

    CONFIG = LeanConfig
    SIGNATURE = "latent_bottleneck.phi"

    spatial, temporal = SPATIAL, TEMPORAL

    def __init__(self, config: LeanConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.latent_bottleneck = Bottleneck(config)
        self.std_layer = nn.Linear(config.embedding_dim, config.latent_dim)  # of the posterior, for training
        name_layers(self)

    def encode_step(self, video: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
        """The next frames [N, 3, T, H, W] to latents [N, C, F, H/8, W/8], the posterior's mean."""
        cache = cache.fork()
        latent = self.latent_bottleneck.shrink(self.encoder(video, cache))
        return latent.permute(0, 4, 1, 2, 3), cache

    def decode_step(self, latent: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
        """The next latents [N, C, F, H, W] to frames [N, 3, T, 8 H, 8 W], not clamped."""
        cache = cache.fork()
        features = self.latent_bottleneck.expand(latent.permute(0, 2, 3, 4, 1), cache)
        return self.decoder(features, cache), cache
