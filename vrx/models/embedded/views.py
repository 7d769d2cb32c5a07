"""Frames with holes as their neighbors see them: what is known of each, where its holes are, and how content moves."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.models.optical_flow import Motion, to_luma
from vrx.networks.embedded.classical import smooth_fill
from vrx.networks.embedded.completion import box, fit_motion, grid_places, push_pull, sample
from vrx.networks.embedded.symptoms import gray

CELL = 16  # pixels; holes in neighboring cells are filled together
MARGIN = 48  # pixels around holes that are looked at
MOST_SIDE = 512  # pixels; larger regions are cut
FLOW_SIDE = 400  # pixels; motion is found in pictures shrunk to at most this
SOLID_SIDE = 5  # pixels a side, of which few are known in a hole and about half where single pixels are missing
SOLID_LIMITS = (0.1, 0.3)  # share of these that is known, from and up to which motion there is believed
PATCH_REACH = 7  # pixels from a hole, up to which motion is not believed: patches of 8 pixels see the hole


@dataclass(frozen=True)
class Rectangle:
    """A part of a picture."""

    rows: slice
    columns: slice

    def crop(self, x: Tensor) -> Tensor:
        """The rectangle of [..., H, W], a view."""
        return x[..., self.rows, self.columns]


@dataclass(frozen=True)
class Region(Rectangle):
    """A rectangle around holes, and which of its pixels are its own [1, h, w], 1 or 0."""

    own: Tensor


def find_regions(missing: Tensor) -> list[Region]:
    """Rectangles around the missing pixels of [H, W], with margins; each of those is one rectangle's own."""
    height, width = missing.shape
    cells = F.max_pool2d(missing.float()[None], CELL, ceil_mode=True)
    grown = F.max_pool2d(cells, 3, stride=1, padding=1)[0].cpu().numpy().astype(np.uint8)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(grown)
    regions = []
    for label in range(1, count):
        left, top, wide, high, _ = (int(value) * CELL for value in boxes[label])
        for rows in cut(top, min(top + high, height)):
            for columns in cut(left, min(left + wide, width)):
                around = grow(rows, height), grow(columns, width)
                y, x = (np.arange(span.start, span.stop) for span in around)
                within = ((y >= rows.start) & (y < rows.stop))[:, None] & (x >= columns.start) & (x < columns.stop)
                own = within & (labels[y[:, None] // CELL, x // CELL] == label)
                regions.append(Region(*around, torch.from_numpy(own).to(missing.device).float()[None]))
    return regions


def cut(first: int, last: int) -> list[slice]:
    """A span in parts of at most MOST_SIDE."""
    count = -(-(last - first) // MOST_SIDE)
    edges = [first + (last - first) * number // count for number in range(count + 1)]
    return [slice(begin, end) for begin, end in pairwise(edges)]


def grow(span: slice, limit: int) -> slice:
    """A span with its margins inside the picture."""
    return slice(max(0, span.start - MARGIN), min(limit, span.stop + MARGIN))


@dataclass(frozen=True)
class Link:
    """Motion [2, h, w] from a small picture to a neighbor's, and how far off the way there and back ends [1, h, w].

    In pixels of the small pictures; `drift` is squared.
    """

    motion: Tensor
    drift: Tensor


@dataclass
class View:
    """A frame as its neighbors see it.

    `picture` [3, H, W], half: RGB, holes filled as well as is known.  `known` [2, H, W], half: how far its luma and its
    chroma were known from the start; `certainty`, the same with what neighbors added.  `luma` uint8 [h, w] and
    `trust` [1, h, w]: a small picture for motion, holes filled smoothly, and how far motion there is believed.
    `before` and `after`: motion to the neighbors, once it was looked for.
    """

    picture: Tensor
    known: Tensor
    certainty: Tensor
    luma: Tensor
    trust: Tensor
    before: Link | None = None
    after: Link | None = None

    SAVED: ClassVar[tuple[str, ...]] = ("picture", "known", "certainty", "luma", "trust")

    @staticmethod
    def of(frame: Tensor, missing: Tensor, chroma: Tensor) -> View:
        """A frame [3, H, W], where its luma is missing [1, H, W], and where its chroma is [1, H, W], which pixels may
        share; what chroma is known of pixels without luma is that of the frame.
        """
        picture, known = frame.half(), 1 - torch.cat([missing, chroma]).half()
        for region in find_regions(missing[0]):
            here, source, hole = region.crop(picture), region.crop(frame), region.crop(missing)
            filled = smooth_fill(source[None], hole[None])[0]
            filled = torch.lerp(source + gray(filled[None] - source)[0], filled, region.crop(chroma))
            here.copy_(torch.where(region.own * hole > 0, filled.half(), here))
        side = flow_side(frame.shape[-2:])
        trust = believe(shrink(known[:1].float(), side))
        return View(picture, known, known, to_luma(shrink(picture.float(), side)[None])[0], trust)

    def on(self, device: torch.device) -> View:
        """The view on a device, but for its small picture, in which motion is found on the processor."""
        if self.picture.device == device:
            return self
        picture, known, certainty, trust = (
            x.to(device) for x in (self.picture, self.known, self.certainty, self.trust)
        )
        return View(picture, known, certainty, self.luma.cpu(), trust)

    def is_like(self, other: View) -> bool:
        """Whether two views are of the same picture with the same holes."""
        return torch.equal(self.known, other.known) and torch.equal(self.picture, other.picture)


def flow_side(size: tuple[int, ...]) -> int:
    """Pixels a side that share a position of the small picture in which motion is found."""
    return -(-max(size) // FLOW_SIDE)


def shrink(x: Tensor, side: int) -> Tensor:
    """[C, H, W] by a whole factor."""
    return F.avg_pool2d(x[None], side, ceil_mode=True)[0] if side > 1 else x


def connect(earlier: View, later: View, motion: Motion) -> None:
    """Find the motion between two views, both ways, and complete it where little of the picture is known."""
    if later.before is not None:
        return
    flows = motion.between(torch.stack([earlier.luma, later.luma, earlier.luma])).to(earlier.trust)
    back, forth = flows[0], flows[1]
    at_both = [later.trust * sample(earlier.trust, arrive(back)), earlier.trust * sample(later.trust, arrive(forth))]
    agreed = [torch.exp(-drift(back, forth)), torch.exp(-drift(forth, back))]
    back, forth = complete(back, at_both[0] * agreed[0]), complete(forth, at_both[1] * agreed[1])
    later.before, earlier.after = Link(back, drift(back, forth)), Link(forth, drift(forth, back))


def arrive(motion: Tensor) -> Tensor:
    """The places [2, h, w] that a motion [2, h, w] leads to."""
    height, width = motion.shape[-2:]
    return grid_places(slice(0, height), slice(0, width), motion) + motion


def drift(there: Tensor, back: Tensor) -> Tensor:
    """How far off the way there and back ends [1, h, w], squared, of motions [2, h, w]."""
    return (there + sample(back, arrive(there))).square().sum(0, keepdim=True)


def believe(known: Tensor) -> Tensor:
    """How far the motion of a picture is believed that is known where [1, h, w] is 1: less near holes."""
    firm = rise(box(known, SOLID_SIDE), *SOLID_LIMITS)
    return -F.max_pool2d(-firm, 2 * PATCH_REACH + 1, stride=1, padding=PATCH_REACH)


def rise(x: Tensor, low: float, high: float) -> Tensor:
    """0 up to `low`, 1 from `high` on."""
    return ((x - low) / (high - low)).clamp(0, 1)


def complete(motion: Tensor, trust: Tensor) -> Tensor:
    """Motion [2, h, w] where it is not to be trusted: the camera's, and what differs from it around."""
    camera = fit_motion(motion, trust + 1e-6)
    return camera + push_pull(motion - camera, trust)
