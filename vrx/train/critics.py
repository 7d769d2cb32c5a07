"""The networks of InstaVSR's adversarial training: two critics, and the encoder of true pictures.

`PixelCritic` judges pictures place by place (a U-Net with spectral norm; Schönfeld et al., 2020; Miyato et al.,
2018).  `LatentCritic` judges what goes into the decoder.  For the truth that comes from `LatentEncoder`, which
learns that the restorer's own decoder makes the true picture of it.  None of them is needed to restore.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

FOLD = 2  # pixels a side that the pixel critic reads as one position
SLOPE = 0.2
SURROUNDINGS = 7  # pixels a side that a picture's detail is measured against
DETAIL = 8.0  # how much larger the pixel critic sees it: detail is faint, and spectral norms amplify nothing
LOGITS = 8.0  # for the same reason


def normed(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    """A 3 x 3 convolution of spectral norm 1."""
    return spectral_norm(nn.Conv2d(inputs, outputs, 3, stride, 1))


def active(x: Tensor) -> Tensor:
    """Leaky rectifier."""
    return F.leaky_relu(x, SLOPE)


def detail(pictures: Tensor) -> Tensor:
    """What is not smooth in pictures [N, 3, H, W], made large."""
    edge = SURROUNDINGS // 2
    around = F.avg_pool2d(F.pad(pictures, (edge,) * 4, mode="replicate"), SURROUNDINGS, stride=1)
    return (pictures - around) * DETAIL


class PixelCritic(nn.Module):
    """Pictures [N, 3, H, W] in -1..1, sides multiples of 8, to logits [N, 1, H / 2, W / 2], and its features."""

    def __init__(self, channels: tuple[int, ...] = (32, 64, 96)) -> None:
        super().__init__()
        self.enter = normed(6 * FOLD**2, channels[0])
        self.down = nn.ModuleList(normed(a, b, 2) for a, b in pairwise(channels))
        self.up = nn.ModuleList(normed(b, a) for a, b in reversed(list(pairwise(channels))))
        self.leave = normed(channels[0], 1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        """See the class; the features are those of the way down."""
        seen = torch.cat([pictures, detail(pictures)], 1)
        features = [active(self.enter(F.pixel_unshuffle(seen, FOLD)))]
        for layer in self.down:
            features.append(active(layer(features[-1])))
        x = features[-1]
        for layer, beside in zip(self.up, reversed(features[:-1]), strict=True):
            x = active(layer(F.interpolate(x, scale_factor=2, mode="bilinear"))) + beside
        logits: Tensor = self.leave(x) * LOGITS
        return logits, features


class LatentCritic(nn.Module):
    """Latents [N, C, h, w] to logits [N, 1, h, w]."""

    def __init__(self, channels: int, hidden: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            normed(channels, hidden),
            nn.LeakyReLU(SLOPE),
            normed(hidden, hidden),
            nn.LeakyReLU(SLOPE),
            normed(hidden, 1),
        )

    def forward(self, latents: Tensor) -> Tensor:
        """See the class."""
        logits: Tensor = self.layers(latents)
        return logits


class LatentEncoder(nn.Module):
    """True pictures [N, 3, H, W] in -1..1 to latents [N, C, H / grid, W / grid]."""

    def __init__(self, channels: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.layers = nn.Sequential(
            nn.Conv2d(3 * grid**2, channels, 3, 1, 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(channels, channels, 3, 1, 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """See the class."""
        latents: Tensor = self.layers(F.pixel_unshuffle(pictures, self.grid))
        return latents


def critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """What a critic makes small: logistic loss (Goodfellow et al., 2014)."""
    return (F.softplus(-real.float()) + F.softplus(fake.float())).mean()


def deceive_loss(fake: Tensor) -> Tensor:
    """What the restorer makes small: the non-saturating counterpart."""
    return F.softplus(-fake.float()).mean()


def feature_distance(found: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """Mean distance of a critic's features from those of the truth, relative to the size of these."""
    distances = [
        (a.float() - b.float()).abs().mean() / b.float().abs().mean().clamp_min(1e-3)
        for a, b in zip(found, wanted, strict=True)
    ]
    return torch.stack(distances).mean()
