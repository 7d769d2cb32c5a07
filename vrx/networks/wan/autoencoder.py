"""The Wan 2.1 video autoencoder, streamed (Wan Team, arXiv 2503.20314, section 4.1).

8 x 8 pixels and 4 frames to one latent of 16 channels; the first frame of a scene has a latent of its own.  Every
step may take any number of frames: 1 + 4 k first, then multiples of 4; any number of latent frames.

Legend: B batch, T frames, F latent frames, pixels -1..1, latents normalized.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks import dense_attention, fusion
from vrx.networks.causal_conv import CausalConv3d, ConvCache, join, name_layers
from vrx.networks.constants import constant_like
from vrx.networks.fusion import SHORTEST, as_rows
from vrx.networks.in_parts import frames_at_once
from vrx.networks.published import Given, NetworkConfig, PublishedNetwork, Shapes

MEAN: Sequence[float] = (
    *(-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508),
    *(0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921),
)
DEVIATION: Sequence[float] = (
    *(2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743),
    *(3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160),
)
SPATIAL, TEMPORAL = 8, 4  # pixels and frames of a latent


@dataclass(frozen=True, kw_only=True)
class WanAutoencoderConfig(NetworkConfig):
    """Sizes under their published names; the defaults are those of the release."""

    COUNTS = frozenset(("num_res_blocks",))

    dim: int = 96
    z_dim: int = 16
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    temporal_downsample: tuple[bool, ...] = (False, True, True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dim_mult", tuple(self.dim_mult))
        object.__setattr__(self, "temporal_downsample", tuple(self.temporal_downsample))

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> WanAutoencoderConfig:
        """See `NetworkConfig`."""
        found = {"dim": shapes["encoder.conv1.weight"][0], "z_dim": shapes["conv2.weight"][0]}
        return cls(**{**found, **given})


class ChannelNorm(nn.Module):
    """x / |x| over channels, times sqrt(channels) and a gain."""

    def __init__(self, channels: int, axes: int = 3) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, *(1,) * axes))
        self.fused = False  # see `fuse`

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, ...] to the same; the length is summed in float32."""
        return x * self.inverse_length(x) * (x.shape[1] ** 0.5 * self.gamma)

    def inverse_length(self, x: Tensor) -> Tensor:
        """[B, 1, ...]."""
        length = torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=torch.float32)
        shortest = max(SHORTEST, torch.finfo(x.dtype).tiny)  # so that its inverse is a number, too
        return length.clamp_min(shortest).reciprocal().to(x.dtype)

    def activate(self, x: Tensor, conv: CausalConv3d, cache: ConvCache, bias: Tensor | None = None) -> Tensor:
        """SiLU of the norm of `x` [B, C, T, H, W] + `bias` [C], as the buffer that `conv` takes."""
        if self.fused:
            x = x.contiguous(memory_format=torch.channels_last_3d)
        buffer = conv.buffer(x, cache)
        fresh = buffer[:, :, conv.back :]
        rows, written = as_rows(x), as_rows(fresh)
        if self.fused and rows is not None and written is not None:
            gamma = self.gamma.flatten()
            fusion.normalize(rows, torch.zeros_like(gamma) if bias is None else bias, gamma, written)
            return buffer
        x = x if bias is None else x + bias.view(-1, 1, 1, 1)
        torch.mul(x, self.inverse_length(x), out=fresh)
        F.silu(fresh.mul_(x.shape[1] ** 0.5 * self.gamma), inplace=True)
        return buffer


def fuse_norms(network: nn.Module) -> None:
    """Let every block of a network do in one pass over memory what is between two convolutions.

    For a GPU, where these passes cost as much as the convolutions; sums are then rounded once.
    """
    for module in network.modules():
        if isinstance(module, ChannelNorm):
            module.fused = True


