"""The seconds in which two videos differ most, as one short video that shows all of them below each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from vrx.errors import OutputError
from vrx.media.h264_clip import H264Clip

SECONDS = 6  # of an excerpt
MOST_FRAMES = 360
SIDE = 640  # pixels of the longer side of one picture, at most


@dataclass(frozen=True)
class Excerpt:
    """An MP4 (H.264) of several videos, each picture `size` (width, height), one below the other.

    `start` in seconds and `first`, the number of its first frame, in the first video; `times` of its frames from its
    own start on.
    """

    content: bytes
    size: tuple[int, int]
    start: Fraction
    first: int
    times: tuple[float, ...]


class Window:
    """An excerpt that is being made; `difference`: the sum of its frames'."""

    def __init__(self, size: tuple[int, int], videos: int, start: Fraction, first: int) -> None:
        self.start, self.first, self.difference = start, first, 0.0
        self.times: list[float] = []
        self._size, self._clip = size, H264Clip((size[0], size[1] * videos))

    def covers(self, time: Fraction) -> bool:
        """Whether a frame at a time belongs into it."""
        return time - self.start < SECONDS and len(self.times) < MOST_FRAMES

    def add(self, pictures: Sequence[NDArray[np.uint8]], time: Fraction, difference: float) -> None:
        """One frame of every video."""
        shown = [cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA) for picture in pictures]
        self._clip.add(np.concatenate(shown).astype(np.uint8), time - self.start)
        self.times.append(float(time - self.start))
        self.difference += difference

    def finish(self) -> Excerpt:
        """The excerpt."""
        return Excerpt(self._clip.finish(), self._size, self.start, self.first, tuple(self.times))

    def discard(self) -> None:
        """Give it up."""
        self._clip.discard()


class ExcerptMaker:
    """Makes one excerpt after the other, and keeps the one in which the videos differ most: two are in memory."""

    def __init__(self) -> None:
        self._best: tuple[float, Excerpt] | None = None
        self._window: Window | None = None
        self._problem = ""

    def add(self, pictures: Sequence[NDArray[np.uint8]], number: int, time: Fraction, difference: float) -> None:
        """A frame of every video, RGB [H, W, 3] of one size, and how much they differ."""
        if self._problem:
            return
        try:
            if self._window is not None and not self._window.covers(time):
                self._close()
            if self._window is None:
                self._window = Window(fitted(pictures[0]), len(pictures), time, number)
            self._window.add(pictures, time, difference)
        except OutputError as error:
            self._problem = error.message

    def _close(self) -> None:
        window, self._window = self._window, None
        if window is None:
            return
        if self._best is None or window.difference > self._best[0]:
            self._best = window.difference, window.finish()
        else:
            window.discard()

    def result(self) -> Excerpt | str:
        """The excerpt, or why there is none."""
        if self._problem:
            return self._problem
        self._close()
        if self._best is None or len(self._best[1].times) < 2:
            return "a single frame"
        return self._best[1]


def fitted(picture: NDArray[np.uint8]) -> tuple[int, int]:
    """Width and height at which a picture is shown, even; not enlarged."""
    height, width = picture.shape[:2]
    share = min(1.0, SIDE / max(height, width))
    return even(width * share), even(height * share)


def even(side: float) -> int:
    """The nearest even number of pixels, at least 2; 4:2:0 needs it."""
    return max(2, 2 * round(side / 2))
