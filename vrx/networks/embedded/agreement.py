"""Whether an enlarged picture, shrunk again, is the one it was made of, and how much of it to keep where not.  Pure."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.networks.embedded.classical import CUBIC_REACH, cubic, polyphase_line, separable
from vrx.networks.embedded.symptoms import gray

NEAR = 7  # pixels of the source a side, over which differences are averaged
COARSE, WIDE = 4, 5  # the same for offsets of the brightness: blocks of 4 x 4 pixels, and 5 x 5 of these
FREE = 0.5  # levels, root mean square, that are always allowed
LEAST_OFFSET = 0.1  # levels, up to which an offset is left


def shrink(frames: Tensor, scale: int) -> Tensor:
    """Means of scale x scale pixels of [T, C, s H, s W]: [T, C, H, W]."""
    return F.avg_pool2d(frames, scale)


def shrunk_bicubic(source: Tensor, scale: int) -> Tensor:
    """What bicubic enlargement of [T, C, H, W] is, shrunk again: a filter of a few taps."""
    return separable(source, polyphase_line(cubic, CUBIC_REACH, scale).mean(0).to(source), "replicate")


def levels(frames: Tensor) -> Tensor:
    """Luma [T, 1, H, W] in levels of 255."""
    return 255 * gray(frames)


def mean_around(x: Tensor, side: int) -> Tensor:
    """Means over at most side x side around each place of [T, C, H, W], edges extended."""
    side = min(side, (min(x.shape[-2:]) - 1) // 2 * 2 + 1)
    padded = F.pad(x, (side // 2,) * 4, mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(padded, (1, side), 1), (side, 1), 1)


def kept_share(shrunk: Tensor, source: Tensor, scale: int, allowed: float) -> Tensor:
    """How much of what was added to bicubic enlargement agrees with the source, 0 to 1, smooth: [T, 1, H, W].

    `shrunk`, `source`: [T, 3, H, W]; `allowed`: levels of luma, root mean square, by which damage explains a
    difference.  With d what was added and e what bicubic lacks, both shrunk, the share w is the largest that keeps
    the power of e + w d, over NEAR x NEAR pixels, within that of e plus what is allowed.
    """
    target, plain = levels(source), shrunk_bicubic(levels(source), scale)
    added, lack = levels(shrunk) - plain, plain - target
    power, along = mean_around(added.square(), NEAR), mean_around(added * lack, NEAR)
    root = (along.square() + power * (allowed**2 + FREE**2)).sqrt()
    fits = root - along >= power
    if bool(fits.all()):
        return torch.ones_like(power)
    share = torch.where(fits, 1.0, (root - along) / power.clamp_min(1e-12))
    return mean_around(-F.max_pool2d(-share, 3, 1, 1), 3)


def offsets(shrunk: Tensor, source: Tensor) -> Tensor | None:
    """By how much the mean of a wide surrounding is not the source's, of [T, 3, H, W]: [T, 3, H / 4, W / 4].

    Rounded up, for `spread`; None where there is nothing to take away.
    """
    coarse = F.avg_pool2d(shrunk - source, COARSE, ceil_mode=True, count_include_pad=False)
    found = mean_around(coarse, WIDE)
    found = found - found.clamp(-LEAST_OFFSET / 255, LEAST_OFFSET / 255)
    return found if bool(found.any()) else None


def spread(found: Tensor, like: Tensor) -> Tensor:
    """Offsets at the source's size, as far as `like` goes."""
    whole = F.interpolate(found, scale_factor=COARSE, mode="bilinear")
    return whole[..., : like.shape[-2], : like.shape[-1]]
