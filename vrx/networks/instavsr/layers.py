"""Layers of Stable Diffusion's UNet and decoder without text and time, under diffusers' names.

Legend: B pictures, C channels, h and w sides of a feature map, N positions.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks import dense_attention

GROUPS = (32, 24, 16, 12, 8, 6, 4, 2, 1)  # the first that divides the width is the count of a group norm
PLAIN_GAINS = {"window_in": 4.0, "conv1": 1.5, "conv_out": 1.5, "conv2": 0.3}  # at the start, by a layer's name


def groups(channels: int) -> int:
    """Groups of a group norm."""
    return next(count for count in GROUPS if channels % count == 0)


def group_norm(channels: int, epsilon: float, normalized: bool = True) -> nn.Module:
    """A group norm, or nothing."""
    return nn.GroupNorm(groups(channels), channels, epsilon) if normalized else nn.Identity()


def conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A 3 x 3 convolution."""
    return nn.Conv2d(inputs, outputs, 3, stride, 1)


def start_plain(network: nn.Module) -> None:
    """Draw the kernels of a network without norms: nothing vanishes on its way, and branches begin small."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d):
            gain = PLAIN_GAINS.get(name.split(".")[-1], 1.0)
            nn.init.normal_(layer.weight, std=gain / layer.weight[0].numel() ** 0.5)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)


class ResidualBlock(nn.Module):
    """Norm, SiLU and convolution, twice, and a skip."""

    def __init__(self, inputs: int, outputs: int, epsilon: float, normalized: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = group_norm(inputs, epsilon, normalized), group_norm(outputs, epsilon, normalized)
        self.conv1, self.conv2 = conv3(inputs, outputs), conv3(outputs, outputs)
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, h, w] to [B, outputs, h, w]."""
        branch = self.conv1(F.silu(self.norm1(x)))
        branch = self.conv2(F.silu(self.norm2(branch)))
        return branch + self.conv_shortcut(x)


class SelfAttention(nn.Module):
    """Attention over tokens [B, N, C]."""

    def __init__(self, channels: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels, bias) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.to_q, self.to_k, self.to_v)
        )
        found: Tensor = self.to_out[0](dense_attention.attend(q, k, v).transpose(1, 2).flatten(2))
        return found


class GatedProjection(nn.Module):
    """A linear layer whose second half gates the first by GELU (Shazeer, 2020)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = nn.Linear(inputs, 2 * outputs)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, -1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """Gated, four times as wide inside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.ModuleList(
            [GatedProjection(channels, 4 * channels), nn.Identity(), nn.Linear(4 * channels, channels)]
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.net:
            x = layer(x)
        return x


class TransformerBlock(nn.Module):
    """Self-attention and feed-forward; the cross-attention between them, with its norm2, is removed."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm3 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attn1 = SelfAttention(channels, heads, bias=False)
        self.ff = FeedForward(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn1(self.norm1(x))
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """A transformer block over the positions of a feature map [B, C, h, w], with a skip."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm = group_norm(channels, 1e-6)
        self.proj_in, self.proj_out = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(channels, heads)])

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.proj_in(self.norm(x).flatten(2).transpose(1, 2))
        for block in self.transformer_blocks:
            tokens = block(tokens)
        return self.proj_out(tokens).transpose(1, 2).unflatten(2, x.shape[-2:]) + x


class PlainAttention(SelfAttention):
    """The decoder's attention over the positions of a feature map [B, C, h, w]: one head, with a skip."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 1, bias=True)
        self.group_norm = group_norm(channels, 1e-6)

    def forward(self, x: Tensor) -> Tensor:
        tokens = super().forward(self.group_norm(x).flatten(2).transpose(1, 2))
        return tokens.transpose(1, 2).unflatten(2, x.shape[-2:]) + x


class Downsample(nn.Module):
    """A convolution of stride 2; an odd side is rounded up."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3(channels, channels, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


class Upsample(nn.Module):
    """Nearest neighbor to a size, and a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3(channels, channels)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        out: Tensor = self.conv(F.interpolate(x, size, mode="nearest"))
        return out
