"""Chroma samples that marked pixels share with others, as 4:2:0 and 4:2:2 have them: which are lost, which recovered.

An encoder makes a chroma sample a weighted mean over pixels.  Where all of them that are marked are black or white,
which have no chroma, the sample is that of the others, weakened by their share of the weights: divided by it, it is
known.  The weights are not stored in a file; those that explain the samples around the mask best are taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.networks.constants import constant_like
from vrx.networks.embedded.classical import FILL_POOL, gaussian, separable, smooth_fill

# weights of encoders along one axis, over 2, 3 (the first pixel of a pair in the middle) or more pixels: their mean;
# as chroma that sits on the first one is made; linear and cubic interpolation as swscale has them (a = -0.6)
MEAN, COSITED, LINEAR = (0.5, 0.5), (0.25, 0.5, 0.25), (0.125, 0.375, 0.375, 0.125)
CUBIC = (-0.014, -0.042, 0.12, 0.436, 0.436, 0.12, -0.042, -0.014)
ACROSS, DOWN = (MEAN, COSITED), (MEAN, LINEAR, CUBIC)
REACH = 1  # pixels beyond those that share a sample, from which an encoder may mix in what shows
NEUTRAL = 3 / 255  # distance to black or white, of luma in 0..1, up to which a pixel has no chroma
LEAST_SHARE = 0.15  # of the weights; with less, what noise there is would be too large
BELIEVED = 1.5  # times the share, up to 1, is how far a sample counts by itself, not by those around it
LEAST_SAMPLES = 24  # in part marked, from which on the weights are looked for
CLEARLY = 0.9  # of the mean squared error without weights, that the best may have at most
MARGIN = 64  # samples around the mask that are looked at; a fill reaches 54
NEAR = 1.5  # samples, the deviation of the surroundings that explain one


Steps = tuple[int, int]  # rows and columns of pixels that share a sample


@dataclass(frozen=True)
class SharedChroma:
    """Chroma [1, 2, h, w] around 0, filled where it is not known; [1, 1, h, w], 1 or 0, of its samples: those that are
    `unknown`, filled from around, and those that are `changed`, not what the file has.
    """

    chroma: Tensor
    unknown: Tensor
    changed: Tensor


def complete_chroma(chroma: Tensor, luma: Tensor, mask: Tensor, steps: Steps) -> SharedChroma:
    """Chroma [1, 2, h, w] around 0 of a picture whose luma in 0..1 and mask, 1 or 0, are [1, 1, H, W].

    `steps`: rows and columns of pixels that share a sample; of more than two (4:1:1, 4:1:0) samples are lost where
    one of them is marked.
    """
    rows, columns = (find_span(mask.amax(axis), step) for axis, step in zip((3, 2), steps, strict=True))
    part = chroma[..., rows, columns]
    down, across = (
        slice(span.start * step, span.stop * step) for span, step in zip((rows, columns), steps, strict=True)
    )
    found = complete_part(part, luma[..., down, across], mask[..., down, across], steps)
    whole = SharedChroma(chroma.clone(), *(torch.zeros_like(chroma[:, :1]) for _ in range(2)))
    for target, values in zip(vars(whole).values(), vars(found).values(), strict=True):
        target[..., rows, columns] = values
    return whole


def find_span(marked: Tensor, step: int) -> slice:
    """The samples along an axis around the marked pixels of [1, 1, N] that filling them looks at."""
    places = marked.flatten().nonzero().flatten() // step
    if not len(places):
        return slice(0, 0)
    first = max(0, int(places[0]) - MARGIN) // FILL_POOL * FILL_POOL
    return slice(first, int(places[-1]) + MARGIN)


def complete_part(chroma: Tensor, luma: Tensor, mask: Tensor, steps: Steps) -> SharedChroma:
    """`complete_chroma` of a part of a picture, with enough around what is marked."""
    if not chroma.numel() or max(steps) > 2:
        touched = cover(mask, steps, 0) if chroma.numel() else chroma[:, :1]
        return SharedChroma(fill(chroma, touched), touched, touched)
    neutral = (luma <= NEUTRAL) | (luma >= 1 - NEUTRAL)
    touched = cover(mask, steps, REACH)
    colored = cover(mask * (~neutral).to(mask), steps, REACH)
    shares = find_shares(chroma, mask, steps, colored)
    if shares is None:
        return SharedChroma(fill(chroma, touched), touched, touched)
    known = torch.where(colored > 0, 0, shares) * (shares >= LEAST_SHARE)
    known = torch.where(touched > 0, known, 1)
    undiluted = chroma / shares.clamp_min(LEAST_SHARE)
    changed = touched * (known < 1)
    return SharedChroma(fill(undiluted, 1 - (BELIEVED * known).clamp(0, 1)), (known == 0).to(mask), changed)


def fill(chroma: Tensor, missing: Tensor) -> Tensor:
    """Chroma with what is missing, 0 to 1, filled smoothly; gray where nothing is known."""
    return smooth_fill(chroma + 0.5, missing) - 0.5


def cover(mask: Tensor, steps: Steps, reach: int) -> Tensor:
    """1 for samples of `steps` (rows, columns) pixels that hold a marked pixel or have one within `reach`."""
    padded = pad_whole(mask, steps)
    window = [step + 2 * reach * (step > 1) for step in steps]
    return F.max_pool2d(padded, window, steps, [reach * (step > 1) for step in steps])


def pad_whole(x: Tensor, steps: Steps) -> Tensor:
    """[1, 1, H, W] with its end repeated up to whole samples."""
    return F.pad(x, (0, -x.shape[-1] % steps[1], 0, -x.shape[-2] % steps[0]), mode="replicate")


def find_shares(chroma: Tensor, mask: Tensor, steps: Steps, colored: Tensor) -> Tensor | None:
    """The share of each sample's weights that unmarked pixels have [1, 1, h, w], None where the file has no such.

    Samples are looked at that are marked in part and not `colored`.
    """
    whole = known_share(mask, steps, (MEAN, MEAN))
    looked_at = (colored == 0) & (cover(mask, steps, REACH) > 0) & (whole > LEAST_SHARE)
    if int(looked_at.sum()) < LEAST_SAMPLES:
        return None
    usable = (colored == 0).to(chroma)
    best, found = CLEARLY * misfit(chroma, torch.ones_like(whole), usable, looked_at), None
    for pair in weights(steps):
        shares = known_share(mask, steps, pair)
        error = misfit(chroma, shares, usable, looked_at)
        if error < best:
            best, found = error, shares
    return found


def weights(steps: Steps) -> Iterator[tuple[tuple[float, ...], ...]]:
    """All pairs of weights down and across that encoders may have used."""
    yield from product(DOWN if steps[0] > 1 else ((1.0,),), ACROSS if steps[1] > 1 else ((1.0,),))


def known_share(mask: Tensor, steps: Steps, pair: tuple[tuple[float, ...], ...]) -> Tensor:
    """The share of samples' weights, down and across, that pixels without a mark have: [1, 1, h, w]."""
    share = pad_whole(1 - mask, steps)
    for axis, (step, line) in enumerate(zip(steps, pair, strict=True)):
        if step == 1:
            continue
        before, after = (len(line) - 1) // 2, len(line) // 2 - 1
        turned = share if axis else share.transpose(-1, -2)
        padded = F.pad(turned, (before, max(0, after), 0, 0), mode="replicate")
        turned = F.conv2d(padded, constant_like(line, padded).view(1, 1, 1, -1), stride=(1, step))
        share = turned if axis else turned.transpose(-1, -2)
    return share


def misfit(chroma: Tensor, shares: Tensor, usable: Tensor, looked_at: Tensor) -> float:
    """The mean squared error of samples as the chroma around them, weakened by their shares."""
    stack = torch.cat([chroma, shares], 1) * usable
    sums = separable(stack, gaussian(NEAR, round(3 * NEAR), chroma), "constant")
    around = sums[:, :2] / sums[:, 2:].clamp_min(1e-3)
    square = (chroma - shares * around).square().mean(1, keepdim=True)
    return float(square[looked_at].mean())
