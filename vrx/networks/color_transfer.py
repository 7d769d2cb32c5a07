"""Color transfer from the source to what a generative network made of it.  Pure functions on -1..1."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.networks.constants import constant_like

ADAIN_EPSILON = 1e-5  # under the root
LEVELS = 5  # blurs of the wavelet, at 1, 2, 4, 8 and 16 pixels
TAPS = (0.25, 0.5, 0.25)

Transfer = Callable[[Tensor, Tensor], Tensor]  # what is restored, and its source


def adain(x: Tensor, source: Tensor, epsilon: float = ADAIN_EPSILON, correction: int = 0) -> Tensor:
    """Mean and deviation of every channel of every frame [..., H, W] made the source's.

    Adaptive instance normalization (Huang and Belongie, arXiv 1703.06868); clipped to -1..1.  `epsilon` is added to
    both variances, which are over the number of pixels less `correction`.
    """
    deviations, means = zip(*(moments(part, epsilon, correction) for part in (x, source)), strict=True)
    return ((x - means[0]) / deviations[0] * deviations[1] + means[1]).clamp(-1, 1)


def moments(x: Tensor, epsilon: float, correction: int) -> tuple[Tensor, Tensor]:
    """Deviation and mean over the last two axes."""
    variance, mean = torch.var_mean(x, (-2, -1), correction=correction, keepdim=True)
    return (variance + epsilon).sqrt(), mean


def low_band(x: Tensor, levels: int = LEVELS) -> Tensor:
    """[..., H, W] blurred by [1 2 1] / 4 in both directions at 1, 2, 4, ... pixels, borders repeated."""
    flat = x.flatten(0, -3)[:, None]
    taps = constant_like(TAPS, x)
    for level in range(levels):
        reach = 2**level
        padded = F.pad(flat, (reach,) * 4, mode="replicate")
        flat = F.conv2d(padded, (taps[:, None] * taps[None])[None, None], dilation=reach)
    return flat.view(x.shape)


def wavelet(x: Tensor, source: Tensor) -> Tensor:
    """The low band of the source under the details of `x` [..., H, W]; clipped to -1..1."""
    return (x - low_band(x) + low_band(source)).clamp(-1, 1)


def match_colors(x: Tensor, source: Tensor, choice: str, published: Transfer) -> Tensor:
    """`x` in the colors of the source, both [..., H, W].

    `choice`: `adain`, `wavelet`, `none`, or `auto` for the transfer that the model was `published` with.
    """
    if choice == "none":
        return x
    return {"adain": adain, "wavelet": wavelet, "auto": published}[choice](x, source)
