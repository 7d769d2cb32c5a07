from fractions import Fraction

import numpy as np
import torch

from vrx.media.frame import Color, Frame, Kind, Layout
from vrx.pipeline.chunking import Chunk, MaskedFrame
from vrx.pipeline.convert import FrameConverter, OutputFormat
from vrx.scenes.detect import Boundary


def test_marked_colors_do_not_reach_the_network_through_their_neighbors() -> None:
    """The pixels around an odd-sized mark have the color of the ground, whatever the mark's is."""
    mask = np.zeros((12, 16), bool)
    mask[3:8, 5:10] = True
    u, v = np.full((6, 8), 100, np.uint8), np.full((6, 8), 140, np.uint8)
    u[1:4, 2:5], v[1:4, 2:5] = 30, 220
    frame = Frame((np.full((12, 16), 120, np.uint8), u, v), Layout(Kind.YUV, 8, 1, 1), Color(), 0, Fraction(1, 25))
    source = MaskedFrame(frame, mask, Boundary.HARD)
    converter = FrameConverter(torch.device("cpu"), OutputFormat(layout=frame.layout, color=Color(), scale=1))
    pixels, _ = converter.to_device(Chunk((source,), 0, 0, 0, ahead=(source,)))
    assert pixels.ahead is not None
    for frames in (pixels.frames, pixels.ahead):
        known = frames[0][:, torch.from_numpy(~mask)]
        torch.testing.assert_close(known, known[:, :1].expand_as(known), atol=1e-4, rtol=0)
