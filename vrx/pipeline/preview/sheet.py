"""The picture of a preview: a column for the source and for each choice, with the whole and the enlarged part.

The part is below the whole, of upright pictures beside it.  More than a few columns are divided into several rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np

from vrx.media.lettering import TEXT_HEIGHT, Picture, draw_text
from vrx.pipeline.pictures import GAP, INDENT, PAPER, magnified, scaled

Size = tuple[int, int]  # width and height

ACROSS = 4  # columns of a row, at most
WIDTH = 1920  # pixels that the columns of a row take together, at most
TALLEST = 540  # pixels of a picture, or of one in every row together, so that all fits onto a screen
SMALLEST = 480  # pixels across to which smaller pictures are enlarged where there is room
NARROWEST = 320  # pixels of a column: names stay readable
LARGEST_PART = 3  # times the part goes into each side of the picture, at least
LEAST_ZOOM = 2
MARKS = (((0, 0, 0), 4), ((255, 210, 0), 2))  # colors and widths of the lines around the part


@dataclass(frozen=True)
class Sheet:
    """Where everything is: `picture` is the size of the pictures, `shown` that of each in its column.

    `rows` with `across` columns each; `zoom`: pixels a side that each pixel of the enlarged part takes.
    """

    rows: int
    across: int
    picture: Size
    shown: Size
    zoom: int

    @classmethod
    def fit(cls, columns: int, picture: Size) -> Sheet:
        """For that many columns of pictures of a size: as large as they are, or as there is room."""
        rows = ceil(columns / ACROSS)
        across = ceil(columns / rows)
        room = (WIDTH - GAP * (across - 1)) // across
        high, wide = TALLEST, SMALLEST
        if picture[1] > picture[0]:
            room, high, wide = (room - GAP) // 2, 2 * TALLEST, SMALLEST // 2
        factor = min(room / picture[0], high / rows / picture[1], max(1.0, wide / picture[0]))
        shown = (max(2, round(picture[0] * factor)), max(2, round(picture[1] * factor)))
        zoom = max(LEAST_ZOOM, *(ceil(LARGEST_PART * shown[side] / picture[side]) for side in (0, 1)))
        return cls(rows, across, picture, shown, zoom)

    @property
    def column(self) -> int:
        """Pixels across of a column."""
        return max(self.shown[0] * (2 if self.beside else 1) + (GAP if self.beside else 0), NARROWEST)

    @property
    def beside(self) -> bool:
        """Whether the part is beside the whole."""
        return self.picture[1] > self.picture[0]

    @property
    def block(self) -> int:
        """Pixels down of a row: a name, the whole and the part."""
        return TEXT_HEIGHT + (self.shown[1] if self.beside else 2 * self.shown[1] + GAP)

    def corner(self, number: int) -> Size:
        """Left and top of a column's name."""
        down, right = divmod(number, self.across)
        return right * (self.column + GAP), TEXT_HEIGHT + down * (self.block + GAP)

    @property
    def part(self) -> Size:
        """Size of the part that is enlarged."""
        width, height = (min(ceil(self.shown[n] / self.zoom), self.picture[n]) for n in (0, 1))
        return width, height

    @property
    def size(self) -> Size:
        """Of all, even."""
        width = self.across * (self.column + GAP) - GAP
        height = TEXT_HEIGHT + self.rows * (self.block + GAP) - GAP
        return width + width % 2, height + height % 2

    def place(self, left: float, top: float) -> Size:
        """Left and top in pixels of a part that is placed in 0..1 of the sides."""
        (width, height), part = self.picture, self.part
        return min(round(left * width), width - part[0]), min(round(top * height), height - part[1])

    def draw(self, title: str, names: Sequence[str], pictures: Iterable[Picture], place: Size) -> Picture:
        """The sheet with pictures in their columns, and the part at `place` (left, top) of each."""
        canvas = np.full((self.size[1], self.size[0], 3), PAPER, np.uint8)
        draw_text(canvas, title, INDENT, 0)
        for number, (name, picture) in enumerate(zip(names, pictures, strict=True)):
            left, top = self.corner(number)
            draw_text(canvas, name, left + INDENT, top, self.column - 2 * INDENT)
            whole = np.ascontiguousarray(scaled(picture, self.shown))
            self._mark(whole, place)
            part = picture[place[1] : place[1] + self.part[1], place[0] : place[0] + self.part[0]]
            large = magnified(part, self.zoom)[: self.shown[1], : self.shown[0]]
            top += TEXT_HEIGHT
            for shown in (whole, large):
                canvas[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
                left, top = self._after(left, top)
        return canvas

    def _after(self, left: int, top: int) -> Size:
        """Left and top of the part, from those of the whole."""
        return (left + self.shown[0] + GAP, top) if self.beside else (left, top + self.shown[1] + GAP)

    def _mark(self, whole: Picture, place: Size) -> None:
        """Draw a frame around the part."""
        corners = []
        for corner in (place, (place[0] + self.part[0], place[1] + self.part[1])):
            x, y = (round(corner[n] * self.shown[n] / self.picture[n]) for n in (0, 1))
            corners.append((min(x, self.shown[0] - 1), min(y, self.shown[1] - 1)))
        for color, width in MARKS:
            cv2.rectangle(whole, corners[0], corners[1], color, width)
