"""By how much masks are grown: colors that are stored at half size reach beyond what is masked."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vrx.media.frame import Layout
from vrx.media.masks import Mask

MARGIN = 2  # pixels that a logo's color and its ringing reach beyond it in 4:2:0; at three they are near the noise
MOST_OUTLINE = 1.5  # edges between marked and other pixels, for each pixel of the kind that has fewer


@dataclass(frozen=True)
class Growth:
    """`pixels` to grow by; where they are not `chosen` by the user, masks of single pixels stay as they are."""

    pixels: int
    chosen: bool = True

    @classmethod
    def of(cls, setting: int | None, layout: Layout, has_margin: bool = False) -> Growth:
        """That of a setting, None for what a source's layout needs; `has_margin`: the mask has it already."""
        if setting is not None:
            return cls(setting)
        subsampled = bool(layout.shift_x or layout.shift_y)
        return cls(MARGIN if subsampled and not has_margin else 0, False)

    def apply(self, mask: Mask) -> Mask:
        """A mask [H, W], grown."""
        if not self.pixels or (not self.chosen and is_scattered(mask)):
            return mask
        return dilate(mask, self.pixels)


def is_scattered(mask: Mask) -> bool:
    """Whether a mask [H, W] is of single pixels and lines of one pixel, or leaves only such.

    Growth would make the first several times as large, and leave nothing of the second to fill from.
    """
    edges = sum(np.count_nonzero(np.diff(mask, axis=axis)) for axis in (0, 1))
    marked = np.count_nonzero(mask)
    return bool(edges > MOST_OUTLINE * min(marked, mask.size - marked))


def dilate(mask: Mask, pixels: int) -> Mask:
    """A mask [H, W] made larger by so many pixels in every direction."""
    kernel = np.ones((2 * pixels + 1, 1), np.uint8)
    return np.asarray(cv2.dilate(cv2.dilate(mask.astype(np.uint8), kernel), kernel.T) > 0)
