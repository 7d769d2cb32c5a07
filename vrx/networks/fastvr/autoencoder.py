"""FastVR's light autoencoder: SwiftVR's encoder, and a decoder that sees the enlarged source at every size.

Pixels go in in 0..1 and come out in -1..1; latents are the transformer's own, 16 pixels a side and 4 frames.  A latent
is decoded with the four source frames that it holds, a scene's first with its first frame four times.

Legend: N clips, T frames, F latents, C channels; tensors are [N, T, C, H, W].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks.causal_conv import ConvCache, name_layers
from vrx.networks.fastvr.luma import WIDTHS, LumaHead
from vrx.networks.published import Given, NetworkConfig, PublishedNetwork, Shapes
from vrx.networks.swiftvr.autoencoder import LEAD, PATCH, SPATIAL, TEMPORAL, ReaeConfig, encode_light, light_encoder
from vrx.networks.taehv import MEMORY_BLOCKS, Grow, flat, trim

REACH = 2  # latents that the convolution of the aligned branch looks back
WAITING = "waiting"  # source frames of the next latent


@dataclass(frozen=True, kw_only=True)
class FastVaeConfig(NetworkConfig):
    """Sizes; the defaults are those of vae.safetensors."""

    latent_channels: int = 48
    encoder_width: int = 64
    decoder_widths: tuple[int, ...] = (1024, 512, 256, 128)
    luma_width: int = 4

    def __post_init__(self) -> None:
        object.__setattr__(self, "decoder_widths", tuple(self.decoder_widths))

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> FastVaeConfig:
        """See `NetworkConfig`."""
        layers = "decoder.tc.decoder"
        found = {
            "latent_channels": shapes[f"{layers}.0.conv_pre.weight"][1],
            "encoder_width": shapes["encoder.0.weight"][0],
            "decoder_widths": (
                shapes[f"{layers}.0.conv_pre.weight"][0],
                *(shapes[f"{layers}.{place}.conv.weight"][1] for place in (7, 14, 21)),
            ),
            "luma_width": shapes["decoder.output_head.inconv1.double_conv.0.weight"][0] // WIDTHS[0],
        }
        return cls(**{**found, **given})


class Block(nn.Module):
    """A frame and the one before it through a wide depthwise convolution and a feed-forward, beside a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(2 * width, 2 * width, 7, padding=3, groups=2 * width, bias=False),
            nn.Conv2d(2 * width, 4 * width, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(4 * width, width, 1, bias=False),
        )
        self.key = ""

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        """[N, T, C, H, W]; zeros before a scene's first frame."""
        before = cache.swap(self.key, x[:, -1:].clone())
        first = torch.zeros_like(x[:, :1]) if before is None else before
        both = torch.cat([x, torch.cat([first, x[:, :-1]], 1)], 2)
        return flat(self.conv, both) + x


class Conditioned(nn.Module):
    """A convolution over a map, and one over the folded source beside it."""

    def __init__(self, inputs: int, beside: int, outputs: int, kernel: int) -> None:
        super().__init__()
        bias, padding = kernel > 1, kernel // 2
        self.conv_pre = nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=bias)
        self.conv_new = nn.Conv2d(beside, outputs, kernel, padding=padding, bias=False)

    def forward(self, x: Tensor, beside: Tensor) -> Tensor:
        """[N, T, C, H, W] and [N, T, D, H, W]."""
        return flat(self.conv_pre, x) + flat(self.conv_new, beside)


