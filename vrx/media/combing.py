"""Whether the flags of pictures that tell of interlacing are right: by the combing of what moves between two fields."""

from __future__ import annotations

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

HEIGHTS = {480, 486, 576, 1080, 1088}  # of pictures that cameras and recorders interlace
BLOCK, STRIPES = 16, 4  # pixels; columns of blocks of which one is looked at
RATIO, LEAST = 1.3, 5.0  # of a combed block: neighboring rows differ so much more than those of a field, and by levels
COMBED = 0.01  # share of combed blocks from which a picture is: woven fields of moving scenes have 0.05 to 0.6
CLEAN = 0.001  # share up to which it is not
LOOKED_AT = 60  # pictures of a source
ENOUGH = 12  # pictures that contradict their flags


class FlagCheck:
    """Looks at the first pictures of a source."""

    def __init__(self) -> None:
        self._count = self._combed = self._clean = 0
        self._last: NDArray[np.int16] | None = None

    def add(self, picture: VideoFrame) -> str | None:
        """Add a picture; what is wrong, in words, once that is certain."""
        if self._count >= LOOKED_AT or picture.height not in HEIGHTS:
            return None
        luma, last, flagged = to_luma(picture), self._last, bool(picture.interlaced_frame)
        self._count, self._last = self._count + 1, luma
        share = combed_share(luma)
        if not flagged:
            self._combed += share > COMBED
            if self._combed == ENOUGH:
                self._count = LOOKED_AT
                return (
                    "marked as progressive, and its frames show the combing of interlaced ones; to deinterlace: "
                    "--deinterlace on (film for telecine)"
                )
        elif share > CLEAN:
            self._count = LOOKED_AT  # it is what it says
        elif last is not None and last.shape == luma.shape:
            woven = luma.copy()
            woven[1::2] = last[1::2]
            self._clean += combed_share(woven) > COMBED  # something moves, which fields would show
            if self._clean == ENOUGH:
                self._count = LOOKED_AT
                return (
                    "marked as interlaced, and nothing that moves shows combing: it may be progressive, and keeps more "
                    "detail with --deinterlace off"
                )
        return None


def to_luma(picture: VideoFrame) -> NDArray[np.int16]:
    """Luma [H, W / 4] in 256 levels: of every fourth column of blocks, which tells as much in a quarter of the time."""
    gray = picture.reformat(format="gray").to_ndarray()
    wide = STRIPES * BLOCK
    stripes = gray[:, : gray.shape[1] // wide * wide].reshape(len(gray), -1, wide)[:, :, :BLOCK]
    return stripes.reshape(len(gray), -1).astype(np.int16)


def combed_share(luma: NDArray[np.int16]) -> float:
    """The share of blocks in which rows [H, W] differ from the next but not from the next but one."""
    next_row, same_field = (means(np.abs(luma[:-2] - others)) for others in (luma[1:-1], luma[2:]))
    return float(((next_row > LEAST) & (next_row > RATIO * same_field)).mean()) if next_row.size else 0.0


def means(levels: NDArray[np.int16]) -> NDArray[np.float64]:
    """The means of the complete blocks of a picture."""
    rows, columns = (side // BLOCK for side in levels.shape)
    blocks = levels[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
    found: NDArray[np.float64] = blocks.mean((1, 3))
    return found