class ResidualBlock(nn.Module):
    """Norm, SiLU, convolution, twice, beside a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.residual = nn.ModuleDict(
            {
                "0": ChannelNorm(inputs),
                "2": CausalConv3d(inputs, outputs, 3),
                "3": ChannelNorm(outputs),
                "6": CausalConv3d(outputs, outputs, 3),
            }
        )
        self.shortcut: nn.Module = nn.Identity() if inputs == outputs else CausalConv3d(inputs, outputs, 1)

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        """[B, C, T, H, W]."""
        enter, leave = (cast(ChannelNorm, self.residual[name]) for name in ("0", "3"))
        first, second = (cast(CausalConv3d, self.residual[name]) for name in ("2", "6"))
        apart = enter.fused  # biases are added in the passes that follow
        y = first.convolve(enter.activate(x, first, cache), cache, None if apart else first.bias)
        buffer = leave.activate(y, second, cache, first.bias if apart else None)
        del y  # or its memory would be taken while the second convolution is at work
        y = second.convolve(buffer, cache, None if apart else second.bias)
        del buffer
        return add_into(y, second.bias if apart else None, self.shortcut(x))


def add_into(y: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    """y + bias + x, written into `y` [B, C, T, H, W]."""
    rows, others = as_rows(y), as_rows(x)
    if bias is None:
        return y.add_(x)
    if rows is None or others is None:
        return y.add_(bias.view(-1, 1, 1, 1)).add_(x)
    fusion.add(rows, bias, others)
    return y


def outputs_of(blocks: Iterable[nn.Module]) -> int:
    """Channels that residual blocks give."""
    last = [block.residual["6"] for block in blocks if isinstance(block, ResidualBlock)]
    return max(cast(CausalConv3d, conv).out_channels for conv in last)


class FrameAttention(nn.Module):
    """Attention of one head among the positions of each frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels, axes=2)
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        """[B, C, T, H, W]."""
        flat = x.transpose(1, 2).flatten(0, 1)
        qkv = self.to_qkv(self.norm(flat)).flatten(2).transpose(1, 2)[:, None]  # [B T, 1, H W, 3C]
        qkv = qkv.contiguous()  # fused attention takes nothing else
        attended = dense_attention.attend(*qkv.chunk(3, -1))
        y = self.proj(attended[:, 0].transpose(1, 2).reshape(flat.shape))
        return x + y.unflatten(0, (x.shape[0], -1)).transpose(1, 2)


def by_frame(layer: nn.Module, x: Tensor) -> Tensor:
    """A 2D layer on every frame of [B, C, T, H, W]."""
    y: Tensor = layer(x.transpose(1, 2).flatten(0, 1))
    return y.unflatten(0, (x.shape[0], -1)).transpose(1, 2)


class Upsample(nn.Upsample):
    """Nearest-exact doubling."""

    def __init__(self) -> None:
        super().__init__(scale_factor=2.0, mode="nearest-exact")


class Shrink(nn.Module):
    """Half the rows and columns, and with `temporal` half the frames; a scene's first frame stays."""

    def __init__(self, channels: int, temporal: bool) -> None:
        super().__init__()
        self.resample = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(channels, channels, 3, stride=2))
        self.time_conv = nn.Conv3d(channels, channels, (3, 1, 1), stride=(2, 1, 1)) if temporal else None
        self.key = ""

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        """[B, C, T, H, W]; T is 1 + 2 k at a scene's start, then even."""
        return self.in_time(self.in_space(x), cache)

    def in_space(self, x: Tensor) -> Tensor:
        """Half the rows and columns of every frame."""
        return by_frame(self.resample, x)

    def in_time(self, x: Tensor, cache: ConvCache) -> Tensor:
        """Half the frames, where they are halved."""
        if self.time_conv is None:
            return x
        before = cache.swap(self.key, x[:, :, -1:].clone())
        if before is not None:
            return cast(Tensor, self.time_conv(join(before, x)))
        first = x[:, :, :1]
        return join(first, self.time_conv(x)) if x.shape[2] > 1 else first