def fold(frames: Tensor, count: int, side: int) -> Tensor:
    """[N, T, 3, H, W] to [N, T / count, 3 x count x side x side, H / side, W / side]: color, frame, row, column."""
    n, t, c, h, w = frames.shape
    x = frames.view(n, t // count, count, c, h // side, side, w // side, side)
    return x.permute(0, 1, 3, 2, 5, 7, 4, 6).reshape(n, t // count, -1, h // side, w // side)


class ChannelNorm(nn.Module):
    """Channels of [N, C, T, H, W] to the length sqrt(C), times gamma."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return F.normalize(x, dim=1) * x.shape[1] ** 0.5 * self.gamma


class CausalConv(nn.Module):
    """A 3 x 3 x 3 convolution that looks back; zeros before a scene's first latent."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(width, width, 3, padding=(0, 1, 1))
        self.key = ""

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        """[N, C, F, H, W] to the same."""
        before = cache.store.get(self.key)
        if before is None:
            before = x.new_zeros(*x.shape[:2], REACH, *x.shape[3:])
        joined = torch.cat([before, x], 2)
        cache.store[self.key] = joined[:, :, -REACH:].clone()
        out: Tensor = self.conv(joined)
        return out


class Layers(nn.Module):
    """The decoder's layers, under their published names: see `PLACES` of the condition in `forward`."""

    def __init__(self, config: FastVaeConfig) -> None:
        super().__init__()
        a, b, c, d = config.decoder_widths
        folded = 3 * TEMPORAL * SPATIAL**2
        layers: list[nn.Module] = [Conditioned(config.latent_channels, folded + a, a, 1)]
        for width, after, frames, beside in ((a, b, 1, 0), (b, c, 2, 768), (c, d, 2, 96)):
            layers += [Block(width) for _ in range(MEMORY_BLOCKS)]
            wide = Conditioned(width, beside, 4 * after, 3) if beside else nn.Conv2d(width, 4 * after, 3, padding=1)
            layers += [wide, nn.ReLU(inplace=True), nn.PixelShuffle(2), Grow(after, frames)]
        layers.append(Conditioned(d, 3 * PATCH**2, 3 * PATCH**2, 3))
        self.decoder = nn.Sequential(*layers)

    def forward(self, latent: Tensor, aligned: Tensor, source: Tensor, cache: ConvCache) -> Tensor:
        """One latent [N, 1, C, H, W], its aligned branch, its source frames [N, 4, 3, 16 H, 16 W]: folded frames."""
        sides = iter(((TEMPORAL, SPATIAL), (TEMPORAL, 8), (2, 4), (1, PATCH)))
        x = latent
        for layer in self.decoder:
            if isinstance(layer, Conditioned):
                count, side = next(sides)
                beside = fold(source, count, side)
                x = layer(x, torch.cat([beside, aligned], 2) if side == SPATIAL else beside)
            elif isinstance(layer, Block):
                x = layer(x, cache)
            elif isinstance(layer, Grow):
                x = layer(x)
            else:
                x = flat(layer, x)
        return x


class Decoder(nn.Module):
    """Latents and source frames to pixels."""

    def __init__(self, config: FastVaeConfig) -> None:
        super().__init__()
        width = config.decoder_widths[0]
        self.align = nn.Sequential(
            ChannelNorm(config.latent_channels),
            nn.Conv3d(config.latent_channels, width, 1),
            nn.SiLU(),
            CausalConv(width),
        )
        self.align_skip = nn.Conv3d(config.latent_channels, width, 1)
        self.tc = Layers(config)
        self.output_head = LumaHead(config.luma_width)

    def aligned(self, latent: Tensor, cache: ConvCache) -> Tensor:
        """The branch of latents [N, F, C, H, W] that looks back, [N, F, D, H, W]."""
        z = latent.transpose(1, 2)
        x = z
        for layer in self.align:
            x = layer(x, cache) if isinstance(layer, CausalConv) else layer(x)
        return (x + self.align_skip(z)).transpose(1, 2)

    def raw(self, latent: Tensor, source: Tensor, cache: ConvCache) -> Tensor:
        """One latent [N, 1, C, H, W] with its 4 source frames to 4 frames, about -1..1, before the luma head."""
        aligned = self.aligned(latent, cache)
        folded = self.tc(latent, aligned, source, cache)
        return F.pixel_shuffle(folded.float(), PATCH)


class FastVae(PublishedNetwork):
    """FastVR's autoencoder; see the module."""

    CONFIG = FastVaeConfig
    SIGNATURE = "decoder.tc.decoder.0.conv_new.weight"

    spatial, temporal = SPATIAL, TEMPORAL

    def __init__(self, config: FastVaeConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = light_encoder(
            ReaeConfig(latent_channels=config.latent_channels, encoder_width=config.encoder_width)
        )
        self.decoder = Decoder(config)
        name_layers(self)

    def place(self, device: torch.device, dtype: torch.dtype) -> None:
        """See `PublishedNetwork`; the layer that takes pixels and the luma head stay in float32."""
        super().place(device, dtype)
        self.encoder[0].float()
        self.decoder.output_head.float()

    def encode_step(self, video: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
        """The next frames [N, T, 3, H, W] in 0..1 to as many latents as are complete, perhaps none."""
        return encode_light(self.encoder, video, cache)

    def decode_step(self, latent: Tensor, source: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
        """The next latents [N, F, C, H, W] and the next source frames [N, T, 3, 16 H, 16 W] in 0..1 to frames.

        Source frames that later latents hold wait; there must be enough for these.  Frames [N, T, 3, 16 H, 16 W] in
        -1..1, float32: 4 a latent, but 1 for a scene's first.
        """
        cache, dtype = cache.fork(), self.decoder.align_skip.weight.dtype
        waiting = cache.store.get(WAITING)
        source = torch.cat([source[:, :1].expand(-1, LEAD, -1, -1, -1) if waiting is None else waiting, source], 1)
        used = TEMPORAL * latent.shape[1]
        cache.store[WAITING] = source[:, used:].clone()
        frames = torch.empty_like(source[:, :used], dtype=torch.float32)
        parts = latent.to(dtype).split(1, 1), source[:, :used].split(TEMPORAL, 1), frames.split(TEMPORAL, 1)
        for part, beside, out in zip(*parts, strict=True):
            raw = self.decoder.raw(part, (beside * 2 - 1).to(dtype), cache)
            for place, picture in enumerate(raw.unbind(1)):  # its maps have the size of the picture
                out[:, place] = self.decoder.output_head(picture)
        return trim(frames, cache, LEAD), cache
