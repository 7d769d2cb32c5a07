from fractions import Fraction

import numpy as np
import pytest

from tests.pipeline.frames import frame
from vrx.media.frame import Color, Frame, Kind, Layout
from vrx.scenes.thumbnail import make_thumbnail


@pytest.mark.parametrize(
    ("layout", "level", "full"),
    [
        (Layout(Kind.YUV, 8, 1, 1), 126, False),
        (Layout(Kind.YUV, 10, 1, 1), 504, False),
        (Layout(Kind.GRAY, 8), 128, True),
    ],
)
def test_thumbnails_are_gray_where_the_picture_is(layout: Layout, level: int, full: bool) -> None:
    kind = np.uint8 if layout.depth == 8 else np.uint16
    neutral = 128 << (layout.depth - 8)
    planes = [np.full((64, 96), level, kind)]
    if layout.kind is Kind.YUV:
        planes += [np.full((32, 48), neutral, kind)] * 2
    picture = make_thumbnail(Frame(tuple(planes), layout, Color(full_range=full), 0, Fraction(1, 25)))
    assert picture.shape == (64, 96, 3)
    assert np.abs(picture.astype(int) - 128).max() <= 1


def test_large_pictures_become_small() -> None:
    assert make_thumbnail(frame(0, (1030, 515))).shape[1] <= 300


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("matrix", ["bt709", "smpte170m"])
def test_colors_are_converted_by_the_tagged_matrix_and_range(matrix: str, full: bool) -> None:
    """Pure red, as BT.709 and BT.601 define its luma and chroma, is blue 0, green 0, red 255."""
    luma, blue, red = {"bt709": (0.2126, -0.1146, 0.5), "smpte170m": (0.299, -0.1687, 0.5)}[matrix]
    scale, offset, spread = (255, 0, 255) if full else (219, 16, 224)
    levels = (offset + scale * luma, 128 + spread * blue, 128 + spread * red)
    planes = tuple(np.full((8, 8), min(255, round(level)), np.uint8) for level in levels)
    picture = make_thumbnail(Frame(planes, Layout(Kind.YUV, 8), Color(matrix, full_range=full), 0, Fraction(1, 25)))
    assert np.abs(picture[0, 0].astype(int) - (0, 0, 255)).max() <= 2