class Grow(nn.Module):
    """Twice the rows and columns in so many channels, and with `temporal` twice the frames but the first."""

    def __init__(self, channels: int, outputs: int, temporal: bool) -> None:
        super().__init__()
        self.resample = nn.Sequential(Upsample(), nn.Conv2d(channels, outputs, 3, padding=1))
        self.time_conv = CausalConv3d(channels, 2 * channels, (3, 1, 1)) if temporal else None
        self.key = ""

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        """[B, C, F, H, W]."""
        return self.in_space(self.in_time(x, cache))

    def in_space(self, x: Tensor) -> Tensor:
        """Twice the rows and columns of every frame."""
        return by_frame(self.resample, x)

    def in_time(self, x: Tensor, cache: ConvCache) -> Tensor:
        """Twice the frames, where they are doubled."""
        if self.time_conv is not None:
            started = cache.swap(self.key, x.new_zeros(0)) is not None
            later = x if started else x[:, :, 1:]
            if later.shape[2]:
                both = self.time_conv(later, cache).unflatten(1, (2, -1))  # [B, 2, C, F, H, W]
                later = both.permute(0, 3, 1, 4, 5, 2).flatten(1, 2).permute(0, 4, 1, 2, 3)  # channels last
            x = later if started else join(x[:, :, :1], later)
        return x


def in_slices(run: Callable[[Tensor], Tensor], x: Tensor, channels: int) -> Tensor:
    """Causal layers on [B, C, T, H, W], a few frames after another where maps of so many channels are large.

    What comes later changes nothing before, and all that earlier frames tell is in the cache.
    """
    parts = [run(part) for part in x.split(frames_at_once(channels * x[:, 0, 0].numel()), 2)]
    return parts[0] if len(parts) == 1 else join(*parts)


class Trunk(nn.Module):
    """What encoder and decoder share: layers in a row, each with the cache, and a head."""

    head: nn.ModuleDict

    def run(self, layers: Iterable[nn.Module], x: Tensor, cache: ConvCache) -> Tensor:
        """Every layer in order."""
        for layer in layers:
            x = layer(x, cache)
        return x

    def finish(self, x: Tensor, cache: ConvCache) -> Tensor:
        """Norm, SiLU, convolution."""
        norm, conv = cast(ChannelNorm, self.head["0"]), cast(CausalConv3d, self.head["2"])
        return conv.convolve(norm.activate(x, conv, cache), cache, conv.bias)

    def middle_of(self, channels: int) -> nn.ModuleList:
        """Two residual blocks around attention."""
        around = ResidualBlock(channels, channels), ResidualBlock(channels, channels)
        return nn.ModuleList([around[0], FrameAttention(channels), around[1]])


class Encoder(Trunk):
    """Pixels to 2 x z_dim channels."""

    def __init__(self, config: WanAutoencoderConfig) -> None:
        super().__init__()
        widths = [config.dim * m for m in (1, *config.dim_mult)]
        self.conv1 = CausalConv3d(3, widths[0], 3)
        layers: list[nn.Module] = []
        for level, (inputs, outputs) in enumerate(pairwise(widths)):
            layers += [ResidualBlock(inputs if i == 0 else outputs, outputs) for i in range(config.num_res_blocks)]
            if level < len(config.temporal_downsample):
                layers.append(Shrink(outputs, config.temporal_downsample[level]))
        self.downsamples = nn.ModuleList(layers)
        self.middle = self.middle_of(widths[-1])
        self.head = nn.ModuleDict({"0": ChannelNorm(widths[-1]), "2": CausalConv3d(widths[-1], 2 * config.z_dim, 3)})

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        """[B, 3, T, H, W] to [B, 2 z_dim, F, H/8, W/8]."""
        layers = [self.conv1, *self.downsamples]
        while layers:
            count = next((i for i, layer in enumerate(layers) if isinstance(layer, Shrink)), len(layers))
            x = self.level(layers[:count], layers[count : count + 1], x, cache)
            layers = layers[count + 1 :]
        x = self.run(self.middle, x, cache)
        return self.finish(x, cache)

    def level(self, blocks: list[nn.Module], shrinks: list[nn.Module], x: Tensor, cache: ConvCache) -> Tensor:
        """The blocks of one size, and what follows them to the next one, if any does."""
        shrink = cast(Shrink, shrinks[0]) if shrinks else None

        def in_space(part: Tensor) -> Tensor:
            part = self.run(blocks, part, cache)
            return part if shrink is None else shrink.in_space(part)

        x = in_slices(in_space, x, outputs_of(blocks))
        return x if shrink is None else shrink.in_time(x, cache)


