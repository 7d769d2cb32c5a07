"""A picture of a mask, for people: frames of the video with what is masked in red."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vrx.media.frame import Frame
from vrx.media.lettering import Picture
from vrx.pipeline.colorspace import to_rgb
from vrx.pipeline.mask.samples import Area
from vrx.pipeline.pictures import row, scaled, stacked, to_picture

SHOTS, IN_ROW = 6, 2  # frames that are shown, and beside each other
WIDEST = 640  # pixels of one
RED = np.array([255, 40, 40], np.float32)
SHARE = 0.6  # of red where it is masked
OUTLINE = (255, 220, 0)


class MaskPicture:
    """Takes frames here and there, of `frames` in all."""

    def __init__(self, frames: int) -> None:
        self._wanted = [round(frames * (number + 0.5) / SHOTS) for number in range(SHOTS)]
        self._shots: list[tuple[str, Picture]] = []
        self._other: tuple[str, Picture] | None = None

    def add(self, number: int, title: str, frame: Frame, mask: Area) -> None:
        """A frame; it is drawn if it is the first with a mask after a wanted place."""
        if mask.any() and self._wanted and number >= self._wanted[0]:
            self._wanted = [place for place in self._wanted if place > number]
            self._shots.append((title, draw(frame, mask)))
        elif self._other is None and mask.any():
            self._other = (title, draw(frame, mask))

    def draw_all(self) -> Picture | None:
        """The frames taken, in rows; None for none."""
        shots: Sequence[tuple[str, Picture]] = self._shots or [shot for shot in (self._other,) if shot is not None]
        parts = [shots[first : first + IN_ROW] for first in range(0, len(shots), IN_ROW)]
        rows = [row([picture for _, picture in part], [title for title, _ in part]) for part in parts]
        return stacked(rows) if rows else None


def draw(frame: Frame, mask: Area) -> Picture:
    """A frame with its mask in red, and outlined, so that small spots are seen."""
    picture = to_picture(to_rgb(frame, torch.device("cpu"))[0])
    height, width = picture.shape[:2]
    shown = (min(WIDEST, width), max(1, round(height * min(WIDEST, width) / width)))
    picture[mask] = ((1 - SHARE) * picture[mask] + SHARE * RED).astype(np.uint8)
    small = np.ascontiguousarray(scaled(picture, shown))
    marks = cv2.resize(grow_to_see(mask, width / shown[0]), shown, interpolation=cv2.INTER_NEAREST)
    marks = cv2.dilate(marks, np.ones((5, 5), np.uint8))
    outlines, _ = cv2.findContours(marks, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(small, outlines, -1, OUTLINE, 1)
    return small


def grow_to_see(mask: Area, factor: float) -> NDArray[np.uint8]:
    """A mask grown so that nothing is lost when every `factor`-th pixel is taken."""
    side = max(1, int(np.ceil(factor)))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)), np.uint8)
