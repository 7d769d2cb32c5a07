"""Dead pixels: single ones that stand out from those around them in the same way, whatever the picture shows."""

from __future__ import annotations

import cv2
import numpy as np

from vrx.pipeline.mask.samples import Area, Luma

LEVELS = 12  # that one stands out by
LEAST_SAMPLES = 8  # of changed pictures
SHARE = 0.85  # of the samples that show it
CLEAR, MOSTLY = 28.0, 0.6  # levels that one stands out by in the mean, and share of the samples: as good as the above
LITTLE = 2.0  # steadiness of the scene, beyond which only that counts: its own dots stay nearly as long
OFTEN = 0.3  # of the samples, that dots of a texture are seen in
MOST_USUAL = 4.0  # steadiness of the scene, beyond which its own dots stay as well
FAINT = 6.0  # levels that these stand out by in the mean: dots of what moves are not at one place
SIDE = 5  # pixels a side that it is compared with
MOST_AREA = 9  # pixels that touch each other
CROWD, MOST_NEAR = 41, 3  # pixels a side that hold more of them than that: it is texture


class DeadPixelFinder:
    """Counts in samples of changed pictures.  Memory is that of a few pictures."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._above, self._below = (np.zeros(size[::-1], np.uint32) for _ in range(2))
        self._sum = np.zeros(size[::-1])
        self._samples = 0

    def add(self, luma: Luma) -> None:
        """The next sample."""
        usual = cv2.medianBlur(luma, SIDE)
        self._above += cv2.subtract(luma, usual) >= LEVELS
        self._below += cv2.subtract(usual, luma) >= LEVELS
        self._sum += luma.astype(np.float32) - usual
        self._samples += 1

    def finish(self, other: Area, usual: float | None) -> tuple[Area, int]:
        """Where dead pixels are, but for `other` finds, and how many; `usual`: how steady the scene is."""
        found = np.zeros(other.shape, bool)
        if self._samples < LEAST_SAMPLES or usual is None or usual > MOST_USUAL:
            return found, 0
        inner = np.zeros(other.shape, bool)
        inner[1:-1, 1:-1] = ~other[1:-1, 1:-1]
        shown = np.maximum(self._above, self._below)
        always = (shown >= MOSTLY * self._samples) & (np.abs(self._sum) >= CLEAR * self._samples)
        if usual <= LITTLE:
            always |= shown >= SHARE * self._samples
        always &= inner
        count, labels, boxes, centers = cv2.connectedComponentsWithStats(always.astype(np.uint8), connectivity=8)
        often = (shown >= OFTEN * self._samples) & (np.abs(self._sum) >= FAINT * self._samples) & ~other
        _, _, _, middles = cv2.connectedComponentsWithStats(often.astype(np.uint8), connectivity=8)
        marks = np.zeros(other.shape, np.float32)
        near, places = (np.round(x[1:]).astype(int) for x in (middles, centers))
        marks[near[:, 1], near[:, 0]] = 1
        crowd = cv2.boxFilter(marks, -1, (CROWD, CROWD), normalize=False)
        total = 0
        for label in range(1, count):
            x, y = places[label - 1]
            if boxes[label][cv2.CC_STAT_AREA] <= MOST_AREA and round(float(crowd[y, x])) <= MOST_NEAR:
                found |= labels == label
                total += 1
        return found, total
