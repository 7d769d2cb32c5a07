"""Frames: planes as stored, pixel layout, color tags and timestamp."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8] | NDArray[np.uint16]


class Kind(StrEnum):
    """The color model of the planes."""

    YUV = "yuv"
    RGB = "rgb"
    GRAY = "gray"


@dataclass(frozen=True)
class Layout:
    """How a picture is stored: `depth` bits a sample, chroma halved `shift_x`, `shift_y` times.

    Planes are Y, U, V or R, G, B or Y, then alpha where there is one.
    """

    kind: Kind
    depth: int
    shift_x: int = 0
    shift_y: int = 0
    alpha: bool = False

    @property
    def peak(self) -> int:
        """The largest sample value."""
        return (1 << self.depth) - 1

    @property
    def pix_fmt(self) -> str:
        """ffmpeg's name of the planar format; gray with alpha has a packed one only."""
        end = f"{self.depth}le" if self.depth > 8 else ""
        if self.kind is Kind.GRAY:
            return "ya" + (end or "8") if self.alpha else f"gray{end}"
        if self.kind is Kind.RGB:
            return ("gbrap" if self.alpha else "gbrp") + end
        ratio = {(0, 0): "444", (1, 0): "422", (1, 1): "420", (0, 1): "440", (2, 0): "411", (2, 2): "410"}
        return f"yuv{'a' if self.alpha else ''}{ratio[self.shift_x, self.shift_y]}p{end}"

    def chroma_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the chroma planes: halves are rounded up."""
        return -(-width >> self.shift_x), -(-height >> self.shift_y)


@dataclass(frozen=True)
class Color:
    """Color tags by ffmpeg's names; an empty name is `unspecified`, `full_range` None is unknown."""

    matrix: str = ""
    primaries: str = ""
    transfer: str = ""
    full_range: bool | None = None
    chroma_location: str = ""


@dataclass(frozen=True)
class Frame:
    """One picture.

    `planes`: [H, W] arrays in the file's own depth, described by `layout`.  `pts` counts `time_base`
    seconds.  `quantizer`: how coarsely it was quantized, on the scale of H.264 (0 to 51); None where that is unknown.
    """

    planes: tuple[Plane, ...]
    layout: Layout
    color: Color
    pts: int
    time_base: Fraction
    interlaced: bool = False
    quantizer: float | None = None

    def __post_init__(self) -> None:
        if len({plane.ndim for plane in self.planes} - {2}):
            raise ValueError(f"planes must be [H, W], got {[p.shape for p in self.planes]}")

    @property
    def width(self) -> int:
        """Pixels per row."""
        return int(self.planes[0].shape[1])

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.planes[0].shape[0])

    @property
    def time(self) -> Fraction:
        """When it is shown, in seconds."""
        return self.pts * self.time_base

    def __repr__(self) -> str:
        return f"Frame({self.width}x{self.height} {self.layout.pix_fmt} at {self.pts} * {self.time_base})"
