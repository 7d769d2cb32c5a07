"""Tiny video autoencoders of the TAEHV kind, streamed: TAEHV itself, and FlashVSR's conditional decoder.

Wan's latents to pixels at a hundredth of its own decoder's cost (TAEHV: Boer Bohan, 2025; conditional
decoder: FlashVSR, arXiv 2510.12747, section 3.4).  Layers are in flat sequences under published names.
Steps take any number of frames or latents.

Legend: N clips, T frames, C channels; tensors are [N, T, C, H, W].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks.causal_conv import ConvCache, name_layers
from vrx.networks.in_parts import frames_at_once
from vrx.networks.overflow import clamp_to_unit, overflow_mark
from vrx.networks.published import Given, NetworkConfig, PublishedNetwork, Shapes

SPATIAL, TEMPORAL = 8, 4  # pixels and frames of a latent
MEMORY_BLOCKS = 3  # in every stage
LIMIT = 3.0  # latents enter as 3 tanh(x / 3)
STARTED = "started"
LARGE = 8192  # numbers of the largest map that layers with memory have, for a position of a latent


@dataclass(frozen=True, kw_only=True)
class TinyConfig(NetworkConfig):
    """Sizes under their published names; the defaults are those of taew2_1."""

    latent_channels: int = 16
    patch_size: int = 1
    encoder_time_downscale: tuple[bool, ...] = (True, True, False)
    decoder_time_upscale: tuple[bool, ...] = (False, True, True)
    frames_to_trim: int = 3
    encoder_width: int = 64
    decoder_widths: tuple[int, ...] = (256, 128, 64, 64)

    def __post_init__(self) -> None:
        for name in ("encoder_time_downscale", "decoder_time_upscale", "decoder_widths"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> TinyConfig:
        """See `NetworkConfig`."""
        found = {
            "latent_channels": shapes["decoder.1.weight"][1],
            "encoder_width": shapes["encoder.0.weight"][0],
            "decoder_widths": tuple(shapes[f"decoder.{place}.weight"][0] for place in (1, 8, 14, 20)),
        }
        return cls(**{**found, **given})


@dataclass(frozen=True, kw_only=True)
class ConditionalConfig(NetworkConfig):
    """Sizes of the conditional decoder; the defaults are those of TCDecoder.ckpt."""

    channels: tuple[int, ...] = (512, 256, 128, 128)
    latent_channels: int = 784
    condition_unshuffle: tuple[int, int, int] = (4, 8, 8)

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        object.__setattr__(self, "condition_unshuffle", tuple(self.condition_unshuffle))

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> ConditionalConfig:
        """See `NetworkConfig`."""
        found = {
            "channels": tuple(shapes[f"decoder.{place}.weight"][0] for place in (1, 10, 16, 22)),
            "latent_channels": shapes["decoder.1.weight"][1],
        }
        return cls(**{**found, **given})


def flat(layer: nn.Module, x: Tensor) -> Tensor:
    """A 2D layer on every frame of [N, T, C, H, W]."""
    y: Tensor = layer(x.flatten(0, 1))
    return y.unflatten(0, x.shape[:2])


class MemoryBlock(nn.Module):
    """Three convolutions over a frame and the one before it, beside a skip."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(2 * inputs, outputs, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1),
        )
        self.skip: nn.Module = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, bias=False)
        self.key = ""

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        """[N, T, C, H, W]; zeros before a scene's first frame."""
        before = cache.swap(self.key, x[:, -1:].clone())
        n, t, c, h, w = x.shape
        last = x.new_empty(n, t, h, w, 2 * c)  # channels last, which concatenation along T or C would lose
        both = last.permute(0, 1, 4, 2, 3)
        both[:, :, :c] = x
        both[:, 1:, c:] = x[:, :-1]
        both[:, :1, c:] = 0 if before is None else before
        return F.relu(flat(self.conv, both).add_(flat(self.skip, x)), inplace=True)


class Pool(nn.Module):
    """A 1 x 1 convolution over groups of frames; what does not fill a group waits for the next step."""

    def __init__(self, channels: int, group: int) -> None:
        super().__init__()
        self.group = group
        self.conv = nn.Conv2d(group * channels, channels, 1, bias=False)
        self.key = ""

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        """[N, T, C, H, W] to as many groups as are full, perhaps none."""
        waiting = cache.store.get(self.key)
        x = x if waiting is None else torch.cat([waiting, x], 1)
        whole = x.shape[1] // self.group * self.group
        cache.store[self.key] = x[:, whole:].clone()
        groups = x[:, :whole].unflatten(1, (-1, self.group)).flatten(2, 3)
        return flat(self.conv, groups) if whole else x[:, :0]


