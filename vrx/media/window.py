"""The part of a picture that is read, where it is cropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vrx.errors import UsageError
from vrx.geometry import Crop
from vrx.media.frame import Kind, Layout, Plane
from vrx.media.orientation import Orientation


@dataclass(frozen=True)
class Window:
    """A rectangle in pixels of pictures of a `size` (width, height)."""

    left: int
    top: int
    width: int
    height: int
    size: tuple[int, int]

    @classmethod
    def of(cls, crop: Crop | None, size: tuple[int, int], layout: Layout) -> Window:
        """What is kept of displayed pictures, as ffmpeg's crop filter rounds it: down to complete samples of color.

        Raises UsageError for a part that is not in the picture.
        """
        if crop is None:
            return cls(0, 0, *size, size)
        steps = (1 << layout.shift_x, 1 << layout.shift_y)
        wide, high = (side - side % step for side, step in zip((crop.width, crop.height), steps, strict=True))
        places = (crop.left, crop.top)
        middle = [(side - length) // 2 for side, length in zip(size, (wide, high), strict=True)]
        left, top = (
            (center if place is None else place) // step * step
            for place, center, step in zip(places, middle, steps, strict=True)
        )
        if min(wide, high) < 1:
            text = f"--crop {crop} is too small for {layout.pix_fmt}"
            raise UsageError(text, f"Use at least {steps[0]}:{steps[1]}")
        if min(left, top) < 0 or left + wide > size[0] or top + high > size[1]:
            text = f"--crop {crop} is not a part of the picture"
            raise UsageError(text, f"The video is displayed at {size[0]}x{size[1]}; use WIDTH:HEIGHT:X:Y within that")
        return cls(left, top, wide, high, size)

    @property
    def shape(self) -> tuple[int, int]:
        """Its width and height."""
        return self.width, self.height

    @property
    def is_all(self) -> bool:
        """Whether it is the complete picture."""
        return self.shape == self.size

    def turned(self, turn: Orientation) -> Window:
        """The same part of pictures that are turned."""
        left, top, (wide, high), size = self.left, self.top, self.shape, self.size
        for _ in range(turn.turns):
            left, top, wide, high, size = top, size[0] - left - wide, high, wide, size[::-1]
        return Window(size[0] - left - wide if turn.mirrored else left, top, wide, high, size)

    def on_fields(self, layout: Layout) -> Window:
        """It or one a few rows above, for stored pictures of two fields: each stays the field that it is, color too."""
        return replace(self, top=self.top - self.top % (2 << layout.shift_y))

    def cut(self, planes: Sequence[Plane], layout: Layout) -> tuple[Plane, ...]:
        """The part of the planes [H, W] of a complete picture in a layout."""
        if self.is_all:
            return tuple(planes)
        found = []
        for number, plane in enumerate(planes):
            if layout.kind is Kind.YUV and number in (1, 2):
                left, top = self.left >> layout.shift_x, self.top >> layout.shift_y
                wide, high = layout.chroma_size(*self.shape)
            else:
                left, top, (wide, high) = self.left, self.top, self.shape
            found.append(plane[top : top + high, left : left + wide])
        return tuple(found)

    def cut_mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The part of a mask [H, W] of the complete picture."""
        if self.is_all:
            return mask
        return np.ascontiguousarray(mask[self.top : self.top + self.height, self.left : self.left + self.width])
