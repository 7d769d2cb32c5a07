from dataclasses import replace
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


def test_frames_to_which_nothing_was_done_have_the_samples_of_the_source() -> None:
    rng = np.random.default_rng(2)
    planes = tuple(rng.integers(16, 235, shape, np.uint8) for shape in ((12, 16), (6, 8), (6, 8)))
    layout = Layout(Kind.YUV, 8, 1, 1)
    chunk = Chunk((MaskedFrame(Frame(planes, layout, Color(), 0, Fraction(1, 25)), None, Boundary.HARD),), 0, 0, 0)
    converter = FrameConverter(torch.device("cpu"), OutputFormat(layout=layout, color=Color(), scale=1))
    pixels, bypass = converter.to_device(chunk)
    (result,) = converter.to_frames(chunk, pixels.frames, replace(bypass, unchanged=True))
    assert all(np.array_equal(a, b) for a, b in zip(result.planes, planes, strict=True))
    (result,) = converter.to_frames(chunk, pixels.frames, bypass)
    assert not np.array_equal(result.planes[1], planes[1])  # colors between samples do not come back exactly
