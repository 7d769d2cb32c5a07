"""Lettering and plates that look drawn: what tells a logo where the picture stays, as an overlay does.

Drawn areas are of one light, up to what compression makes of it, with an outline that is sharp all around.  Letters of
them stand in a row, near a corner; a plate is a rectangle with letters in it.  Nothing is told from motion here, so it
is for scenes that show none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from vrx.pipeline.mask.lengths import unit_of
from vrx.pipeline.mask.regions import is_apart
from vrx.pipeline.mask.samples import Area, Plane

ZONE = (0.42, 0.3)  # of the picture's width and height, that a corner is
BORDER = 0.015  # of them, that a logo stays away from the border
DIMMEST, BRIGHTEST, STEP = 160, 240, 5  # levels that drawn areas are looked for at
TOLERANCE = 6.0  # levels, that the pixels of an area differ from its light by, at most
EVEN = 3.3  # levels, their deviation
MOST_OFF = 3.0  # levels, that their mean is from the light that was looked for
CONTRAST, AROUND = 25.0, 0.85  # levels that an outline falls by, and the share of it that does
SHORTEST, TALLEST = 8, 60  # pixels, the height of a letter
LEAST_AREA = 8  # pixels
FEWEST = 3  # letters in a row
WIDE = 1.6  # heights, that a row is wide
FILLED = (0.2, 0.8)  # of a row's rectangle, that letters fill
APART, SAME_ROW, ALIKE = 0.7, 0.6, 1.9  # heights between letters, share of rows in common, ratio of heights
PLATE_HEIGHT, PLATE_WIDE = 14, 1.2  # pixels, and heights, of a plate
PLATE_FULL, PLATE_HOLES = 0.93, (0.05, 0.6)  # of its rectangle, that a plate fills; of it, that letters cut out


@dataclass(frozen=True)
class Drawn:
    """A rectangle (left, top, right, bottom) that holds a row of letters, or is a `plate`."""

    box: tuple[int, int, int, int]
    plate: bool


@dataclass(frozen=True)
class Shape:
    """An area [h, w] of one light, from `left` and `top` on, with two pixels around it."""

    left: int
    top: int
    area: Area

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.area.shape[1] - 4, self.area.shape[0] - 4

    def is_beside(self, other: Shape) -> bool:
        """Whether two are letters of one row."""
        (width, height), (wide, high) = self.size, other.size
        tall = max(height, high)
        gap = max(self.left, other.left) - min(self.left + width, other.left + wide)
        common = min(self.top + height, other.top + high) - max(self.top, other.top)
        return gap <= APART * tall and common >= SAME_ROW * min(height, high) and tall <= ALIKE * min(height, high)


def find_drawn(mean: Plane) -> list[Drawn]:
    """Rows of letters and plates near the corners of a picture's mean luma [H, W]."""
    height, width = mean.shape
    unit = unit_of(height)
    high, wide = round(ZONE[1] * height), round(ZONE[0] * width)
    margin = (BORDER * width, BORDER * height)
    found: list[Drawn] = []
    for top in (0, height - high):
        for left in (0, width - wide):
            zone = mean[top : top + high, left : left + wide]
            for box, plate in find_in_zone(zone, unit):
                one = Drawn((box[0] + left, box[1] + top, box[2] + left, box[3] + top), plate)
                x, y = one.box[::2], one.box[1::2]
                inside = min(x[0], width - x[1]) >= margin[0] and min(y[0], height - y[1]) >= margin[1]
                if inside and all(is_apart(one.box, other.box) for other in found):
                    found.append(one)
    return found


def find_in_zone(zone: Plane, unit: float) -> Iterator[tuple[tuple[int, int, int, int], bool]]:
    """Rectangles of rows of letters, and of plates, in a part of a picture."""
    for light in range(DIMMEST, BRIGHTEST, STEP):
        for row in group(find_shapes(zone, light, unit)):
            left, top = min(x.left for x in row), min(x.top for x in row)
            right, bottom = max(x.left + x.size[0] for x in row), max(x.top + x.size[1] for x in row)
            values = np.concatenate([zone[place_of(x)][x.area[2:-2, 2:-2]] for x in row])
            if values.std() > EVEN or abs(float(values.mean()) - light) > MOST_OFF:
                continue
            filled = len(values) / ((right - left) * (bottom - top))
            letters = len(row) >= FEWEST and right - left >= WIDE * (bottom - top)
            if letters and FILLED[0] <= filled <= FILLED[1]:
                yield (left, top, right, bottom), False
            elif len(row) == 1 and is_plate(row[0], unit):
                yield (left, top, right, bottom), True


def place_of(shape: Shape) -> tuple[slice, slice]:
    """The rows and columns of a shape."""
    return slice(shape.top, shape.top + shape.size[1]), slice(shape.left, shape.left + shape.size[0])


def find_shapes(zone: Plane, light: float, unit: float) -> list[Shape]:
    """Areas of a light whose outline is sharp all around."""
    alike = (np.abs(zone - light) <= TOLERANCE).astype(np.uint8)
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(alike)
    x, y, wide, high, size = boxes.T
    fitting = (size >= LEAST_AREA * unit**2) & (high >= SHORTEST * unit) & (high <= TALLEST * unit)
    fitting &= (x >= 3) & (y >= 3) & (x + wide <= zone.shape[1] - 3) & (y + high <= zone.shape[0] - 3)
    fitting[0] = False  # what is not alike
    shapes = []
    for label in np.flatnonzero(fitting):
        left, top, width, height = (int(value) for value in boxes[label, :4])
        spot = (slice(top - 2, top + height + 2), slice(left - 2, left + width + 2))
        own = labels[spot] == label
        inner = own.astype(np.uint8)
        outline = cv2.dilate(inner, np.ones((5, 5), np.uint8)) > cv2.dilate(inner, np.ones((3, 3), np.uint8))
        darkest = cv2.erode(zone[spot], np.ones((3, 3), np.uint8))
        if (light - darkest[outline] >= CONTRAST).mean() >= AROUND:
            shapes.append(Shape(left, top, own))
    return shapes


def group(shapes: list[Shape]) -> list[list[Shape]]:
    """Shapes that are letters of one row, together."""
    rows: list[list[Shape]] = []
    for shape in shapes:
        near = [row for row in rows if any(shape.is_beside(other) for other in row)]
        rows = [row for row in rows if not any(row is other for other in near)]
        rows.append([shape, *(other for row in near for other in row)])
    return rows


def is_plate(shape: Shape, unit: float) -> bool:
    """Whether a shape is a rectangle with letters cut out of it."""
    width, height = shape.size
    if height < PLATE_HEIGHT * unit or width < PLATE_WIDE * height:
        return False
    outlines, _ = cv2.findContours(shape.area.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    whole = cv2.drawContours(np.zeros(shape.area.shape, np.uint8), outlines, -1, 1, cv2.FILLED)
    holes = 1 - shape.area.sum() / whole.sum()
    return bool(whole.sum() >= PLATE_FULL * width * height and PLATE_HOLES[0] <= holes <= PLATE_HOLES[1])
