"""RAFT (Teed and Deng, 2020), large: dense optical flow, under the names of torchvision's checkpoint.

Features an eighth of the size; the products of all pairs of them, pooled to a pyramid; a recurrent unit that looks
up its surroundings there and moves the flow, twelve times.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks.published import Given, NetworkConfig, PublishedNetwork, Shapes

STRIDE = 8  # pixels a side of a feature
LEVELS = 4  # of the pyramid
RADIUS = 4  # of what is looked up in each, in features
LEAST_SIDE = STRIDE * 2**LEVELS  # pixels: the coarsest level has two positions
UPDATES = 12
HIDDEN = 128  # channels of the recurrent unit
MASK_SHARE = 0.25
Normalization = type[nn.BatchNorm2d] | type[nn.InstanceNorm2d] | None


@dataclass(frozen=True, kw_only=True)
class RaftConfig(NetworkConfig):
    """The large network has one size."""

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> RaftConfig:
        """See `NetworkConfig`."""
        return cls()


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, norm: Normalization = None) -> nn.Sequential:
    """A convolution, its normalization and ReLU."""
    normalization = [] if norm is None else [norm(outputs)]
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), *normalization, nn.ReLU())


class ResidualBlock(nn.Module):
    """Two convolutions and a skip."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Normalization) -> None:
        super().__init__()
        self.convnormrelu1 = conv(inputs, outputs, 3, stride, norm)
        self.convnormrelu2 = conv(outputs, outputs, 3, 1, norm)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1:
            self.downsample = conv(inputs, outputs, 1, stride, norm)[:-1]  # without ReLU

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.downsample(x) + self.convnormrelu2(self.convnormrelu1(x)))