class Growth(nn.Module):
    """Base of layers that make more frames of one and mix no positions."""


class Grow(Growth):
    """A 1 x 1 convolution whose channels are cut into frames."""

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.conv = nn.Conv2d(channels, frames * channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, C, H, W] to [N, T x frames, C, H, W]."""
        return split_frames(flat(self.conv, x), self.frames)


def split_frames(x: Tensor, frames: int) -> Tensor:
    """[N, T, frames x C, H, W] to [N, T x frames, C, H, W], frame after frame."""
    if frames == 1:
        return x
    rows = x.unflatten(2, (frames, -1)).permute(0, 1, 2, 4, 5, 3)  # flattened channels last
    return rows.flatten(1, 2).permute(0, 1, 4, 2, 3)


class Limit(nn.Module):
    """3 tanh(x / 3)."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return torch.tanh(x / LIMIT) * LIMIT + overflow_mark(x)


def grown_first(layers: nn.Sequential) -> list[nn.Module]:
    """The layers with each growth in time before the enlargement it follows.

    A 1 x 1 convolution and nearest enlargement can change places: a quarter of the work and of the memory,
    for the same values.
    """
    order = list(layers)
    for place, (layer, after) in enumerate(pairwise(layers)):
        if isinstance(layer, nn.Upsample) and isinstance(after, Growth):
            order[place : place + 2] = after, layer
    return order


def run(layers: nn.Sequential, x: Tensor, cache: ConvCache) -> Tensor:
    """The layers in order; stops where no frame is left.

    Those after the last one with a memory mix no frames.  Their maps are the largest of a decoder, so they take a few
    frames at a time.
    """
    order = grown_first(layers)
    remembers = [isinstance(layer, MemoryBlock | Pool) for layer in order]
    tail = len(order) - remembers[::-1].index(True) if any(remembers) else 0
    tail += tail < len(order) and isinstance(order[tail], Growth)  # makes the frames that are then divided
    x = run_all(order[:tail], x, cache)
    if x.shape[1] == 0:
        return x
    count = frames_at_once(4 * x[:, 0].numel())  # at twice the sides
    return torch.cat([run_all(order[tail:], part, cache) for part in x.split(count, 1)], 1)


def run_all(layers: Sequence[nn.Module], x: Tensor, cache: ConvCache) -> Tensor:
    """Layers in order, all frames at once; stops where no frame is left."""
    for layer in layers:
        if x.shape[1] == 0:
            break
        if isinstance(layer, MemoryBlock | Pool):
            x = layer(x, cache)
        elif isinstance(layer, Growth | Limit):
            x = layer(x)
        else:
            x = flat(layer, x)
    return x


