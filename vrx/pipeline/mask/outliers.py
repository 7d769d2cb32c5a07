"""Dust and scratches of film: spots that one frame has and neither the one before it nor the one after it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vrx.pipeline.mask.lengths import odd, unit_of
from vrx.pipeline.mask.samples import Area, Luma, Plane

FLOW_SIDE = 480  # pixels; motion is found in pictures shrunk to at most this
LEAST_FLOW_SIDE = 32  # pixels; in narrower ones the search reads beyond the picture
LEAST_LEVELS = 18.0  # that a spot stands out by from both neighbors
NOISES = 5.0  # deviations of the noise that it does, too
REST = 0.4  # of that, from which on pixels beside the spot belong to it
AGREED = 0.25  # of what a spot stands out by, that the neighbors may differ by there
AROUND = 0.3  # of it that a spot stands out by from what is around it in its own frame
QUIET = 0.4  # of it that what is around may differ from the neighbors, nine of ten pixels
MOST_DRIFT = 6.0  # pixels, that the ways to both neighbors may not be each other's mirror
MOST_MOTION = 60.0  # pixels a frame
RING = 4  # pixels around a spot that are looked at
LEAST_AREA = 3  # pixels
MOST_AREA = 0.004  # of the picture
MOST_TOTAL = 0.06  # of the picture; more is a flash, a cut or something that passes
MOST_CHANGE = 60.0  # levels, mean, beyond which two frames are of different scenes
SLENDER, TALL = 6.0, 0.1  # height to width, and share of the picture's height, of a scratch


@dataclass(frozen=True)
class Spots:
    """Where a frame [H, W] has `dust` and `scratches`; `centers` [n, 2], x and y, of its dust; `lines`: scratches."""

    dust: Area
    scratches: Area
    centers: NDArray[np.float64]
    lines: int

    @classmethod
    def none(cls, size: tuple[int, ...]) -> Spots:
        """Of a clean frame."""
        return cls(np.zeros(size, bool), np.zeros(size, bool), np.zeros((0, 2)), 0)


class OutlierFinder:
    """Looks at three frames at a time."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._width, self._height = size
        self._unit = unit_of(self._height)
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._factor = min(1.0, FLOW_SIDE / max(size))
        y, x = np.mgrid[: self._height, : self._width].astype(np.float32)
        self._places = x, y

    def find(self, before: Luma, now: Luma, after: Luma) -> Spots:
        """The spots of the frame in the middle."""
        change = max(cv2.absdiff(now, other).mean() for other in (before, after))
        if change > MOST_CHANGE:
            return Spots.none(now.shape)
        moved = [self._flow(now, other) for other in (before, after)]
        first, second = (self._fetch(other, flow) for other, flow in zip((before, after), moved, strict=True))
        high, low = self._excess(now, first, second)
        steady = (np.abs(moved[0] + moved[1]).max(-1) <= MOST_DRIFT) & (np.abs(moved[0]).max(-1) <= MOST_MOTION)
        difference = now.astype(np.float32) - (first.astype(np.float32) + second) / 2
        noise = 1.4826 * float(np.median(np.abs(difference)))
        level = max(LEAST_LEVELS, NOISES * noise)
        agreed = np.abs(first.astype(np.float32) - second) <= AGREED * np.abs(difference)
        seeds = (np.maximum(high, low) >= level) & agreed & steady
        if not seeds.any() or seeds.mean() > MOST_TOTAL:
            return Spots.none(now.shape)
        apart = np.maximum(cv2.absdiff(now, first), cv2.absdiff(now, second)).astype(np.uint8)
        return self._sort(seeds, (np.abs(difference) >= REST * level) & agreed, now, apart)

    def _flow(self, now: Luma, other: Luma) -> Plane:
        width, height = (max(LEAST_FLOW_SIDE, round(side * self._factor)) for side in (self._width, self._height))
        size = (width, height)
        # single spots are not followed: they would pull the motion along
        small = [cv2.medianBlur(cv2.resize(x, size, interpolation=cv2.INTER_AREA), 5) for x in (now, other)]
        flow = self._search.calc(small[0], small[1], np.zeros((*small[0].shape, 2), np.float32))
        scale = np.array([self._width / size[0], self._height / size[1]], np.float32)
        whole = cv2.resize(flow, (self._width, self._height), interpolation=cv2.INTER_LINEAR) * scale
        return whole.astype(np.float32, copy=False)

    def _fetch(self, other: Luma, flow: Plane) -> Luma:
        x, y = self._places
        found = cv2.remap(other, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return found.astype(np.uint8, copy=False)

    def _excess(self, now: Luma, first: Luma, second: Luma) -> tuple[Plane, Plane]:
        """By how many levels pixels are above, and below, all that both neighbors have around that place."""
        kernel = np.ones((odd(3 * self._unit),) * 2, np.uint8)
        top = cv2.max(cv2.dilate(first, kernel), cv2.dilate(second, kernel)).astype(np.float32)
        bottom = cv2.min(cv2.erode(first, kernel), cv2.erode(second, kernel)).astype(np.float32)
        return now - top, bottom - now

    def _sort(self, seeds: Area, near: Area, now: Luma, apart: Luma) -> Spots:
        """Spots that look like dust or scratches; `apart`: how far pixels are from both neighbors."""
        found, centers = Spots.none(now.shape), []
        lines = 0
        count, labels, boxes, middles = cv2.connectedComponentsWithStats((seeds | near).astype(np.uint8))
        hit = np.bincount(labels[seeds], minlength=count) > 0
        pad = odd(RING * self._unit)
        for label in np.flatnonzero(hit[1:]) + 1:
            left, top, width, height, area = (int(value) for value in boxes[label])
            if not LEAST_AREA <= area <= MOST_AREA * seeds.size:
                continue
            part = (slice(max(0, top - pad), top + height + pad), slice(max(0, left - pad), left + width + pad))
            spot = labels[part] == label
            if not stands_out(spot, now[part], apart[part], pad):
                continue
            if height >= SLENDER * width and height >= TALL * self._height:
                found.scratches[part] |= spot
                lines += 1
            else:
                found.dust[part] |= spot
                centers.append(middles[label])
        return Spots(found.dust, found.scratches, np.reshape(centers, (-1, 2)), lines)


def stands_out(spot: Area, now: Luma, apart: Luma, pad: int) -> bool:
    """Whether a spot differs from what is around it, and what is around it does not differ from the neighbors."""
    grown = cv2.dilate(spot.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    ring = (cv2.dilate(spot.astype(np.uint8), np.ones((2 * pad + 1,) * 2, np.uint8)) > 0) & ~grown
    if not ring.any():
        return False
    difference = float(np.median(apart[spot]))
    contrast = abs(float(np.median(now[spot])) - float(np.median(now[ring])))
    return contrast >= AROUND * difference and float(np.quantile(apart[ring], 0.9)) <= QUIET * difference
