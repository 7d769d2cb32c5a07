"""By how much masks are grown: colors that are stored at half size reach beyond what is masked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vrx.media.frame import Layout
from vrx.media.masks import Mask
from vrx.pipeline.colorspace import dilate

MARGIN = 2  # pixels that a logo's color and its ringing reach beyond it in 4:2:0; at three they are near the noise
MOST_OUTLINE = 1.0  # sides of marked pixels that others are beside, a pixel: of more it is a mask of single ones


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
    """Whether a mask is of single pixels and lines of one pixel, which growth would make several times as large."""
    sides = sum(np.count_nonzero(np.diff(mask.astype(np.int8), axis=axis)) for axis in (0, 1))
    return bool(sides > MOST_OUTLINE * np.count_nonzero(mask))
