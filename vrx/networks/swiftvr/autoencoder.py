"""SwiftVR's light video autoencoder (ReAE), of the TAEHV kind: 16 pixels a side and 4 frames to a latent.

Every four frames give a latent, a scene's first four no less.  Pixels in 0..1; latents are the transformer's own.
The first and the last convolution stay in float32: bfloat16 has no more levels between black and white than 8 bits.

Legend: N clips, T frames, F latents, C channels; tensors are [N, T, C, H, W].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks.causal_conv import ConvCache, name_layers
from vrx.networks.overflow import clamp_to_unit
from vrx.networks.published import Given, NetworkConfig, PublishedNetwork, Shapes
from vrx.networks.taehv import Grow, Growth, decoder_layers, encoder_layers, flat, run, split_frames, trim

SPATIAL, TEMPORAL = 16, 4  # pixels and frames of a latent
PATCH = 2  # pixels that are channels inside
HALVES, DOUBLES = (True, True, False), (False, True, True)  # in time, stage by stage
LEAD = TEMPORAL - 1  # frames of a scene's first latent that are before its first frame


@dataclass(frozen=True, kw_only=True)
class ReaeConfig(NetworkConfig):
    """Sizes; the defaults are those of reae.safetensors."""

    latent_channels: int = 48
    encoder_width: int = 64
    decoder_widths: tuple[int, ...] = (512, 256, 128, 64)

    def __post_init__(self) -> None:
        object.__setattr__(self, "decoder_widths", tuple(self.decoder_widths))

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> ReaeConfig:
        """See `NetworkConfig`."""
        found = {
            "latent_channels": shapes["decoder.1.weight"][1],
            "encoder_width": shapes["encoder.0.weight"][0],
            "decoder_widths": tuple(shapes[f"decoder.{place}.weight"][0] for place in (1, 8, 14, 20)),
        }
        return cls(**{**found, **given})


class Project(Growth):
    """The growth of a stage that makes no frames: a 1 x 1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, C, H, W] to the same."""
        return flat(self.proj, x)


class Double(Growth):
    """Two copies of a frame under a convolution of three frames, zeros before and after: two 1 x 1 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(channels, channels, (3, 1, 1), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, C, H, W] to [N, 2 T, C, H, W]."""
        before, here, after = self.conv3d.weight[..., 0, 0].float().unbind(-1)
        kernel = torch.cat([here + after, before + here]).to(x.dtype)[..., None, None]
        return split_frames(F.conv2d(x.flatten(0, 1), kernel).unflatten(0, x.shape[:2]), 2)


def light_decoder(config: ReaeConfig) -> nn.Sequential:
    """Latents to folded pixels: TAEHV's layers but for those that grow in time."""
    layers = decoder_layers(config.latent_channels, config.decoder_widths, DOUBLES, 3 * PATCH**2)
    for place, layer in enumerate(layers):
        if isinstance(layer, Grow):
            width = layer.conv.in_channels
            layers[place] = Double(width) if layer.frames > 1 else Project(width)
    return layers


def light_encoder(config: ReaeConfig) -> nn.Sequential:
    """Folded pixels to latents; FastVR's autoencoder begins with the same layers."""
    return encoder_layers(3 * PATCH**2, config.encoder_width, HALVES, config.latent_channels)


def encode_light(encoder: nn.Sequential, video: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
    """The next frames [N, T, 3, H, W] in 0..1 to latents [N, F, C, H/16, W/16], as many as are complete.

    A latent at a time: its widest maps have a quarter of the picture's pixels and 64 channels.
    """
    cache = cache.fork()
    latents = []
    for frames in video.split(TEMPORAL, 1):
        first = flat(encoder[0], F.pixel_unshuffle(frames.float(), PATCH)).to(dtype_of(encoder))
        latents.append(run(nn.Sequential(*list(encoder)[1:]), first, cache))
    return torch.cat([part for part in latents if part.shape[1]] or latents[:1], 1), cache


def dtype_of(layers: nn.Sequential) -> torch.dtype:
    """The type of the layers between the first and the last one."""
    return next(parameter.dtype for parameter in nn.Sequential(*list(layers)[2:-1]).parameters())


class Reae(PublishedNetwork):
    """SwiftVR's autoencoder; see the module."""

    CONFIG = ReaeConfig
    SIGNATURE = "decoder.13.conv3d.weight"

    spatial, temporal = SPATIAL, TEMPORAL

    def __init__(self, config: ReaeConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = light_encoder(config)
        self.decoder = light_decoder(config)
        name_layers(self)

    def place(self, device: torch.device, dtype: torch.dtype) -> None:
        """See `PublishedNetwork`; the layers at pixels stay in float32."""
        super().place(device, dtype)
        for layer in (self.encoder[0], self.decoder[-1]):
            layer.float()

    def encode_step(self, video: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
        """The next frames [N, T, 3, H, W] in 0..1 to as many latents as are complete, perhaps none."""
        return encode_light(self.encoder, video, cache)

    def decode_raw(self, latent: Tensor, cache: ConvCache) -> Tensor:
        """Latents to folded pixels [N, 4 F, 12, H, W], not clamped, none dropped; the cache moves on in place.

        A latent at a time: its widest maps have a quarter of the picture's pixels and 128 channels.
        """
        body = nn.Sequential(*list(self.decoder)[:-1])
        parts = [run(body, part, cache) for part in latent.to(dtype_of(self.decoder)).split(1, 1)]
        return torch.cat([flat(self.decoder[-1], part.float()) for part in parts], 1)

    def decode_step(self, latent: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
        """The next latents [N, F, C, H, W] to frames in 0..1, float32: 4 each, but 1 for a scene's first."""
        cache, (n, count, _, h, w) = cache.fork(), latent.shape
        size = (n, count * TEMPORAL, 3, h * SPATIAL, w * SPATIAL)
        frames = torch.empty(size, device=latent.device)
        for place, part in enumerate(latent.split(1, 1)):
            folded = clamp_to_unit(self.decode_raw(part, cache))
            frames[:, place * TEMPORAL : (place + 1) * TEMPORAL] = F.pixel_shuffle(folded, PATCH)
        return trim(frames, cache, LEAD), cache