class Encoder(nn.Module):
    """Pictures to 256 features an eighth of the size."""

    def __init__(self, norm: Normalization) -> None:
        super().__init__()
        self.convnormrelu = conv(3, 64, 7, 2, norm)
        self.layer1 = nn.Sequential(ResidualBlock(64, 64, 1, norm), ResidualBlock(64, 64, 1, norm))
        self.layer2 = nn.Sequential(ResidualBlock(64, 96, 2, norm), ResidualBlock(96, 96, 1, norm))
        self.layer3 = nn.Sequential(ResidualBlock(96, 128, 2, norm), ResidualBlock(128, 128, 1, norm))
        self.conv = nn.Conv2d(128, 256, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.conv(self.layer3(self.layer2(self.layer1(self.convnormrelu(pictures)))))


class MotionEncoder(nn.Module):
    """The flow so far, and what was looked up under it."""

    def __init__(self) -> None:
        super().__init__()
        self.convcorr1 = conv(LEVELS * (2 * RADIUS + 1) ** 2, 256, 1)
        self.convcorr2 = conv(256, 192, 3)
        self.convflow1 = conv(2, 128, 7)
        self.convflow2 = conv(128, 64, 3)
        self.conv = conv(192 + 64, 128 - 2, 3)

    def forward(self, flow: Tensor, found: Tensor) -> Tensor:
        parts = [self.convcorr2(self.convcorr1(found)), self.convflow2(self.convflow1(flow))]
        return torch.cat([self.conv(torch.cat(parts, 1)), flow], 1)


class GatedUnit(nn.Module):
    """A convolutional GRU along one axis."""

    def __init__(self, inputs: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.convz, self.convr, self.convq = (nn.Conv2d(HIDDEN + inputs, HIDDEN, kernel, 1, padding) for _ in range(3))

    def forward(self, hidden: Tensor, x: Tensor) -> Tensor:
        both = torch.cat([hidden, x], 1)
        update, reset = torch.sigmoid(self.convz(both)), torch.sigmoid(self.convr(both))
        proposal = torch.tanh(self.convq(torch.cat([reset * hidden, x], 1)))
        return (1 - update) * hidden + update * proposal


class RecurrentBlock(nn.Module):
    """Gated units along rows, then along columns."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.convgru1, self.convgru2 = GatedUnit(inputs, (1, 5)), GatedUnit(inputs, (5, 1))

    def forward(self, hidden: Tensor, x: Tensor) -> Tensor:
        return self.convgru2(self.convgru1(hidden, x), x)


class FlowHead(nn.Module):
    """The hidden state to a change of the flow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(HIDDEN, 256, 3, 1, 1), nn.Conv2d(256, 2, 3, 1, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.conv2(F.relu(self.conv1(hidden)))


class UpdateBlock(nn.Module):
    """One update of the hidden state and of the flow."""

    def __init__(self) -> None:
        super().__init__()
        self.motion_encoder, self.recurrent_block, self.flow_head = MotionEncoder(), RecurrentBlock(2 * 128), FlowHead()

    def forward(self, hidden: Tensor, context: Tensor, found: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        motion = self.motion_encoder(flow, found)
        hidden = self.recurrent_block(hidden, torch.cat([context, motion], 1))
        return hidden, self.flow_head(hidden)


class MaskPredictor(nn.Module):
    """Weights of a feature's nine neighbors for each of its pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.convrelu = conv(HIDDEN, 256, 3)
        self.conv = nn.Conv2d(256, STRIDE * STRIDE * 9, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        return MASK_SHARE * self.conv(self.convrelu(hidden))


class Raft(PublishedNetwork):
    """RAFT-large; in float32."""

    CONFIG = RaftConfig
    SIGNATURE = "update_block.recurrent_block.convgru1.convz.weight"

    def __init__(self, config: RaftConfig) -> None:
        super().__init__()
        self.feature_encoder = Encoder(nn.InstanceNorm2d)
        self.context_encoder = Encoder(nn.BatchNorm2d)
        self.update_block = UpdateBlock()
        self.mask_predictor = MaskPredictor()

    def flow(self, current: Tensor, previous: Tensor, updates: int = UPDATES) -> Tensor:
        """From pictures [B, 3, H, W] in -1..1 to where their content is in `previous`: [B, 2, H, W], x and y in pixels.

        Sides are multiples of 8, and 128 at least.  Memory grows with the square of the pixels (`volume_bytes`).
        """
        features = self.feature_encoder(torch.cat([current, previous]))
        pyramid = correlate(*features.chunk(2))
        hidden, context = self.context_encoder(current).split(HIDDEN, 1)
        hidden, context = torch.tanh(hidden), F.relu(context)
        start = positions(hidden)
        flow = torch.zeros_like(start)
        for _ in range(updates):
            hidden, change = self.update_block(hidden, context, look_up(pyramid, start + flow), flow)
            flow = flow + change
        return enlarge(flow, self.mask_predictor(hidden))


def volume_bytes(height: int, width: int) -> int:
    """Memory of the products of all pairs for pictures of that size, with their pyramid."""
    return (height // STRIDE * (width // STRIDE)) ** 2 * 4 * 4 // 3


def positions(like: Tensor) -> Tensor:
    """The place of every feature, [B, 2, H, W], x and y."""
    rows, columns = (torch.arange(side, dtype=like.dtype, device=like.device) for side in like.shape[-2:])
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"))
    return grid.expand(like.shape[0], -1, -1, -1)


def correlate(current: Tensor, previous: Tensor) -> list[Tensor]:
    """Products of all pairs of features [B, C, H, W], a picture for each of the current: levels [B H W, 1, h, w]."""
    batch, channels, height, width = current.shape
    products = current.flatten(2).transpose(1, 2) @ previous.flatten(2) / channels**0.5
    levels = [products.view(batch * height * width, 1, height, width)]
    for _ in range(LEVELS - 1):
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def look_up(pyramid: list[Tensor], places: Tensor) -> Tensor:
    """The products around places [B, 2, H, W] in every level, [B, levels x 81, H, W]; zero outside."""
    batch, _, height, width = places.shape
    offsets = torch.arange(-RADIUS, RADIUS + 1, dtype=places.dtype, device=places.device)
    window = torch.stack(torch.meshgrid(offsets, offsets, indexing="ij"), 2)  # x changes slowest: so it was trained
    centers = places.permute(0, 2, 3, 1).reshape(-1, 1, 1, 2)
    found = []
    for number, level in enumerate(pyramid):
        last = torch.tensor([level.shape[3] - 1, level.shape[2] - 1], dtype=places.dtype, device=places.device)
        grid = 2 * (centers / 2**number + window) / last - 1
        found.append(F.grid_sample(level, grid, align_corners=True).view(batch, height, width, -1))
    return torch.cat(found, 3).permute(0, 3, 1, 2)


def enlarge(flow: Tensor, mask: Tensor) -> Tensor:
    """A flow [B, 2, h, w] at full size: each pixel a mean of nine neighbors, by weights that are given as logits."""
    batch, _, height, width = flow.shape
    weights = mask.view(batch, 1, 9, STRIDE, STRIDE, height, width).softmax(2)
    neighbors = F.unfold(STRIDE * flow, 3, padding=1).view(batch, 2, 9, 1, 1, height, width)
    full = (weights * neighbors).sum(2)
    return full.permute(0, 1, 4, 2, 5, 3).reshape(batch, 2, height * STRIDE, width * STRIDE)
