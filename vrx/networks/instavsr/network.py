"""InstaVSR (arXiv 2603.26134): one step of a pruned diffusion network over five frames aligned to the middle one.

Stated by the paper: the window of five, finished frames in it, the alignment by optical flow, one step, pruning.
The layout is that of a documented relative, AdcSR (CVPR 2025): Stable Diffusion's UNet without text, time and VAE
encoder, three quarters as wide, straight into a decoder half as wide.  How the five frames enter is our choice: all
are rearranged to the grid of half the source's sides, and the first convolution takes them.

Legend: B pictures, C channels, h and w sides of the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks.embedded.grid import contrast
from vrx.networks.instavsr.layers import (
    Downsample,
    PlainAttention,
    ResidualBlock,
    SpatialTransformer,
    Upsample,
    conv3,
    group_norm,
    start_plain,
)
from vrx.networks.published import Given, NetworkConfig, PublishedNetwork, Shapes, count_entries

SCALE = 4
CELL = 2  # pixels of the source a side of a position of the UNet, at most
BEFORE, AFTER = 2, 2  # frames of the window on either side of the middle one
INPUTS = 3 * SCALE**2 * BEFORE + 3 * (1 + AFTER)  # planes a pixel of the source
CONTRAST = 3  # further planes of a residual network
GAIN = 4.0  # of differences to the middle frame, which are small
HEAD = 48  # channels of an attention head: SD 2.1's 64, three quarters as wide
UNET_EPSILON, DECODER_EPSILON = 1e-5, 1e-6


@dataclass(frozen=True, kw_only=True)
class InstaVsrConfig(NetworkConfig):
    """Sizes; the defaults are AdcSR's, but for the frames that enter.

    `widths`: of the UNet, from its finest level; `layers`: residual blocks a level on the way down, one more on the
    way up.  `features`: what goes into the decoder.  `decoder_widths`: from the finest level;
    `decoder_layers`: residual blocks a level.  `normalized`: with group norms and attention.  `residual`: what comes
    out is added to the bicubic enlargement of the middle frame.  `cell`: pixels of the source a side of a position.
    """

    widths: tuple[int, ...] = (240, 480, 960, 960)
    layers: int = 2
    decoder_widths: tuple[int, ...] = (64, 128, 256, 256)
    decoder_layers: int = 3
    normalized: bool = True
    residual: bool = False
    cell: int = CELL

    COUNTS: ClassVar[frozenset[str]] = frozenset({"layers", "decoder_layers"})
    LIMITS: ClassVar[Mapping[str, int]] = {"widths": 8192, "decoder_widths": 8192}

    @property
    def features(self) -> int:
        """Channels of the latent: those of the decoder's coarsest level."""
        return self.decoder_widths[-1]

    @property
    def inputs(self) -> int:
        """Planes of a position of the window."""
        return (INPUTS + CONTRAST * self.residual) * self.cell**2

    @property
    def shuffle(self) -> int:
        """How many times the decoder's last convolution enlarges, by a pixel shuffle."""
        return SCALE * self.cell >> (len(self.decoder_widths) - 1)

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> InstaVsrConfig:
        """See `NetworkConfig`; all sizes are read from tensors."""
        down, up = "down_blocks", "decoder.up_blocks"
        levels = range(count_entries(shapes, f"{down}."))
        stages = range(count_entries(shapes, f"{up}."))
        residual = f"decoder.{output_name(True)}.weight" in shapes
        return cls(
            widths=tuple(shapes[f"{down}.{n}.resnets.0.conv1.weight"][0] for n in levels),
            layers=count_entries(shapes, f"{down}.0.resnets."),
            decoder_widths=tuple(shapes[f"{up}.{n}.resnets.0.conv1.weight"][0] for n in reversed(stages)),
            decoder_layers=count_entries(shapes, f"{up}.0.resnets."),
            normalized="conv_norm_out.weight" in shapes,
            residual=residual,
            cell=isqrt(shapes["window_in.weight"][1] // (INPUTS + CONTRAST * residual)),
        )

    def validate(self, tensors: int) -> None:
        """Refuse what no file can mean.  Raises ValueError."""
        super().validate(tensors)
        if not self.widths or not self.decoder_widths or not self.shuffle:
            raise ValueError(f"widths are {self.widths} and {self.decoder_widths}")
        if self.normalized and any(width % HEAD for width in self.widths):
            raise ValueError(f"heads of {HEAD} channels do not share {self.widths}")


PUBLISHED = InstaVsrConfig()
SMALL = InstaVsrConfig(
    widths=(48,), layers=1, decoder_widths=(48,), decoder_layers=1, normalized=False, residual=True, cell=1
)


def output_name(residual: bool) -> str:
    """Name of the last convolution: it tells what it gives."""
    return "conv_residual" if residual else "conv_out"


def enlarge(pictures: Tensor) -> Tensor:
    """Bicubic enlargement of [B, 3, h, w]."""
    return F.interpolate(pictures, scale_factor=SCALE, mode="bicubic")


def differences(past: Tensor, now: Tensor, future: Tensor, base: Tensor) -> tuple[Tensor, Tensor]:
    """What a residual network is given: how the other frames differ from the middle one, and that one's contrast.

    Rearranged as they are, pixels of a position are nearly equal, and a network learns next to nothing from them.
    Of the size of the result, whose `base` the middle frame's enlargement is, and of the source; [B, frames, 3, ...]
    each.
    """
    fine = (past - base[:, None]).mul_(GAIN)
    coarse = (future - now[:, None]).mul_(GAIN)
    return fine, torch.cat([now[:, None], contrast(now)[:, None], coarse], 1)


class Level(nn.Module):
    """Residual blocks of one size, each with a transformer behind it where there is attention."""

    def __init__(self, inputs: list[int], width: int, attention: bool, normalized: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResidualBlock(n, width, UNET_EPSILON, normalized) for n in inputs)
        if attention:
            self.attentions = nn.ModuleList(SpatialTransformer(width, width // HEAD) for _ in inputs)

    def run(self, index: int, x: Tensor) -> Tensor:
        """Block number `index`."""
        x = self.resnets[index](x)
        return self.attentions[index](x) if hasattr(self, "attentions") else x


class DownLevel(Level):
    """A level of the way down; `last` ones do not shrink."""

    def __init__(self, inputs: list[int], width: int, attention: bool, normalized: bool, last: bool) -> None:
        super().__init__(inputs, width, attention, normalized)
        self.downsamplers = nn.ModuleList([] if last else [Downsample(width)])

    def forward(self, x: Tensor) -> list[Tensor]:
        """The results of every layer."""
        found = []
        for index in range(len(self.resnets)):
            x = self.run(index, x)
            found.append(x)
        return found + [layer(x) for layer in self.downsamplers]


class UpLevel(Level):
    """A level of the way up, which takes the way down's results; `last` ones do not enlarge."""

    def __init__(self, inputs: list[int], width: int, attention: bool, normalized: bool, last: bool) -> None:
        super().__init__(inputs, width, attention, normalized)
        self.upsamplers = nn.ModuleList([] if last else [Upsample(width)])

    def forward(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        """`skips`: of all levels; the last ones are taken off."""
        for index in range(len(self.resnets)):
            x = self.run(index, torch.cat([x, skips.pop()], 1))
        for layer in self.upsamplers:
            x = layer(x, skips[-1].shape[-2:])
        return x


class Middle(nn.Module):
    """Two residual blocks with attention between them."""

    def __init__(self, width: int, epsilon: float, attention: nn.Module | None) -> None:
        super().__init__()
        normalized = attention is not None
        self.resnets = nn.ModuleList(ResidualBlock(width, width, epsilon, normalized) for _ in range(2))
        self.attentions = nn.ModuleList([] if attention is None else [attention])

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.resnets[0], *self.attentions, self.resnets[1]):
            x = layer(x)
        return x


class DecoderLevel(nn.Module):
    """Residual blocks and, but for the finest level, twice the size."""

    def __init__(self, inputs: int, width: int, layers: int, normalized: bool, last: bool) -> None:
        super().__init__()
        entering = [inputs, *[width] * (layers - 1)]
        self.resnets = nn.ModuleList(ResidualBlock(n, width, DECODER_EPSILON, normalized) for n in entering)
        self.upsamplers = nn.ModuleList([] if last else [Upsample(width)])

    def forward(self, x: Tensor) -> Tensor:
        for block in self.resnets:
            x = block(x)
        for layer in self.upsamplers:
            x = layer(x, (2 * x.shape[-2], 2 * x.shape[-1]))
        return x


class Decoder(nn.Module):
    """Features [B, C, h / 2, w / 2] to pictures [B, 3, 4 h, 4 w]."""

    def __init__(self, config: InstaVsrConfig) -> None:
        super().__init__()
        widths, width = config.decoder_widths[::-1], config.features
        self.shuffle = config.shuffle
        self.mid_block = Middle(width, DECODER_EPSILON, PlainAttention(width) if config.normalized else None)
        self.up_blocks = nn.ModuleList(
            DecoderLevel(before, after, config.decoder_layers, config.normalized, last=n == len(widths) - 1)
            for n, (before, after) in enumerate(zip((width, *widths), widths, strict=False))
        )
        self.conv_norm_out = group_norm(widths[-1], DECODER_EPSILON, config.normalized)
        self.output = output_name(config.residual)
        self.add_module(self.output, conv3(widths[-1], 3 * self.shuffle**2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid_block(x)
        for block in self.up_blocks:
            x = block(x)
        x = self.get_submodule(self.output)(F.silu(self.conv_norm_out(x)))
        return F.pixel_shuffle(x, self.shuffle) if self.shuffle > 1 else x


class InstaVsr(PublishedNetwork):
    """The whole network; deterministic, one pass a frame.  float16 overflows in the published size: not for it."""

    CONFIG = InstaVsrConfig
    SIGNATURE = "window_in.weight"

    def __init__(self, config: InstaVsrConfig) -> None:
        super().__init__()
        self.config = config
        widths, normalized, coarsest = config.widths, config.normalized, len(config.widths) - 1
        self.window_in = conv3(config.inputs, widths[0])
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        skips = [widths[0]]
        for n, width in enumerate(widths):
            inputs = [skips[-1], *[width] * (config.layers - 1)]
            last = n == coarsest
            self.down_blocks.append(DownLevel(inputs, width, normalized and not last, normalized, last))
            skips += [width] * (config.layers + (not last))
        attention = SpatialTransformer(widths[-1], widths[-1] // HEAD) if normalized else None
        self.mid_block = Middle(widths[-1], UNET_EPSILON, attention)
        before = widths[-1]
        for n, width in reversed(list(enumerate(widths))):
            inputs = [skips.pop() + entering for entering in (before, *[width] * config.layers)]
            self.up_blocks.append(UpLevel(inputs, width, normalized and n < coarsest, normalized, last=n == 0))
            before = width
        self.conv_norm_out = group_norm(widths[0], UNET_EPSILON, normalized)
        self.conv_out = conv3(widths[0], config.features)
        self.decoder = Decoder(config)
        if not normalized:
            start_plain(self)
        if config.residual:
            for parameter in self.decoder.get_submodule(self.decoder.output).parameters():
                nn.init.zeros_(parameter)

    def forward(self, past: Tensor, now: Tensor, future: Tensor) -> Tensor:
        """The middle frame enlarged by 4: [B, 3, 4 h, 4 w] in -1..1, not clamped; even h and w.

        `past` [B, 2, 3, 4 h, 4 w]: the two finished frames before it, oldest first; `now` [B, 3, h, w]; `future`
        [B, 2, 3, h, w]: the two after it.  All in -1..1 and moved to the middle one.
        """
        base = enlarge(now) if self.config.residual else None
        return self.decode(self.latent(past, now, future, base), now, base)

    def latent(self, past: Tensor, now: Tensor, future: Tensor, base: Tensor | None = None) -> Tensor:
        """What goes into the decoder, [B, C, h / 2, w / 2]; `base`: the middle frame enlarged, where it is."""
        fine, coarse = past, torch.cat([now[:, None], future], 1)
        if self.config.residual:
            fine, coarse = differences(past, now, future, enlarge(now) if base is None else base)
        dtype = self.window_in.weight.dtype
        planes = [
            F.pixel_unshuffle(frames.to(dtype).flatten(1, 2), cell)
            for frames, cell in ((fine, SCALE * self.config.cell), (coarse, self.config.cell))
        ]
        x = self.window_in(torch.cat(planes, 1).contiguous(memory_format=torch.channels_last))
        skips = [x]
        for down in self.down_blocks:
            skips += down(skips[-1])
        x = self.mid_block(skips[-1])
        for up in self.up_blocks:
            x = up(x, skips)
        out: Tensor = self.conv_out(F.silu(self.conv_norm_out(x)))
        return out

    def decode(self, latent: Tensor, now: Tensor, base: Tensor | None = None) -> Tensor:
        """A latent to the enlarged frame, in the type of `now`; `base` as in `latent`."""
        picture: Tensor = self.decoder(latent).to(now.dtype)
        return picture + (enlarge(now) if base is None else base) if self.config.residual else picture
