"""Networks that measure how differently two pictures look: LPIPS and DISTS.  Tensors in and out.

Formulas, layers and constants: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
2018 (version 0.1 of its weights), and Ding et al., "Image Quality Assessment: Unifying Structure and Texture
Similarity", 2020.  Pictures are [B, 3, H, W] in 0..1.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ALEXNET = ((64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1))  # width, kernel, stride, pad
ALEXNET_PLACES = (0, 3, 6, 8, 10)  # of the convolutions among the published layers, `features`
ALEXNET_POOLED = (1, 2)  # convolutions before which the picture is halved
ALEXNET_POOL = (3, 2)  # pixels, stride
VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # widths of the convolutions
TINY = 1e-10  # what lengths of features are divided with
SHARE = 1e-6  # both constants of DISTS' similarities
SMALL_POWER = 1e-12  # under the root of a pooled power


class AlexNet(nn.Module):
    """The convolutions of AlexNet (Krizhevsky, 2014), in torchvision's names."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict()
        before = 3
        for place, (width, kernel, stride, padding) in zip(ALEXNET_PLACES, ALEXNET, strict=True):
            self.features[str(place)] = nn.Conv2d(before, width, kernel, stride, padding)
            before = width

    def forward(self, x: Tensor) -> Iterator[Tensor]:
        """Pictures, normalized, to what each convolution gives, after ReLU."""
        for number, layer in enumerate(self.features.values()):
            if number in ALEXNET_POOLED:
                x = F.max_pool2d(x, *ALEXNET_POOL)
            x = F.relu(layer(x))
            yield x


class Lpips(nn.Module):
    """LPIPS 0.1 on AlexNet: squared differences of features of unit length, a linear layer over the channels of each.

    `backbone` has torchvision's tensors, `linear` the published `lin0` to `lin4`.
    """

    SMALLEST = 31  # pixels a side, below which the last layers see nothing
    LARGEST = 1 << 40  # pixels: it takes some 50 bytes each

    def __init__(self) -> None:
        super().__init__()
        self.backbone = AlexNet()
        self.linear = nn.ParameterList(torch.zeros(width) for width, *_ in ALEXNET)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """The distance of each pair, [B]."""
        pairs = zip(self.features(one), self.features(other), self.linear, strict=True)
        layers = [torch.einsum("bchw,c->bhw", (a - b).square(), weights).mean((1, 2)) for a, b, weights in pairs]
        return torch.stack(layers).sum(0)

    def features(self, pictures: Tensor) -> Iterator[Tensor]:
        """Of one layer after the other, each place of unit length.

        The published code takes -1..1, shifts by -0.03, -0.088, -0.188 and scales by 0.458, 0.448, 0.450, which are
        ImageNet's mean and deviation in that range, rounded; rounded they stay.
        """
        shift, scale = pictures.new_tensor((-0.030, -0.088, -0.188)), pictures.new_tensor((0.458, 0.448, 0.450))
        x = (2 * pictures - 1 - shift[:, None, None]) / scale[:, None, None]
        return (part / (part.square().sum(1, keepdim=True).sqrt() + TINY) for part in self.backbone(x))


class Vgg16(nn.Module):
    """The convolutions of VGG-16 (Simonyan and Zisserman, 2014), in torchvision's names, with DISTS' pooling.

    Where VGG halves the picture by maxima, DISTS takes the root of the power under a Hann window.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict()
        self._blocks: list[list[str]] = []
        place, before = 0, 3
        for widths in VGG16:
            block = []
            for width in widths:
                self.features[str(place)] = nn.Conv2d(before, width, 3, padding=1)
                block.append(str(place))
                place, before = place + 2, width
            self._blocks.append(block)
            place += 1

    def forward(self, x: Tensor) -> Iterator[Tensor]:
        """Pictures, normalized, to the features of the five blocks."""
        for number, block in enumerate(self._blocks):
            x = pool_power(x) if number else x
            for name in block:
                x = F.relu(self.features[name](x), inplace=True)
            yield x


def pool_power(x: Tensor) -> Tensor:
    """[B, C, H, W] at half the size: the root of the power under a Hann window of three."""
    line = x.new_tensor((0.5, 1.0, 0.5))
    window = torch.outer(line, line)
    kernel = (window / window.sum()).expand(x.shape[1], 1, 3, 3)
    return (F.conv2d(x.square(), kernel, stride=2, padding=1, groups=x.shape[1]) + SMALL_POWER).sqrt()


class Dists(nn.Module):
    """DISTS: similarity of means (texture) and of correlations (structure) of features, weighted by `alpha` and `beta`.

    `backbone` has torchvision's tensors; `alpha` and `beta` [1, 1475, 1, 1] are the published ones.
    """

    SMALLEST = 16  # pixels a side, below which the last block sees a single place
    LARGEST = 1920 * 1200  # pixels: it takes a kilobyte each

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Vgg16()
        channels = 3 + sum(widths[-1] for widths in VGG16)
        self.alpha, self.beta = (nn.Parameter(torch.zeros(1, channels, 1, 1)) for _ in range(2))

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """The distance of each pair, [B]."""
        texture, structure = zip(*map(likeness, self.features(one), self.features(other)), strict=True)
        weights = torch.stack([self.alpha.flatten(), self.beta.flatten()])
        weights = weights / weights.sum()
        return 1 - (torch.cat(texture, 1) * weights[0] + torch.cat(structure, 1) * weights[1]).sum(1)

    def features(self, pictures: Tensor) -> Iterator[Tensor]:
        """The picture itself, then those of one block after the other: they are large."""
        mean, deviation = pictures.new_tensor(IMAGENET_MEAN), pictures.new_tensor(IMAGENET_DEVIATION)
        yield pictures
        yield from self.backbone((pictures - mean[:, None, None]) / deviation[:, None, None])


def likeness(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """How alike means and how alike the courses of features [B, C, H, W] are, [B, C] each."""
    mean, other_mean = one.mean((2, 3)), other.mean((2, 3))
    power = (one - mean[..., None, None]).square().mean((2, 3))
    other_power = (other - other_mean[..., None, None]).square().mean((2, 3))
    common = (one * other).mean((2, 3)) - mean * other_mean
    texture = (2 * mean * other_mean + SHARE) / (mean.square() + other_mean.square() + SHARE)
    return texture, (2 * common + SHARE) / (power + other_power + SHARE)