class Decoder(Trunk):
    """z_dim channels to pixels."""

    def __init__(self, config: WanAutoencoderConfig) -> None:
        super().__init__()
        last = config.dim_mult[-1]
        widths = [config.dim * m for m in (last, *config.dim_mult[::-1])]
        grows = config.temporal_downsample[::-1]
        self.conv1 = CausalConv3d(config.z_dim, widths[0], 3)
        self.middle = self.middle_of(widths[0])
        layers: list[nn.Module] = []
        for level, (inputs, outputs) in enumerate(pairwise(widths)):
            entering = inputs if level == 0 else inputs // 2  # growing halved them
            for i in range(config.num_res_blocks + 1):
                layers.append(ResidualBlock(entering if i == 0 else outputs, outputs))
            if level < len(grows):
                layers.append(Grow(outputs, outputs // 2, grows[level]))
        self.upsamples = nn.ModuleList(layers)
        self.head = nn.ModuleDict({"0": ChannelNorm(widths[-1]), "2": CausalConv3d(widths[-1], 3, 3)})

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        """[B, z_dim, F, H, W] to [B, 3, T, 8 H, 8 W]."""
        x = self.run(self.middle, self.conv1(x, cache), cache)
        return self.level(None, list(self.upsamples), x, cache)

    def level(self, grow: Grow | None, layers: list[nn.Module], x: Tensor, cache: ConvCache) -> Tensor:
        """What `x` is enlarged by, the blocks of that size, and all that follows, to the pixels."""
        count = next((i for i, layer in enumerate(layers) if isinstance(layer, Grow)), len(layers))
        blocks = layers[:count]

        def onward(part: Tensor) -> Tensor:
            part = self.run(blocks, part if grow is None else grow.in_space(part), cache)
            if count == len(layers):
                return self.finish(part, cache)
            following = cast(Grow, layers[count])
            return self.level(following, layers[count + 1 :], following.in_time(part, cache), cache)

        return in_slices(onward, x, outputs_of(blocks) * (1 if grow is None else 4))


class WanAutoencoder(PublishedNetwork):
    """Encoder, decoder and the normalization of latents."""

    CONFIG = WanAutoencoderConfig
    SIGNATURE = "decoder.upsamples.0.residual.2.weight"

    spatial, temporal = SPATIAL, TEMPORAL

    def __init__(
        self, config: WanAutoencoderConfig, mean: Sequence[float] = MEAN, deviation: Sequence[float] = DEVIATION
    ) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.conv1 = CausalConv3d(2 * config.z_dim, 2 * config.z_dim, 1)
        self.conv2 = CausalConv3d(config.z_dim, config.z_dim, 1)
        self._mean, self._deviation = tuple(mean), tuple(deviation)
        name_layers(self)

    def fuse(self) -> None:
        """See `PublishedNetwork` and `fuse_norms`."""
        fuse_norms(self)

    def constants(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of latents, [1, C, 1, 1, 1]."""
        center, spread = (constant_like(part, like).view(1, -1, 1, 1, 1) for part in (self._mean, self._deviation))
        return center, spread

    def moments(self, video: Tensor, cache: ConvCache) -> Tensor:
        """Mean and log variance [B, 2 z_dim, F, H/8, W/8]; the cache moves on in place."""
        out: Tensor = self.conv1(self.encoder(video, cache))
        return out

    def encode_step(self, video: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
        """The next frames of a scene [B, 3, T, H, W] in -1..1 to normalized latents [B, C, F, H/8, W/8]."""
        cache = cache.fork()
        mean = self.moments(video, cache).chunk(2, 1)[0]
        center, spread = self.constants(mean)
        return (mean - center) / spread, cache

    def decode_raw(self, latent: Tensor, cache: ConvCache) -> Tensor:
        """Latents as they are (not normalized) to pixels, not clamped; the cache moves on in place."""
        out: Tensor = self.decoder(self.conv2(latent), cache)
        return out

    def decode_step(self, latent: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
        """The next normalized latents of a scene [B, C, F, H, W] to pixels, about -1..1, not clamped."""
        cache = cache.fork()
        center, spread = self.constants(latent)
        return self.decode_raw(latent * spread + center, cache), cache
