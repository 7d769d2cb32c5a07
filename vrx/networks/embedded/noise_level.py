"""How strong noise is, measured where a picture is smooth.  Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.networks.embedded.blur import LUMA
from vrx.networks.embedded.shrink import window_mean
from vrx.networks.embedded.symptoms import CHROMA, mix
from vrx.networks.embedded.temporal import REACH, WHITE

BLOCK = 16  # pixels a side
COARSE = 4  # pixels a side of the means that tell smooth blocks
SMOOTH = 0.15  # share of the blocks, the smoothest, that count
CLIPPED = 3.0  # deviations from black and white that a block's mean must be away, ...
LEAST_CLIPPED = 2.0  # ... of a noise of at least this many levels
STILL = 0.02  # levels, root mean square, below which a frame repeats the one before
LAGS = range(4, 9)  # pixels, further than grain reaches, at which a pattern repeats
REPEATED = (0.4, 0.6)  # correlation, from and up to which a change is taken for a pattern
# how much larger the power of changes is where content is not followed, from and up to which they are taken for content
# that was followed to a wrong place: noise changes alike
FOLLOWED = (1.25, 3.25)
MOST_SPREAD = 0.8  # content that goes unseen would be spread like that
DIAGONAL = ((0.5, -0.5), (-0.5, 0.5))  # Haar's diagonal detail: white noise keeps its deviation
LUMA_PLANE, CHROMA_PLANES, COLOR_PLANES = slice(0, 1), slice(1, 3), slice(3, 6)


@dataclass(frozen=True)
class NoiseLevel:
    """Standard deviations in levels of 255: of red, green and blue (root mean square), of luma, of Cb and Cr.

    `luma_spread`, `chroma_spread`: as of `temporal.Noise`.
    """

    colors: float
    luma: float
    chroma: float
    luma_spread: float = WHITE
    chroma_spread: float = WHITE

    def times(self, share: float) -> NoiseLevel:
        """A share of it, of the same spread."""
        return replace(self, colors=share * self.colors, luma=share * self.luma, chroma=share * self.chroma)


def measure_noise(frames: Tensor, motion: Tensor, trusting: bool = False) -> NoiseLevel:
    """The noise of frames [T, 3, H, W] in 0..1.

    `motion` [T - 1, 2, H, W]: from each frame but the first to where its content was in the one before, in pixels.
    Noise is what does not come along: half of the power of the differences, the median over smooth blocks and over
    frames; those that repeat the one before do not count, unless all do.  A single frame shows its diagonal detail
    instead, which is right for white noise, and what it is taken for.  `trusting`: what motion should have followed,
    and may not have, counts.
    """
    planes = 255 * torch.stack([*mix(frames, (LUMA,)), *mix(frames, CHROMA), *frames.unbind(1)], 1)  # [T, 6, H, W]
    unmoved = [None if trusting else now - before for before, now in pairwise(planes)]
    pairs = list(zip(planes[1:], changes(planes, motion), unmoved, strict=True))
    moved = [pair for pair in pairs if float(pair[1].square().mean()) > STILL**2]
    if len(frames) > 1:
        power, wide = torch.stack([smooth_power(*pair) / 2 for pair in moved or pairs]).median(0).values
    else:
        power, _ = smooth_power(planes[0], detail(planes[0]), None)
        wide = WHITE * power
    luma, chroma, colors = (float(power[p].mean().sqrt()) for p in (LUMA_PLANE, CHROMA_PLANES, COLOR_PLANES))
    spreads = (spread_of(power[p].mean(), wide[p].mean()) for p in (LUMA_PLANE, CHROMA_PLANES))
    return NoiseLevel(colors, luma, chroma, *spreads)


def spread_of(power: Tensor, wide: Tensor) -> float:
    """The spread of noise of a power, whose means over windows have the power `wide`."""
    return min(MOST_SPREAD, max(WHITE, float(wide / power))) if power > 0 else WHITE


def changes(planes: Tensor, motion: Tensor) -> list[Tensor]:
    """What each of [T, C, H, W] but the first has over the one before, moved by whole pixels.

    Interpolation would hide noise.
    """
    height, width = planes.shape[-2:]
    column, row = torch.arange(width, device=planes.device), torch.arange(height, device=planes.device)[:, None]
    found = []
    for now, before, flow in zip(planes[1:], planes, motion.to(planes.device), strict=False):
        x = (column + flow[0]).round().long().clamp(0, width - 1)
        y = (row + flow[1]).round().long().clamp(0, height - 1)
        found.append(now - before[:, y, x])
    return found


def detail(planes: Tensor) -> Tensor:
    """The diagonal detail of [C, H, W]."""
    padded = F.pad(planes[:, None], (0, 1, 0, 1), mode="replicate")
    return F.conv2d(padded, planes.new_tensor(DIAGONAL)[None, None])[:, 0]


def smooth_power(planes: Tensor, change: Tensor, unmoved: Tensor | None) -> Tensor:
    """The median variance of a change [C, H, W] over the smoothest blocks of planes [C, H, W]: [2, C].

    First of the change, then of its means over the windows in which noise is spread.
    Smooth blocks vary least between means of COARSE x COARSE pixels, which noise hardly changes.  Blocks that noise
    drives into black or white are left out, where there are others.  A change that repeats is a pattern whose motion
    was not found, and no noise; nor is what a block moved by a part of a pixel explains, nor a change much smaller than
    `unmoved`, the one with nothing followed: fine detail that moves is hardly ever followed that exactly.  Without
    `unmoved`, both count.
    """
    side = min(BLOCK, *planes.shape[-2:])
    means, power = F.avg_pool2d(planes[None], side)[0].flatten(1), variance(change, side)
    rough = variance(F.avg_pool2d(planes[None], min(COARSE, side))[0], max(1, side // COARSE))
    rough = rough.view(len(planes), -1)[:, : power.shape[1]].sum(0) if rough.shape == power.shape else power.sum(0)
    median, chosen, limit = power.new_zeros(len(planes)), None, LEAST_CLIPPED
    for _ in range(2):
        away = CLIPPED * limit
        inside = ((means[0] > away) & (means[0] < 255 - away)).nonzero()[:, 0]
        if not len(inside):
            break
        count = max(1, round(SMOOTH * len(inside)))
        chosen = inside[rough[inside].topk(count, largest=False).indices]
        median = power[:, chosen].median(1).values
        limit = max(limit, float((median[0] / 2).sqrt()))
    if chosen is None or side < BLOCK:
        return torch.stack([median, WHITE * median])
    share = fade(repetition(blocks(change[0], side)[chosen]), REPEATED)
    smooth, smooth_change = window_mean(torch.stack([planes, change]), REACH)
    if unmoved is None:
        wide = variance(smooth_change, side)[:, chosen].median(1).values
        return share * torch.stack([median, wide])
    followed = float(variance(unmoved[:1], side)[0, chosen].median() / median[0].clamp_min(1e-9))
    left = torch.stack([unexplained(planes, change, chosen), unexplained(smooth, smooth_change, chosen)])
    return share * fade(followed, FOLLOWED) * left.median(2).values


def unexplained(planes: Tensor, change: Tensor, chosen: Tensor) -> Tensor:
    """The variance in chosen blocks of a change [C, H, W] but for what moving the block explains: [C, blocks].

    A small move changes a block by its slopes, across and down (Lucas and Kanade, 1981).
    """
    padded = F.pad(planes[None], (1, 1, 1, 1), mode="replicate")[0]
    across, down = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2], padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    found = [torch.stack([blocks(plane, BLOCK)[chosen] for plane in part]) for part in (change, across, down)]
    left, *slopes = (part.flatten(2) - part.mean((2, 3))[..., None] for part in found)
    steep = torch.stack(slopes, -1)  # [C, blocks, pixels, 2]
    moved = steep.mT @ steep + torch.eye(2).to(steep)  # plus one, where there is no slope
    explained = steep @ torch.linalg.solve(moved, steep.mT @ left[..., None])
    return (left - explained[..., 0]).square().mean(-1)


def fade(value: float, limits: tuple[float, float]) -> float:
    """1 up to the first of the limits, 0 from the second on."""
    full, none = limits
    return min(1.0, max(0.0, (none - value) / (none - full)))


def blocks(plane: Tensor, side: int) -> Tensor:
    """[H, W] cut into blocks: [N, side, side]."""
    return plane.unfold(0, side, side).unfold(1, side, side).flatten(0, 1)


def repetition(found: Tensor) -> float:
    """How far blocks [N, S, S] are themselves again some pixels further: the largest correlation of size 0 to 1."""
    found = found - found.mean((1, 2), keepdim=True)
    power = found.square().mean().clamp_min(1e-9)
    along = [(found[..., lag:] * found[..., :-lag]).mean() for lag in LAGS]
    down = [(found[:, lag:] * found[:, :-lag]).mean() for lag in LAGS]
    return float((torch.stack(along + down) / power).abs().max())


def variance(planes: Tensor, side: int) -> Tensor:
    """Variances in blocks of [C, H, W]: [C, blocks]."""
    mean = F.avg_pool2d(planes[None], side)[0]
    return (F.avg_pool2d(planes[None].square(), side)[0] - mean.square()).clamp_min(0).flatten(1)
