"""Overlays as values: where they are, when, how their edges look, and which of them are parts of one."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from vrx.pipeline.mask.samples import Area, Luma, Plane, gradients

TOGETHER = 0.5  # of the shorter time, in which parts of one overlay are seen together
SAME_PATTERN = 0.4  # of the stronger one's edges that two views of one overlay share
SHOWN = 0.4  # of its edges' strength, from which on an overlay is shown
ALIKE = 0.35  # cosine of its edges and those of a frame, from which on one that lasts is shown, however faint
PART = 0.5  # of the rectangle of an overlay that lies in that of one it is a part of


@dataclass
class Overlay:
    """An overlay: `area` [h, w] in a picture from `left` and `top` on, seen from `first` to `last` (seconds).

    `pattern`: gradients [2, h, w] of its edges, 0 elsewhere, from (left, top) `edges_at` on; `changes`: its characters
    do; `upright`: it is a line, as a scratch is; `lasts`: it is there nearly always, so that a faint trace of it is
    enough where the picture is as light as it.  `since`, `until`: when it may be shown, None for any time; `certain`:
    when it is, whatever single frames show.
    """

    left: int
    top: int
    area: Area
    edges_at: tuple[int, int]
    pattern: Plane
    first: Fraction
    last: Fraction
    since: Fraction | None
    until: Fraction | None
    certain: list[tuple[Fraction, Fraction]]
    changes: bool = False
    upright: bool = False
    lasts: bool = False

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, width and height."""
        return self.left, self.top, self.area.shape[1], self.area.shape[0]

    @property
    def rectangle(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom."""
        return self.left, self.top, self.left + self.area.shape[1], self.top + self.area.shape[0]

    def may_be_shown(self, time: Fraction) -> bool:
        """Whether a time is near to those at which it was seen."""
        return (self.since is None or time >= self.since) and (self.until is None or time <= self.until)

    def is_certain(self, time: Fraction) -> bool:
        """Whether it is known to be there."""
        return any(first <= time <= last for first, last in self.certain)

    def is_shown(self, luma: Luma) -> bool:
        """Whether a frame shows it."""
        height, width = self.pattern.shape[1:]
        x, y = self.edges_at
        top, left = max(0, y - 1), max(0, x - 1)
        inner = (slice(y - top, y - top + height), slice(x - left, x - left + width))
        across, down = (slope[inner] for slope in gradients(luma[top : y + height + 1, left : x + width + 1]))
        along = np.vdot(across, self.pattern[0]) + np.vdot(down, self.pattern[1])
        power = np.square(self.pattern).sum()
        if along >= SHOWN * power:
            return True
        own = self.pattern.any(0)
        there = np.square(across[own]).sum() + np.square(down[own]).sum()
        return bool(self.lasts and along > 0 and along >= ALIKE * np.sqrt(power * there))

    def is_like(self, other: Overlay, share: float = SAME_PATTERN) -> bool:
        """Whether two overlays have the same edges, up to a share of the stronger one's."""
        left, top = (max(a, b) for a, b in zip(self.edges_at, other.edges_at, strict=True))
        right = min(x.edges_at[0] + x.pattern.shape[2] for x in (self, other))
        bottom = min(x.edges_at[1] + x.pattern.shape[1] for x in (self, other))
        if top >= bottom or left >= right:
            return False
        a, b = (
            x.pattern[:, top - x.edges_at[1] : bottom - x.edges_at[1], left - x.edges_at[0] : right - x.edges_at[0]]
            for x in (self, other)
        )
        most = max(np.square(self.pattern).sum(), np.square(other.pattern).sum())
        return bool(np.vdot(a, b) >= share * most)


def is_part(overlay: Overlay, whole: Overlay) -> bool:
    """Whether an overlay lies in another one's rectangle for the most part."""
    wide = min(overlay.left + overlay.box[2], whole.left + whole.box[2]) - max(overlay.left, whole.left)
    high = min(overlay.top + overlay.box[3], whole.top + whole.box[3]) - max(overlay.top, whole.top)
    return max(0, wide) * max(0, high) > PART * overlay.area.size


def drop_parts(found: list[Overlay]) -> list[Overlay]:
    """Overlays without those that are other views of a larger one, whose time is then that of both."""
    largest: list[Overlay] = []
    for overlay in sorted(found, key=lambda x: -x.area.size):
        whole = next(
            (
                x
                for x in largest
                if is_part(overlay, x) and (x.changes or overlay.is_like(x) or is_together(overlay, x))
            ),
            None,
        )
        if whole is None:
            largest.append(overlay)
        else:
            whole.first, whole.last = min(whole.first, overlay.first), max(whole.last, overlay.last)
            include(overlay, whole)
    return largest


def include(part: Overlay, whole: Overlay) -> None:
    """Mark a part's area in an overlay, as far as its rectangle goes."""
    top, left = max(part.top, whole.top), max(part.left, whole.left)
    bottom = min(x.top + x.box[3] for x in (part, whole))
    right = min(x.left + x.box[2] for x in (part, whole))
    inner = part.area[top - part.top : bottom - part.top, left - part.left : right - part.left]
    whole.area[top - whole.top : bottom - whole.top, left - whole.left : right - whole.left] |= inner


def is_together(a: Overlay, b: Overlay) -> bool:
    """Whether two overlays are seen at the same time for the most part."""
    return min(a.last, b.last) - max(a.first, b.first) >= TOGETHER * min(a.last - a.first, b.last - b.first)


def gather(found: list[Overlay]) -> list[Overlay]:
    """Overlays, those that lie beside each other at the same time as one."""
    whole: list[Overlay] = []
    for overlay in sorted(found, key=lambda x: -x.area.size):
        now = overlay
        while (other := next((x for x in whole if is_beside(now, x)), None)) is not None:
            whole = [x for x in whole if x is not other]
            now = join(other, now)
        whole.append(now)
    return whole


def is_beside(a: Overlay, b: Overlay) -> bool:
    """Whether two overlays are parts of one."""
    if a.upright or b.upright or not is_together(a, b):
        return False
    reach = max(a.area.shape[0], b.area.shape[0]) / 2
    wide = min(a.left + a.box[2], b.left + b.box[2]) - max(a.left, b.left)
    high = min(a.top + a.box[3], b.top + b.box[3]) - max(a.top, b.top)
    return wide > -reach and high > 0


def join(a: Overlay, b: Overlay) -> Overlay:
    """Two overlays as one, certain where both are."""
    left, top = (min(a.edges_at[i], b.edges_at[i], (a.left, a.top)[i], (b.left, b.top)[i]) for i in (0, 1))
    right = max(max(x.left + x.box[2], x.edges_at[0] + x.pattern.shape[2]) for x in (a, b))
    bottom = max(max(x.top + x.box[3], x.edges_at[1] + x.pattern.shape[1]) for x in (a, b))
    area, pattern = np.zeros((bottom - top, right - left), bool), np.zeros((2, bottom - top, right - left), np.float32)
    for part in (b, a):
        area[spot_of(part.left - left, part.top - top, part.area)] |= part.area
        spot = spot_of(part.edges_at[0] - left, part.edges_at[1] - top, part.pattern[0])
        pattern[:, *spot] = np.where(part.pattern.any(0), part.pattern, pattern[:, *spot])
    certain = [(max(x[0], y[0]), min(x[1], y[1])) for x in a.certain for y in b.certain]
    return Overlay(
        left,
        top,
        area,
        (left, top),
        pattern,
        min(a.first, b.first),
        max(a.last, b.last),
        None if a.since is None or b.since is None else min(a.since, b.since),
        None if a.until is None or b.until is None else max(a.until, b.until),
        [span for span in certain if span[0] <= span[1]],
    )


def spot_of(left: int, top: int, area: Area | Plane) -> tuple[slice, slice]:
    """The rows and columns of an area [h, w] from `left` and `top` on."""
    return slice(top, top + area.shape[0]), slice(left, left + area.shape[1])
