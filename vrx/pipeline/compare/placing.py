"""Where a picture lies in another: resized, cut out of it, or moved by whole pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch.nn.functional as F
from torch import Tensor

from vrx.metrics.fidelity import LumaScale, to_luma

ALIKE = 0.01  # relative difference of two aspect ratios, up to which one picture is a resized other
SCALES = (1, 2, 3, 4, 1 / 2, 1 / 3, 1 / 4)  # of a picture that may be a part of another
SURE = 0.8  # correlation from which on a part counts as found
LEAST_SHIFT = 0.6  # pixels
CLEARLY_BETTER = 0.75  # of the error without the shift, at most
GRAY = LumaScale((0.299, 0.114))  # any weights do: both pictures get the same
EDGE = 8  # pixels left out of the test, where what is moved in is unknown


@dataclass(frozen=True)
class Placement:
    """A picture resized to `size` (width, height) lies at `left`, `top` of the leader's pictures."""

    size: tuple[int, int]
    left: int = 0
    top: int = 0

    def resize(self, picture: Tensor) -> Tensor:
        """Colors [3, H, W] at that size, bicubic."""
        width, height = self.size
        if picture.shape[-2:] == (height, width):
            return picture
        return F.interpolate(picture[None], (height, width), mode="bicubic", antialias=True, align_corners=False)[0]


@dataclass(frozen=True)
class Region:
    """What all pictures show: columns and rows of the leader's, the ends excluded."""

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def common(cls, size: tuple[int, int], placements: list[Placement]) -> Region:
        """Of the leader, whose size is (width, height), and the others."""
        return cls(
            max(0, *(p.left for p in placements)),
            max(0, *(p.top for p in placements)),
            min(size[0], *(p.left + p.size[0] for p in placements)),
            min(size[1], *(p.top + p.size[1] for p in placements)),
        )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.right - self.left, self.bottom - self.top

    def cut(self, picture: Tensor, placement: Placement) -> Tensor:
        """The region [3, h, w] of a picture that is resized and placed."""
        rows = slice(self.top - placement.top, self.bottom - placement.top)
        return picture[:, rows, self.left - placement.left : self.right - placement.left]


def place(leader: Tensor, other: Tensor) -> Placement:
    """Where another picture [3, h, w] lies in the leader's [3, H, W]; colors in 0..1."""
    height, width = leader.shape[-2:]
    aspect = (other.shape[-1] / other.shape[-2]) / (width / height)
    if abs(aspect - 1) > ALIKE:
        part = find_part(leader, other)
        return part or Placement((width, height))
    whole = Placement((width, height))
    if other.shape != leader.shape and likeness(gray(leader), gray(whole.resize(other))) < SURE:
        part = find_part(leader, other)
        if part is not None:
            return part
    left, top = find_shift(gray(leader), gray(whole.resize(other)))
    return Placement((width, height), left, top)


def gray(picture: Tensor) -> np.ndarray:
    """Luma in levels, float32 [H, W]."""
    return to_luma(picture, GRAY).numpy().astype(np.float32)


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two pictures [H, W] of one size, at most 1; 0 where one of them is flat."""
    return float(cv2.matchTemplate(one, other, cv2.TM_CCOEFF_NORMED)[0, 0])


def find_part(leader: Tensor, other: Tensor) -> Placement | None:
    """Where one of two pictures of different shape was cut out of the other; None where it was not."""
    best: tuple[float, Placement] | None = None
    for scale in SCALES:
        width, height = (round(side * scale) for side in (other.shape[-1], other.shape[-2]))
        if min(width, height) < 2 * EDGE:
            continue
        resized = Placement((width, height)).resize(other)
        inside = resized.shape[-2] <= leader.shape[-2] and resized.shape[-1] <= leader.shape[-1]
        around = resized.shape[-2] >= leader.shape[-2] and resized.shape[-1] >= leader.shape[-1]
        if not (inside or around):
            continue
        large, small = (leader, resized) if inside else (resized, leader)
        found = cv2.matchTemplate(gray(large), gray(small), cv2.TM_CCOEFF_NORMED)
        _, likeness, _, (x, y) = cv2.minMaxLoc(found)
        sign = 1 if inside else -1
        if best is None or likeness > best[0]:
            best = likeness, Placement((width, height), sign * x, sign * y)
    return best[1] if best is not None and best[0] >= SURE else None


def find_shift(leader: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """By how many pixels to the right and down another picture [H, W] must be moved; zero where that is not clear."""
    if min(leader.shape) <= 2 * EDGE:
        return 0, 0
    window = cv2.createHanningWindow((leader.shape[1], leader.shape[0]), cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(other, leader, window)
    moved = (round(x), round(y))
    if max(abs(x), abs(y)) < LEAST_SHIFT or max(abs(moved[0]), abs(moved[1])) * 4 > min(leader.shape):
        return 0, 0
    edge = EDGE + max(map(abs, moved))
    if 2 * edge >= min(leader.shape):
        return 0, 0
    rolled = np.roll(other, (moved[1], moved[0]), (0, 1))
    inner = (slice(edge, -edge), slice(edge, -edge))
    before, after = (float(np.square(leader[inner] - x[inner]).mean()) for x in (other, rolled))
    return moved if after < CLEARLY_BETTER * before else (0, 0)
