from fractions import Fraction

import numpy as np
import pytest

from vrx.media.frame import Color, Frame, Kind, Layout


@pytest.mark.parametrize(
    ("layout", "pix_fmt", "chroma"),
    [
        (Layout(Kind.YUV, 8, 1, 1), "yuv420p", (4, 3)),
        (Layout(Kind.YUV, 10, 1, 0), "yuv422p10le", (4, 5)),
        (Layout(Kind.YUV, 12, alpha=True), "yuva444p12le", (7, 5)),
        (Layout(Kind.YUV, 8, 0, 1), "yuv440p", (7, 3)),
        (Layout(Kind.YUV, 8, 2, 0), "yuv411p", (2, 5)),
        (Layout(Kind.RGB, 16, alpha=True), "gbrap16le", (7, 5)),
        (Layout(Kind.GRAY, 8, alpha=True), "ya8", (7, 5)),
        (Layout(Kind.GRAY, 16), "gray16le", (7, 5)),
    ],
)
def test_layouts_name_their_pixel_format_and_round_chroma_up(
    layout: Layout, pix_fmt: str, chroma: tuple[int, int]
) -> None:
    assert layout.pix_fmt == pix_fmt
    assert layout.chroma_size(7, 5) == chroma
    assert layout.peak == 2**layout.depth - 1


def test_a_frame_has_flat_planes_and_an_exact_time() -> None:
    frame = Frame((np.zeros((6, 8), np.uint8),), Layout(Kind.GRAY, 8), Color(), 1001, Fraction(1, 30000))
    assert (frame.width, frame.height, frame.time) == (8, 6, Fraction(1001, 30000))
    assert repr(frame) == "Frame(8x6 gray at 1001 * 1/30000)"
    with pytest.raises(ValueError, match="planes must be"):
        Frame((np.zeros((6, 8, 3), np.uint8),), Layout(Kind.RGB, 8), Color(), 0, Fraction(1, 25))
