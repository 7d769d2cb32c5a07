from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from vrx.media.frame import Color, Frame, Kind, Layout
from vrx.pipeline import convert
from vrx.pipeline.chunking import Chunk, MaskedFrame
from vrx.pipeline.colorspace import masked_chroma, to_picture
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


def test_quantizers_come_with_the_frames_the_padding_and_those_ahead() -> None:
    planes = tuple(np.full(shape, 90, np.uint8) for shape in ((8, 8), (4, 4), (4, 4)))
    frames = [
        Frame(planes, Layout(Kind.YUV, 8, 1, 1), Color(), 0, Fraction(1, 25), quantizer=q) for q in (20, 24, None)
    ]
    first, second, ahead = (MaskedFrame(frame, None, Boundary.NONE) for frame in frames)
    converter = FrameConverter(torch.device("cpu"), OutputFormat(layout=frames[0].layout, color=Color(), scale=1))
    pixels, _ = converter.to_device(Chunk((first, second), 2, 0, 0, ahead=(ahead,)))
    assert pixels.quantizers == (20, 24, 24, 24, None)
    pixels, _ = converter.to_device(Chunk((ahead,), 0, 0, 0))
    assert pixels.quantizers == ()


def test_frames_ahead_are_converted_once_with_their_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    layout, sources, masks = Layout(Kind.YUV, 8, 1, 1), [], []
    for number in range(4):
        masks.append(mask := np.zeros((8, 8), bool))
        mask[2:4, number : number + 2] = True
        planes = np.full((8, 8), 40 * number, np.uint8), *[np.full((4, 4), 128, np.uint8)] * 2
        sources.append(MaskedFrame(Frame(planes, layout, Color(), number, Fraction(1, 25)), mask, Boundary.NONE))
    calls = []

    def counted(*arguments: object) -> object:
        calls.append(arguments)
        return to_picture(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(convert, "to_picture", counted)
    converter = FrameConverter(torch.device("cpu"), OutputFormat(layout=layout, color=Color(), scale=1))
    first, _ = converter.to_device(Chunk((sources[0],), 0, 0, 0, ahead=(sources[1], sources[2])))
    second, _ = converter.to_device(Chunk((sources[1],), 0, 1, 1, ahead=(sources[2], sources[3])))
    third, _ = converter.to_device(Chunk((sources[2], sources[3]), 0, 2, 2, ahead=(sources[3], sources[3])))
    assert len(calls) == 4
    assert first.ahead is not None
    assert first.ahead_masks is not None
    assert torch.equal(first.ahead[:1], second.frames)
    assert torch.equal(first.ahead_masks[0, 0] > 0, torch.from_numpy(masks[1]))
    assert third.masks is not None
    assert third.ahead_masks is not None
    assert torch.equal(third.masks[1:], third.ahead_masks[:1])


def test_chroma_that_is_shared_with_marked_pixels_is_known_in_part_around_them() -> None:
    mask = np.zeros((8, 8), bool)
    mask[2, 2] = True
    planes = np.full((8, 8), 99, np.uint8), *[np.zeros((4, 4), np.uint8)] * 2
    frame = Frame(planes, Layout(Kind.YUV, 8, 1, 1), Color(), 0, Fraction(1, 25))
    unknown = masked_chroma(to_picture(frame, torch.device("cpu"), mask), frame, mask)
    assert unknown.shape == (1, 8, 8)
    assert unknown[0, 2, 2] > 0.5
    assert unknown[0, 3, 3] > 0.3
    assert unknown[0, 6:].max() == 0
    full = Frame((planes[0],) * 3, Layout(Kind.YUV, 8), Color(), 0, Fraction(1, 25))
    known = to_picture(full, torch.device("cpu"), mask)
    assert torch.equal(masked_chroma(known, full, mask)[0], torch.from_numpy(mask).float())
