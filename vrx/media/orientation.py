"""Orientation: display matrices, and planes rotated and mirrored accordingly.

FFmpeg makes a display matrix of any orientation tag: the matrix of MP4 and MOV, the projection of
Matroska, the orientation in the EXIF data of JPEG, PNG, WebP and TIFF, `irot` and `imir` of HEIC and AVIF,
and the display orientation message of H.264 and HEVC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import atan2, degrees
from typing import Any, TypeVar, cast

import av.filter
import numpy as np
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from vrx.media.frame import Color, Kind, Layout

ORIENTATION_CONTAINERS = {"mp4", "mov", "matroska"}  # containers whose orientation players apply; few do for WebM
ANGLE_TOLERANCE = 1.0  # degrees from a right angle that still count as one, as in ffmpeg's own player
TRANSPOSED_CHROMA = {"": "top", "left": "top", "top": "left"}  # chroma location; untagged means left
KNOWN_KINDS = {kind.value for kind in Type} - {Type.ICC_PROFILE.value}  # a profile's name would be freed twice
UNREADABLE_KINDS = sorted(
    set(range(40)) - KNOWN_KINDS
)  # FFmpeg 8 has 32 kinds of side data; PyAV raises for those it lacks
Sample = TypeVar("Sample", bound=np.generic)


@dataclass(frozen=True)
class Orientation:
    """From stored to shown: `turns` quarter turns counterclockwise, then `mirrored` left to right.

    These are the eight values of EXIF, and what ffmpeg's `-display_rotation` and `-display_hflip` say.
    """

    turns: int = 0
    mirrored: bool = False

    @property
    def swaps_axes(self) -> bool:
        """Whether width and height change places."""
        return self.turns % 2 == 1

    @property
    def inverse(self) -> Orientation:
        """From shown to stored."""
        return self if self.mirrored else Orientation(-self.turns % 4)

    @property
    def rotation(self) -> int:
        """Counterclockwise degrees, -90 to 180."""
        return {0: 0, 1: 90, 2: 180, 3: -90}[self.turns]

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) as shown."""
        return (size[1], size[0]) if self.swaps_axes else size

    def aspect(self, aspect: Fraction) -> Fraction:
        """The shape of a shown pixel, width by height; 0 is unknown and stays so."""
        return 1 / aspect if self.swaps_axes and aspect else aspect

    def layout(self, layout: Layout) -> Layout:
        """The layout of shown planes: chroma is halved along the other axis."""
        return replace(layout, shift_x=layout.shift_y, shift_y=layout.shift_x) if self.swaps_axes else layout

    def color(self, color: Color, layout: Layout) -> Color:
        """The color of displayed planes: left-sited chroma becomes top-sited.

        Samples are moved and never mixed.  That a mirror moves chroma from the left to the right of its
        pair, half a sample, no tag can say, and ffmpeg's own filters leave unsaid.
        """
        if not self.swaps_axes or layout.kind is not Kind.YUV or not (layout.shift_x or layout.shift_y):
            return color
        place = color.chroma_location
        return replace(color, chroma_location=TRANSPOSED_CHROMA.get(place, place))

    def turn(self, plane: NDArray[Sample]) -> NDArray[Sample]:
        """A stored plane [H, W] as shown."""
        turned = np.rot90(plane, self.turns)
        return np.ascontiguousarray(turned[:, ::-1] if self.mirrored else turned)

    def __str__(self) -> str:
        way = {1: " counterclockwise", 3: " clockwise"}.get(self.turns, "")
        words = [f"rotated by {abs(self.rotation)} degrees{way}"] if self.turns else []
        return " and ".join([*words, *(["mirrored"] if self.mirrored else [])]) or "upright"


UPRIGHT = Orientation()


def parse_display_matrix(matrix: Sequence[int]) -> Orientation | None:
    """The orientation of a display matrix; None where it is not a multiple of 90 degrees.

    `matrix` has nine numbers (a b u, c d v, x y w): a stored point (p, q) is shown at (ap + cq, bp + dq),
    with rows counted downward.  Sizes and places in it are not looked at.
    """
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    mirrored = a * d - b * c < 0
    if mirrored:
        a, c = -a, -c
    if not (a or b) or not (c or d):
        return None
    angles = (degrees(atan2(-b, a)), degrees(atan2(c, d)))  # of rows and of columns, counterclockwise
    turns = {round(angle / 90) % 4 for angle in angles}
    if len(turns) > 1 or any(abs(angle - 90 * round(angle / 90)) > ANGLE_TOLERANCE for angle in angles):
        return None
    return Orientation(turns.pop(), mirrored)


def read_orientation(picture: VideoFrame) -> Orientation | None:
    """Orientation of a decoded picture; None where it is not a multiple of 90 degrees."""
    matrix = read_display_matrix(picture)
    return UPRIGHT if matrix is None else parse_display_matrix(matrix)


def read_display_matrix(picture: VideoFrame) -> list[int] | None:
    """The nine numbers of a picture's display matrix, of which PyAV exposes an angle only.

    PyAV wraps all side data at once, raises for kinds it does not know (EXIF data among them) and later
    crashes on color profiles of PNG pictures: FFmpeg filters remove those first.
    """
    graph = av.filter.Graph()
    tick = Fraction(1, 25)  # seconds; a filter wants a time base, and these do not use it
    last = graph.add_buffer(width=picture.width, height=picture.height, format=picture.format, time_base=tick)
    for kind in UNREADABLE_KINDS:
        deletion = graph.add("sidedata", f"mode=delete:type={kind}")
        last.link_to(deletion)
        last = deletion
    last.link_to(graph.add("buffersink"))
    graph.configure()
    graph.vpush(picture)
    found = cast(Any, graph.vpull()).side_data
    wanted = [bytes(data) for data in found if data.type is Type.DISPLAYMATRIX]
    return np.frombuffer(wanted[0], "<i4").tolist() if wanted else None
