"""Noise taken out of one picture: blocks of its cosine transform shrunk by how little they stand out of it.

Sliding DCT denoising (Yu and Sapiro, IPOL 2011), with the garrote's shrinkage (Gao, 1998) and a variance of the noise
for each block.  Pure.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK, STRIDE = 8, 4  # pixels; every pixel is in four blocks
COVER = (BLOCK // STRIDE) ** 2
CHROMA_LIMIT = 2.0  # deviations of the noise that a coefficient of chroma must stand out by
DETAIL_LIMIT = 2.0  # times the noise's variance that chroma's finest detail must have in a window of
DETAIL_REACH = 1  # pixels to either side
MOST_PIXELS = 1 << 19  # of a picture that is shrunk at once; larger ones go in bands of rows
HALO = 2 * BLOCK  # rows beyond a band that are seen with it


def shrink(planes: Tensor, variance: Tensor, limit: float) -> Tensor:
    """Luma and chroma [1, 3, H, W] less the noise of `variance` [1, 2, H, W], that of luma and of chroma.

    `limit`: deviations of the noise that a coefficient of luma must stand out by.
    """
    height, width = planes.shape[-2:]
    rows = max(HALO, MOST_PIXELS // width // HALO * HALO)
    if height <= rows:
        return shrink_band(planes, variance, limit)
    out = torch.empty_like(planes)
    for top in range(0, height, rows):
        first, last = max(0, top - HALO), min(height, top + rows)
        band = slice(first, min(height, last + HALO))
        found = shrink_band(planes[..., band, :], variance[..., band, :], limit)
        out[..., top:last, :] = found[..., top - first : last - first, :]
    return out


def shrink_band(planes: Tensor, variance: Tensor, limit: float) -> Tensor:
    """All rows at once."""
    luma = planes[:, :1] - removed(planes[:, :1], variance[:, :1], limit)
    return torch.cat([luma, shrink_chroma(planes[:, 1:], variance[:, 1:])], 1)


def shrink_chroma(chroma: Tensor, variance: Tensor) -> Tensor:
    """[1, 2, H, W]: as luma at half the size, as most video has it; the detail beyond that only where it stands out."""
    height, width = chroma.shape[-2:]
    even = F.pad(chroma, (0, width % 2, 0, height % 2), mode="replicate")
    small = F.avg_pool2d(even, 2)
    noise = F.avg_pool2d(F.pad(variance, (0, width % 2, 0, height % 2), mode="replicate"), 2)
    detail = even - enlarge(small)
    clean = small - removed(small.transpose(0, 1), noise / 4, CHROMA_LIMIT).transpose(0, 1)
    energy = window_mean(detail.square(), DETAIL_REACH).sum(1, keepdim=True) / 2
    gain = 1 - DETAIL_LIMIT * variance.mean() / energy.clamp_min(1e-12)
    return (enlarge(clean) + detail * gain.clamp_min_(0))[..., :height, :width]


def enlarge(x: Tensor) -> Tensor:
    """Twice the size, bilinear."""
    return F.interpolate(x, scale_factor=2, mode="bilinear")


def window_mean(x: Tensor, reach: int) -> Tensor:
    """Means over windows of `reach` pixels to either side of [N, C, H, W]; sums of shifted pictures are fastest."""
    padded = F.pad(x, (reach,) * 4, mode="replicate")
    height, width = x.shape[-2:]
    rows = padded[..., :height, :].clone()
    for shift in range(1, 2 * reach + 1):
        rows += padded[..., shift : shift + height, :]
    out = rows[..., :width].clone()
    for shift in range(1, 2 * reach + 1):
        out += rows[..., shift : shift + width]
    return out.mul_(1 / (2 * reach + 1) ** 2)


def removed(x: Tensor, variance: Tensor, limit: float) -> Tensor:
    """The noise in planes [N, 1, H, W] of `variance` [1, 1, H, W], as far as it is beneath `limit` deviations.

    A coefficient c loses min(1, limit^2 variance / c^2) of itself; the mean of a block stays.
    """
    height, width = x.shape[-2:]
    margin = (STRIDE, STRIDE + -width % STRIDE, STRIDE, STRIDE + -height % STRIDE)
    mode = "reflect" if min(height, width) > 2 * STRIDE else "replicate"
    kernel = transform().to(x)
    found = F.conv2d(F.pad(x, margin, mode=mode), kernel, stride=STRIDE)
    level = F.avg_pool2d(F.pad(variance, margin, mode="replicate"), BLOCK, STRIDE)
    share = found.square().clamp_min_(1e-12).reciprocal_().mul_(level * limit**2).clamp_max_(1)
    share[:, 0] = 0
    # the transposed convolution, as one of 2 x 2 blocks: a third faster
    back = kernel.view(-1, 2, STRIDE, 2, STRIDE).permute(2, 4, 0, 1, 3).reshape(STRIDE**2, -1, 2, 2).flip(2, 3)
    pixels = F.pixel_shuffle(F.conv2d(share.mul_(found), back), STRIDE)
    return pixels[..., :height, :width] / COVER


def transform() -> Tensor:
    """The orthonormal cosine transform of blocks as a convolution [64, 1, 8, 8], float64."""
    place = torch.arange(BLOCK, dtype=torch.float64)
    lines = torch.cos(math.pi * (2 * place + 1) * place[:, None] / (2 * BLOCK)) * math.sqrt(2 / BLOCK)
    lines[0] /= math.sqrt(2)
    return torch.einsum("ai,bj->abij", lines, lines).reshape(-1, 1, BLOCK, BLOCK)
