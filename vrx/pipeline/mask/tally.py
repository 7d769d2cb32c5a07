"""Whether spots that single frames have are dust and scratches of film, or parts of what moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CELLS = 4  # parts a side of a picture, over which dust is spread
LEAST_SPOTS = 8  # in all
LEAST_RATE = 0.1  # spots a frame
MOST_IN_CELL = 0.35  # share of all that one part may have: more is something that moves there
LEAST_SCRATCHES = 3


class SpotTally:
    """Counts spots by where they are."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._width, self._height = size
        self._cells = np.zeros((CELLS, CELLS), np.int64)
        self.frames = self.dust = self.scratches = 0

    def add(self, centers: NDArray[np.float64], scratches: int) -> None:
        """The spots of one frame: centers [n, 2], x and y, of its dust, and how many scratches it has."""
        self.frames += 1
        self.dust += len(centers)
        self.scratches += scratches
        for x, y in centers:
            self._cells[int(y * CELLS / self._height), int(x * CELLS / self._width)] += 1

    @property
    def has_dust(self) -> bool:
        """Whether there is dust: many spots, all over the picture."""
        enough = self.dust >= max(LEAST_SPOTS, LEAST_RATE * self.frames)
        occupied = int(np.count_nonzero(self._cells))
        spread = self._cells.max() <= MOST_IN_CELL * max(1, self.dust) and occupied >= min(CELLS * 2, self.dust // 2)
        return bool(enough and spread)

    @property
    def has_scratches(self) -> bool:
        """Whether there are scratches."""
        return self.scratches >= LEAST_SCRATCHES
