"""Chroma noise of a stream: whether color differences are reliable enough to detect cuts.

A content detector compares hues, and the hue of gray or noisy pixels is arbitrary: chroma noise in gray
footage looks like a new picture in every frame.  Where color is absent or noisy, cuts are detected by luma
alone.  Pictures here are BGR thumbnails [H, W, 3] uint8.
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_CHROMA_NOISE = 2.5  # levels; clean footage stays below 2.2 even in fast action, the mildest harmful noise above
GRAY_CHROMA = 8.0  # levels; a picture is gray where 99 of 100 pixels have less chroma than this
NOISE_PERCENTILE = 10  # over frames: motion affects some frames, noise all of them
MEDIAN_TO_SIGMA = 1.4826 / np.sqrt(2)  # median absolute difference of two frames to the standard deviation of one
LUMA_BLUR = 3.0  # standard deviation in pixels of the blur that removes grain before luma is compared


def blur(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture without fine grain."""
    smooth: NDArray[np.uint8] = cv2.GaussianBlur(picture, (0, 0), LUMA_BLUR).astype(np.uint8)
    return smooth


class ChromaNoise:
    """Chroma noise over the latest frames; `is_color_reliable` answers for frames up to `window` before the newest."""

    def __init__(self, window: int) -> None:
        self._differences: deque[tuple[int, float]] = deque(maxlen=2 * window + 1)
        self._gray: deque[tuple[int, bool]] = deque(maxlen=2 * window + 1)
        self._last: NDArray[np.float32] | None = None

    def add(self, number: int, picture: NDArray[np.uint8]) -> None:
        """Measure the next frame."""
        chroma = cv2.cvtColor(picture, cv2.COLOR_BGR2YCrCb)[..., 1:].astype(np.float32) - 128
        if self._last is not None and self._last.shape == chroma.shape:
            change = np.median(np.abs(chroma - self._last).reshape(-1, 2), axis=0).max()
            self._differences.append((number, float(change) * MEDIAN_TO_SIGMA))
        self._gray.append((number, bool(np.percentile(np.abs(chroma), 99) <= GRAY_CHROMA)))
        self._last = chroma

    def is_color_reliable(self, number: int) -> bool:
        """Whether color differences indicate a cut at this frame."""
        gray = [is_gray for n, is_gray in self._gray if number - 1 <= n <= number]
        if gray and all(gray):
            return False
        return self.sigma() < MAX_CHROMA_NOISE

    def sigma(self) -> float:
        """Standard deviation of the chroma noise, in levels."""
        values = [value for _, value in self._differences]
        return float(np.percentile(values, NOISE_PERCENTILE)) if values else 0.0