def narrow(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A 3 x 3 convolution without bias."""
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


def encoder_layers(inputs: int, width: int, halves: Sequence[bool], outputs: int) -> nn.Sequential:
    """Pixels to latents; `halves`: whether a stage pools two frames."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(inplace=True)]
    for pools in halves:
        layers += [Pool(width, 2 if pools else 1), narrow(width, width, stride=2)]
        layers += [MemoryBlock(width, width) for _ in range(MEMORY_BLOCKS)]
    return nn.Sequential(*layers, nn.Conv2d(width, outputs, 3, padding=1))


def decoder_layers(
    inputs: int, widths: Sequence[int], doubles: Sequence[bool], outputs: int, deep: bool = False
) -> nn.Sequential:
    """Latents to pixels; `deep` puts one more convolution after each outer activation."""

    def activation(width: int) -> list[nn.Module]:
        relu = nn.ReLU(inplace=True)
        return [relu, narrow(width, width), nn.ReLU(inplace=True)] if deep else [relu]

    layers: list[nn.Module] = [Limit(), nn.Conv2d(inputs, widths[0], 3, padding=1), *activation(widths[0])]
    for stage, twice in enumerate(doubles):
        width = widths[stage]
        layers += [MemoryBlock(width, width) for _ in range(MEMORY_BLOCKS)]
        layers += [nn.Upsample(scale_factor=2), Grow(width, 2 if twice else 1), narrow(width, widths[stage + 1])]
    return nn.Sequential(*layers, *activation(widths[-1]), nn.Conv2d(widths[-1], outputs, 3, padding=1))


def trim(frames: Tensor, cache: ConvCache, count: int) -> Tensor:
    """Without the first `count` frames of a scene, which are before its first one."""
    fresh = cache.swap(STARTED, frames.new_zeros(0)) is None
    return frames[:, count:] if fresh else frames


class TinyAutoencoder(PublishedNetwork):
    """TAEHV: pixels in 0..1, latents as the transformer's own (normalized)."""

    CONFIG = TinyConfig
    SIGNATURE = "decoder.7.conv.weight"

    spatial, temporal = SPATIAL, TEMPORAL

    def __init__(self, config: TinyConfig) -> None:
        super().__init__()
        self.config = config
        pixels = 3 * config.patch_size**2
        latents, halves = config.latent_channels, config.encoder_time_downscale
        self.encoder = encoder_layers(pixels, config.encoder_width, halves, latents)
        self.decoder = decoder_layers(latents, config.decoder_widths, config.decoder_time_upscale, pixels)
        name_layers(self)

    def encode_step(self, video: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
        """The next frames [N, T, 3, H, W] in 0..1 to as many latents as are complete, perhaps none."""
        cache = cache.fork()
        if self.config.patch_size > 1:
            video = F.pixel_unshuffle(video, self.config.patch_size)
        return run(self.encoder, video, cache), cache

    def encode(self, video: Tensor) -> Tensor:
        """A whole clip; its last frame is repeated until the count divides."""
        return self.encode_step(whole_groups(video, TEMPORAL), ConvCache())[0]

    def decode_raw(self, latent: Tensor, cache: ConvCache) -> Tensor:
        """Latents to all frames, not clamped, none dropped; the cache moves on in place."""
        frames = run(self.decoder, latent, cache)
        return F.pixel_shuffle(frames, self.config.patch_size) if self.config.patch_size > 1 else frames

    def decode_step(self, latent: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
        """The next latents [N, F, C, H, W] to frames in 0..1: 4 each, but 1 for a scene's first."""
        cache = cache.fork()
        frames = self.decode_raw(latent, cache)
        return clamp_to_unit(trim(frames, cache, self.config.frames_to_trim)), cache


def whole_groups(video: Tensor, group: int) -> Tensor:
    """[N, T, ...] with its last frame repeated until T divides by `group`."""
    missing = -video.shape[1] % group
    return torch.cat([video, *[video[:, -1:]] * missing], 1) if missing else video


class ConditionalDecoder(PublishedNetwork):
    """Latents and the enlarged source to pixels; what it restores it need not invent."""

    CONFIG = ConditionalConfig
    SIGNATURE = "decoder.26.bias"

    spatial, temporal = SPATIAL, TEMPORAL

    def __init__(self, config: ConditionalConfig) -> None:
        super().__init__()
        self.config = config
        self.decoder = decoder_layers(config.latent_channels, config.channels, (False, True, True), 3, deep=True)
        name_layers(self)

    def fold(self, condition: Tensor) -> Tensor:
        """Frames [N, 3, T, H, W] to [N, T/4, 3 x 4 x 64, H/8, W/8], channel order color, frame, row, column."""
        frames, rows, columns = self.config.condition_unshuffle
        n, c, t, h, w = condition.shape
        x = condition.view(n, c, t // frames, frames, h // rows, rows, w // columns, columns)
        return x.permute(0, 2, 1, 3, 5, 7, 4, 6).reshape(n, t // frames, -1, h // rows, w // columns)

    def decode_step(self, latent: Tensor, condition: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
        """The next latents [N, F, C, H, W] and their source frames [N, 3, T, 8 H, 8 W] in -1..1.

        T is 4 F - 3 at a scene's start, then 4 F.  Frames [N, T, 3, 8 H, 8 W], about 0..1, not clamped.
        """
        cache = cache.fork()
        missing = -condition.shape[2] % self.config.condition_unshuffle[0]
        condition = torch.cat([condition[:, :, :1]] * missing + [condition], 2)
        x = torch.cat([self.fold(condition), latent], 2)
        # a scene's first six at once would take three times the memory of all later steps, in maps of more than
        # 2^31 values from 1080p on
        count = min(2, frames_at_once(LARGE * x[:, 0, 0].numel()))
        frames = torch.cat([run(self.decoder, part, cache) for part in x.split(count, 1)], 1)
        return trim(frames, cache, TEMPORAL - 1), cache
