"""FlashVSR's LQ projection: the enlarged source as tokens for the transformer (arXiv 2510.12747, section 3.2).

Legend: N clips, T frames, C channels, H x W pixels; a token covers 4 frames of 16 x 16 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks.causal_conv import ConvCache
from vrx.networks.published import Given, NetworkConfig, PublishedNetwork, Shapes, count_entries
from vrx.networks.wan.autoencoder import ChannelNorm

GROUP = 4  # frames of a token
BACK = 2  # frames either convolution looks back
AT_ONCE = 8  # frames: a scene's first 24 together would take twice the memory
Version = Literal["1.0", "1.1"]


@dataclass(frozen=True, kw_only=True)
class ProjectionConfig(NetworkConfig):
    """Sizes; the defaults are those of LQ_proj_in.ckpt.

    `version`: 1.1 looks back at the group before; 1.0 at the end of its own group, and so remembers nothing.
    The weights do not distinguish them.
    """

    COUNTS = frozenset(("layers",))

    hidden1: int = 2048
    hidden2: int = 3072
    out_dim: int = 1536
    layers: int = 1
    unshuffle: tuple[int, int, int] = (1, 16, 16)
    version: Version = "1.1"

    def __post_init__(self) -> None:
        object.__setattr__(self, "unshuffle", tuple(self.unshuffle))

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> ProjectionConfig:
        """See `NetworkConfig`; the version is 1.1 unless given."""
        found = {
            "hidden1": shapes["conv1.weight"][0],
            "hidden2": shapes["conv2.weight"][0],
            "out_dim": shapes["linear_layers.0.weight"][0],
            "layers": count_entries(shapes, "linear_layers."),
        }
        return cls(**{**found, **given})


def convolve_by_products(conv: nn.Conv3d, x: Tensor) -> Tensor:
    """A convolution without padding of [N, C, T, H, W] as one matrix product for each frame of its output.

    With so many channels a GPU does this faster than any kernel for convolutions that its library picks; a frame
    at a time bounds the memory.
    """
    n, channels = x.shape[:2]
    last = x.permute(0, 2, 3, 4, 1).contiguous()  # [N, T, H, W, C]
    weight = conv.weight.permute(0, 2, 3, 4, 1).flatten(1)  # [out, kT x kH x kW x C]; a view, stored channels last
    frames = []
    for start in range(0, x.shape[2] - conv.kernel_size[0] + 1, conv.stride[0]):
        seen = last[:, start : start + conv.kernel_size[0]]
        places = seen.unfold(2, conv.kernel_size[1], conv.stride[1]).unfold(3, conv.kernel_size[2], conv.stride[2])
        rows, columns = places.shape[2:4]  # [N, kT, H, W, C, kH, kW]
        patches = places.permute(0, 2, 3, 1, 5, 6, 4).reshape(n * rows * columns, -1, channels).flatten(1)
        frames.append(F.linear(patches, weight, conv.bias).view(n, rows, columns, -1))
    return torch.stack(frames, 1).permute(0, 4, 1, 2, 3)


class LqProjection(PublishedNetwork):
    """Two strided convolutions in time, and a linear layer for each block that is fed."""

    CONFIG = ProjectionConfig
    SIGNATURE = "linear_layers.0.weight"

    def __init__(self, config: ProjectionConfig) -> None:
        super().__init__()
        self.config = config
        frames, rows, columns = config.unshuffle
        kernel, stride = (GROUP, 3, 3), (2, 1, 1)
        self.conv1 = nn.Conv3d(3 * frames * rows * columns, config.hidden1, kernel, stride)
        self.norm1 = ChannelNorm(config.hidden1)
        self.conv2 = nn.Conv3d(config.hidden1, config.hidden2, kernel, stride)
        self.norm2 = ChannelNorm(config.hidden2)
        self.linear_layers = nn.ModuleList(nn.Linear(config.hidden2, config.out_dim) for _ in range(config.layers))

    def fold(self, video: Tensor) -> Tensor:
        """[N, 3, T, H, W] to [N, 3 x 256, T, H/16, W/16], channel order color, row, column."""
        _, rows, columns = self.config.unshuffle
        n, c, t, h, w = video.shape
        x = video.view(n, c, t, h // rows, rows, w // columns, columns)
        return x.permute(0, 1, 4, 6, 2, 3, 5).reshape(n, -1, t, h // rows, w // columns)

    def convolve(self, name: str, x: Tensor, front: Tensor) -> Tensor:
        """One convolution after `front`, its norm and SiLU."""
        x = F.pad(torch.cat([front, x], 2), (1, 1, 1, 1, 0, 0), mode="replicate")
        conv = getattr(self, f"conv{name}")
        y = convolve_by_products(conv, x) if x.is_cuda else conv(x)
        return F.silu(getattr(self, f"norm{name}")(y))

    def step(self, video: Tensor, cache: ConvCache) -> tuple[list[Tensor], ConvCache]:
        """The next frames [N, 3, T, H, W] in -1..1 to tokens [N, T/4 x rows x columns, out] for each linear.

        T is 1 + 4 k at a scene's start, whose first frame gives no token, then 4 k.
        """
        cache = cache.fork()
        if "conv1" not in cache.store:
            still = self.fold(video[:, :, :1])
            first = still.repeat(1, 1, GROUP, 1, 1)
            cache.store["conv1"] = first[:, :, :BACK]
            cache.store["conv2"] = self.convolve("1", first, cache.store["conv1"])
            video = video[:, :, 1:]
        if video.shape[2] == 0:
            return [video.new_zeros(video.shape[0], 0, self.config.out_dim) for _ in self.linear_layers], cache
        if video.shape[2] % GROUP:
            raise ValueError(f"{video.shape[2]} frames do not divide into groups of {GROUP}")
        parts = [self.tokens(part, cache) for part in video.split(AT_ONCE, 2)]
        return [torch.cat(layer, 1) for layer in zip(*parts, strict=True)], cache

    def tokens(self, video: Tensor, cache: ConvCache) -> list[Tensor]:
        """See `step`, of whole groups after the first frame; the cache moves on in place."""
        x = self.fold(video)
        y = self.convolve_causally(x, cache) if self.config.version == "1.1" else self.convolve_groups(x)
        tokens = y.permute(0, 2, 3, 4, 1).flatten(1, 3)
        return [layer(tokens) for layer in self.linear_layers]

    def convolve_causally(self, x: Tensor, cache: ConvCache) -> Tensor:
        """Every group after the one before it, across steps."""
        front = cache.store["conv1"]
        cache.store["conv1"] = x[:, :, -BACK:].clone()
        y = self.convolve("1", x, front)
        front = cache.store["conv2"]
        cache.store["conv2"] = y[:, :, -BACK:].clone()
        return self.convolve("2", y, front)

    def convolve_groups(self, x: Tensor) -> Tensor:
        """Every group after its own last frames, as the first release was trained."""
        n = x.shape[0]
        groups = x.unflatten(2, (-1, GROUP)).transpose(1, 2).flatten(0, 1)
        y = self.convolve("1", groups, groups[:, :, -BACK:])
        y = self.convolve("2", y, y[:, :, -BACK:])
        return y.unflatten(0, (n, -1)).transpose(1, 2).flatten(2, 3)
