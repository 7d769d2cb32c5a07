"""What a mask hides in a frame, taken from the frames around it, where they show it.

Motion is found between neighbors whose holes were filled smoothly, and completed through the holes.  From every
missing pixel its content is followed, backward and forward, to frames in which it is known; each of these is moved
into place, aligned once more to what is known around the hole, and fitted to it without a seam.  What a frame was
filled with stays available to the later ones, so that content hidden for long is remembered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vrx.models.embedded.views import Link, Region, View, believe, connect, find_regions, flow_side, rise
from vrx.models.optical_flow import Motion
from vrx.networks.constants import constant_like
from vrx.networks.embedded.blur import LUMA
from vrx.networks.embedded.classical import smooth_fill
from vrx.networks.embedded.completion import box, grid_places, is_inside, push_pull, sample

FADING = 0.8  # weight of a neighbor against the one a frame nearer
CARRIED = 0.8  # certainty that content keeps from one frame into which it was filled to the next
MOST_SHIFT = 2.0  # pixels that a second alignment may find
ERROR_SIDE = 5  # pixels a side, over which differences to what is known are averaged
LIGHT_CHANGE = 0.06  # of values in 0..1; differences beyond it are rather of what is seen than of light
LEAST_GAIN = 0.02  # share of what is missing that a neighbor must add to be looked at
COVERED = 0.95  # share of what is missing, from which on no further neighbor is looked at
LEAST_ERROR = 1e-5  # of values in 0..1, squared; no neighbor is trusted more than that
COVER_LIMITS = (0.2, 0.6)  # certainty of neighbors, from and up to which what they show replaces a fill from around
ERROR_LIMITS = (9 / 255, 18 / 255)  # expected error of luma, from and up to which it does no longer
SHARE_LIMITS = (0.1, 0.4)  # that error, squared, as a share of the variance around: only where it is as much as that
VARIANCE_SIDE = 33  # pixels a side, over which variance is found
AROUND = (  # of luma and of chroma, whose samples pixels may share: pixels a side that do not tell the one in the
    (1, 3, (0.3, 0.5)),  # middle, and that do; share of known ones from and up to which this counts
    (3, 9, (0.03, 0.08)),
)
AROUND_ERROR_SIDE = 9  # pixels a side, over which the error of that is averaged
SURE = 0.5  # certainty, from which on spatial methods take a pixel as known
GROUPS = (0, 1, 1)  # of luma, blue - luma, red - luma: luma's certainty and that of chroma


def to_opponents(rgb: Tensor) -> Tensor:
    """[3, h, w] to luma, blue - luma, red - luma."""
    luma = (rgb * constant_like(LUMA, rgb).view(3, 1, 1)).sum(0)
    return torch.stack([luma, rgb[2] - luma, rgb[0] - luma])


def from_opponents(x: Tensor) -> Tensor:
    """The inverse of `to_opponents`."""
    luma, blue, red = x[0], x[0] + x[1], x[0] + x[2]
    return torch.stack([red, (luma - LUMA[0] * red - LUMA[2] * blue) / LUMA[1], blue])


def by_plane(certainty: Tensor) -> Tensor:
    """[2, h, w] of luma and chroma to [3, h, w] of the three planes."""
    return certainty[list(GROUPS)]


@dataclass
class Walk:
    """Where a region's content is on the way through its neighbors in one direction: -1 backward, 1 forward.

    `places` [2, h, w] in the latest; `trust` [1, h, w] in them.
    """

    direction: int
    places: Tensor
    trust: Tensor

    def follow(self, link: Link, side: float) -> None:
        """Go on to the next neighbor; a position of the link is `side` pixels."""
        small = (self.places + 0.5) / side - 0.5
        self.places = self.places + side * sample(link.motion, small)
        self.trust = self.trust * torch.exp(-sample(link.drift, small))


@dataclass
class Blend:
    """A weighted mean of what neighbors show: opponent planes [3, h, w]; the rest [2, h, w] of luma and chroma.

    `error`: expected, squared, of luma and of all planes together.
    """

    total: Tensor
    weight: Tensor
    error: Tensor
    cover: Tensor

    @staticmethod
    def empty(target: Tensor) -> Blend:
        """Nothing, for a target [3, h, w]."""
        return Blend(torch.zeros_like(target), *(torch.zeros_like(target[:2]) for _ in range(3)))

    @property
    def planes(self) -> Tensor:
        """The mean [3, h, w]; 0 where nothing was found."""
        return self.total / by_plane(self.weight).clamp_min(torch.finfo(torch.float32).tiny)

    @property
    def expected(self) -> Tensor:
        """The expected squared error [2, h, w], of luma and of chroma."""
        error = self.error / self.weight.clamp_min(torch.finfo(torch.float32).tiny)
        return torch.stack([error[0], error[1] - error[0]]).clamp_min(0)

    def certainty(self, variance: Tensor) -> Tensor:
        """How far the mean is to be taken [2, h, w]: where content was found, and fits what is known around it.

        `variance` [1, h, w] of the luma there.
        """
        square = self.error / self.weight.clamp_min(torch.finfo(torch.float32).tiny)
        off = rise(square[:1].sqrt(), *ERROR_LIMITS) * rise(square[:1] / (variance + LEAST_ERROR), *SHARE_LIMITS)
        return rise(self.cover, *COVER_LIMITS) * (1 - off)

    def add(self, planes: Tensor, error: Tensor, certainty: Tensor, fading: float) -> None:
        """One more neighbor."""
        weight = certainty.square() * fading / (error[1:] + LEAST_ERROR)
        self.total += by_plane(weight) * planes
        self.weight += weight
        self.error += weight * error
        self.cover = 1 - (1 - self.cover) * (1 - certainty)


@dataclass(frozen=True)
class Filled:
    """A frame after its neighbors: `picture` [3, H, W] and how far luma and chroma are still `missing` [2, H, W]."""

    picture: Tensor
    missing: Tensor


class Neighbors:
    """Fills frames from up to `reach` frames on either side."""

    def __init__(self, reach: int) -> None:
        self.reach = reach
        self._motion = Motion()

    def fill(self, frame: Tensor, views: Sequence[View], index: int) -> Filled:
        """View number `index`, whose frame is [3, H, W], from the others; the view keeps what was found."""
        view, picture = views[index], frame.clone()
        left = 1 - view.known.float()
        missing = left[:1].clone()
        certainty = view.certainty.clone()
        for region in find_regions(1 - view.known.amin(0)):
            here, hole, known = (region.crop(x) for x in (picture, missing, view.known))
            target = to_opponents(torch.where(hole > 0, region.crop(view.picture).float(), here))
            blend = self.gather(target, known.float(), region, views, index)
            found = blend.certainty(variance(target[:1], known[:1].float())) * (1 - known) * region.own
            found = found * advantage(target, known.float(), blend.expected)
            filled, rest = finish(target, known.float(), found, blend.planes)
            inner = region.own * (1 - known.amin(0)) > 0
            here.copy_(torch.where(inner, filled, here))
            region.crop(left).mul_(torch.where(region.own > 0, rest, 1))
            kept = region.crop(certainty)
            kept.copy_(torch.maximum(kept, CARRIED * found))
        view.picture, view.certainty = picture.half(), certainty
        return Filled(picture, left)

    def gather(self, target: Tensor, known: Tensor, region: Region, views: Sequence[View], index: int) -> Blend:
        """What other views show of a region of view number `index`, whose opponent planes are `target` [3, h, w]."""
        blend = Blend.empty(target)
        missing = (1 - known) * region.own
        needed = missing.sum((-1, -2)).clamp_min(1e-6)
        start = grid_places(region.rows, region.columns, target)
        for view, walk, step in self.visit(views, index, start):
            is_last = walk.direction < 0 and step == self.reach
            source = view.certainty if is_last else view.known
            certainty = look_up(source, walk)
            gain = (certainty * missing * (1 - blend.cover)).sum((-1, -2)) / needed
            if gain.max() < LEAST_GAIN:
                continue
            planes = self.align(target, known, view, walk)
            certainty = look_up(source, walk)
            seamless, error = join(target, known * look_up(view.known, walk), planes)
            blend.add(seamless, error, certainty, FADING ** (step - 1))
            if (((1 - blend.cover) * missing).sum((-1, -2)) / needed).max() < 1 - COVERED:
                break
        return blend

    def visit(self, views: Sequence[View], index: int, start: Tensor) -> Iterator[tuple[View, Walk, int]]:
        """The views around number `index`, nearest first, each with the way to it and its distance."""
        side = flow_side(views[index].picture.shape[-2:])
        walks = [Walk(direction, start, torch.ones_like(start[:1])) for direction in (-1, 1)]
        for step in range(1, self.reach + 1):
            for walk in walks:
                here = index + walk.direction * (step - 1)
                there = here + walk.direction
                if 0 <= there < len(views):
                    connect(views[min(here, there)], views[max(here, there)], self._motion)
                    link = views[here].before if walk.direction < 0 else views[here].after
                    assert link is not None
                    walk.follow(link, side)
                    yield views[there], walk, step

    def align(self, target: Tensor, known: Tensor, view: View, walk: Walk) -> Tensor:
        """A view's opponent planes [3, h, w] at the target's pixels, once more aligned to what is known of these.

        The walk goes on from the better places.
        """
        planes = fetch(view.picture, walk.places)
        luma, given = planes[:1], known[:1] * is_inside(walk.places, view.picture.shape[-2:])
        full = luma + push_pull(target[:1] - luma, given)
        shift = self._motion.between(quantize(torch.cat([luma, full])))[0].to(target)
        shown = (look_up(view.known, walk)[:1] > SURE) * given
        shift = push_pull(shift.clamp(-MOST_SHIFT, MOST_SHIFT), believe(shown))
        better = fetch(view.picture, walk.places + shift)
        if misfit(target, better, given) < misfit(target, planes, given):
            walk.places, planes = walk.places + shift, better
        return planes


def variance(luma: Tensor, known: Tensor) -> Tensor:
    """The variance of known luma around each pixel, [1, h, w]."""
    sums = box(torch.cat([luma * known, luma.square() * known, known]), VARIANCE_SIDE)
    mean, square = sums[:2] / sums[2:].clamp_min(1e-6)
    return (square - mean.square()).clamp_min(0)[None]


def advantage(target: Tensor, known: Tensor, expected: Tensor) -> Tensor:
    """How far what neighbors show is better than what is around a pixel, 0 to 1, [2, h, w] of luma and chroma.

    Where known pixels [2, h, w] lie close together, as between single missing ones, each is told by those around it;
    by how much that fails is weighed against the neighbors' `expected` squared error [2, h, w].
    """
    parts = []
    for group, (inner, outer, dense) in enumerate(AROUND):
        planes, given = target[:1] if group == 0 else target[1:], known[group : group + 1]
        square = (planes - ring(planes, given, inner, outer)).square().mean(0, keepdim=True) * given
        error = box(square, AROUND_ERROR_SIDE) / box(given, AROUND_ERROR_SIDE).clamp_min(1e-3) + LEAST_ERROR
        share = error / (error + expected[group] + LEAST_ERROR)
        parts.append(1 - rise(box(given, outer), *dense) * (1 - share))
    return torch.cat(parts)


def ring(planes: Tensor, known: Tensor, inner: int, outer: int) -> Tensor:
    """Means of known pixels within `outer` pixels a side around each, without those within `inner` pixels a side."""
    stack = torch.cat([planes * known, known])
    sums = outer**2 * box(stack, outer) - (inner**2 * box(stack, inner) if inner > 1 else stack)
    return sums[:-1] / sums[-1:].clamp_min(1e-3)


def look_up(certainty: Tensor, walk: Walk) -> Tensor:
    """Certainty [2, H, W] at the places of a walk [2, h, w]."""
    found = sample_part(certainty, walk.places, "bilinear")
    return found * walk.trust * is_inside(walk.places, certainty.shape[-2:])


def fetch(picture: Tensor, places: Tensor) -> Tensor:
    """Opponent planes [3, h, w] of a picture at places."""
    return to_opponents(sample_part(picture, places, "bicubic"))


def sample_part(x: Tensor, places: Tensor, mode: str) -> Tensor:
    """`sample` of [C, H, W] in half precision, of which only the part that is needed is made float32."""
    corner, parts = [], []
    for values, length in zip(places, (x.shape[-1], x.shape[-2]), strict=True):
        first = int(values.min().clamp(0, length - 1)) - 2
        last = int(values.max().clamp(0, length - 1)) + 4
        parts.append(slice(max(0, first), min(length, last)))
        corner.append(max(0, first))
    part = x[..., parts[1], parts[0]].float()
    return sample(part, places - places.new_tensor(corner)[:, None, None], mode)


def quantize(luma: Tensor) -> Tensor:
    """Luma in 0..1 as uint8 on the processor."""
    return (luma * 255).round().clamp(0, 255).to(torch.uint8).cpu()


def misfit(target: Tensor, planes: Tensor, known: Tensor) -> float:
    """How far luma is off where it is known."""
    return float(((target[:1] - planes[:1]).square() * known).sum())


def join(target: Tensor, both: Tensor, planes: Tensor) -> tuple[Tensor, Tensor]:
    """Planes [3, h, w] without a seam to the target, and their expected squared error [2, h, w].

    The errors are of luma, and of all planes together.  `both` [2, h, w]: where target and planes are known.  Their
    difference there is carried on into the hole, as seamless cloning does (Perez et al., Poisson image editing, 2003),
    less so where it is too large for a change of light.
    """
    difference = target - planes
    square = torch.stack([difference[0].square(), difference[1:].square().mean(0)])
    error = box(square * both, ERROR_SIDE) / box(both, ERROR_SIDE).clamp_min(1e-3)
    plausible = both / (1 + square.sum(0) / LIGHT_CHANGE**2)
    weights = torch.cat([by_plane(plausible), both])
    carried = push_pull(torch.cat([difference, error]), weights)
    error = carried[3:].clamp_min(0)
    return planes + carried[:3], torch.stack([error[0], error.sum(0)])


def finish(target: Tensor, known: Tensor, found: Tensor, planes: Tensor) -> tuple[Tensor, Tensor]:
    """A target [3, h, w] with found planes in place, RGB, and how much of luma and chroma is left to fill [2, h, w].

    `known` and `found` [2, h, w], 0 to 1.  What is not found is filled smoothly from around, found pixels included.
    """
    hole, sure = known[:1] < 1, found[:1] >= SURE
    rest = (hole & ~sure).float()
    solid = torch.where(hole & sure, planes, target)
    if bool(sure.any()) and bool(rest.any()):
        solid = to_opponents(smooth_fill(from_opponents(solid)[None], rest[None])[0])
    solid = torch.where(hole & ~sure, solid, target)
    mixed = torch.lerp(solid, planes, by_plane(found))
    return from_opponents(torch.lerp(target, mixed, by_plane((known < 1).float()))), 1 - found
