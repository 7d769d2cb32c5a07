"""Whether the colors of the footage can be trusted to tell a cut.

A content detector compares hues, and the hue of gray or noisy pixels is arbitrary: noise in the chroma
of a gray film looks like a new picture in every frame.  Where colors are absent or buried in noise,
brightness alone tells a cut.  Pictures here are small BGR thumbnails [H, W, 3] uint8.
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

CHROMA_NOISE = 2.5  # levels; clean footage stays below 2.2 even in fast action, the mildest harmful noise above
GRAY = 8.0  # levels; where 99 pixels of 100 have less chroma than this, hue means nothing
QUIETEST = 10  # percentile over frames: motion comes and goes, noise is in every frame
NORMAL = 1.4826 / np.sqrt(2)  # median of absolute differences of two frames to the deviation of one
BLUR = 3.0  # pixels, standard deviation: brightness is compared without grain


def denoise(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture without fine grain."""
    smooth: NDArray[np.uint8] = cv2.GaussianBlur(picture, (0, 0), BLUR).astype(np.uint8)
    return smooth


class ColorTrust:
    """Follows the chroma of a stream; `trusted` answers for frames up to `reach` before the newest."""

    def __init__(self, reach: int) -> None:
        self._differences: deque[tuple[int, float]] = deque(maxlen=2 * reach + 1)
        self._gray: deque[tuple[int, bool]] = deque(maxlen=2 * reach + 1)
        self._last: NDArray[np.float32] | None = None

    def add(self, number: int, picture: NDArray[np.uint8]) -> None:
        """Take in the next frame."""
        chroma = cv2.cvtColor(picture, cv2.COLOR_BGR2YCrCb)[..., 1:].astype(np.float32) - 128
        if self._last is not None and self._last.shape == chroma.shape:
            change = np.median(np.abs(chroma - self._last).reshape(-1, 2), axis=0).max()
            self._differences.append((number, float(change) * NORMAL))
        self._gray.append((number, bool(np.percentile(np.abs(chroma), 99) <= GRAY)))
        self._last = chroma

    def trusted(self, number: int) -> bool:
        """Whether colors tell a cut at this frame."""
        gray = [is_gray for n, is_gray in self._gray if number - 1 <= n <= number]
        if gray and all(gray):
            return False
        return self.noise() < CHROMA_NOISE

    def noise(self) -> float:
        """Standard deviation of the chroma noise, in levels."""
        values = [value for _, value in self._differences]
        return float(np.percentile(values, QUIETEST)) if values else 0.0
