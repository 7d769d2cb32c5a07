"""One copy each way for a chunk: the same values, and the same files, as with a copy for every plane."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vrx.media.frame import Color, Frame, Kind, Layout
from vrx.models.base import DeviceChunk
from vrx.pipeline import packing
from vrx.pipeline.chunking import Chunk, MaskedFrame
from vrx.pipeline.convert import FrameConverter, OutputFormat
from vrx.pipeline.packing import download, narrow, packs, starts, upload
from vrx.scenes.detect import Boundary

CPU = torch.device("cpu")
SIZE = (7, 10)  # height and width: odd rows, so that chroma is rounded up
LAYOUTS = [
    Layout(Kind.YUV, 8, 1, 1),
    Layout(Kind.YUV, 10, 1, 0),
    Layout(Kind.YUV, 16, 0, 0, alpha=True),
    Layout(Kind.RGB, 8),
    Layout(Kind.RGB, 16, alpha=True),
    Layout(Kind.GRAY, 12),
]


def plane(size: tuple[int, int], depth: int, seed: int) -> Any:
    kind = np.uint8 if depth == 8 else np.uint16
    return np.random.default_rng(seed).integers(0, 1 << depth, size).astype(kind)


def make_frame(layout: Layout, number: int) -> Frame:
    chroma = layout.chroma_size(SIZE[1], SIZE[0])[::-1]
    sizes = {Kind.YUV: [SIZE, chroma, chroma], Kind.RGB: [SIZE] * 3, Kind.GRAY: [SIZE]}[layout.kind]
    sizes += [SIZE] * layout.alpha
    planes = tuple(plane(size, layout.depth, 10 * number + place) for place, size in enumerate(sizes))
    return Frame(planes, layout, Color(matrix="bt709", full_range=False), number, Fraction(1, 25))


def make_chunk(layout: Layout, masked: bool) -> Chunk:
    masks = [plane(SIZE, 8, 100 + number) > 200 if masked else None for number in range(5)]
    frames = [MaskedFrame(make_frame(layout, number), masks[number], Boundary.NONE) for number in range(5)]
    return Chunk(tuple(frames[:3]), 1, 0, 0, (frames[3], frames[4], frames[4]))


def values(found: Any) -> list[Tensor]:
    names = ("frames", "masks", "ahead", "chroma_masks", "ahead_masks", "ahead_chroma_masks")
    return [value for value in (getattr(found, name) for name in names) if value is not None]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.pix_fmt)
def test_a_chunk_is_the_same_in_one_copy_and_in_many(layout: Layout, masked: bool) -> None:
    output = OutputFormat(layout=layout, color=Color(matrix="bt709", full_range=False), scale=1, known=masked)
    chunk = make_chunk(layout, masked)
    made: list[tuple[DeviceChunk, list[Frame]]] = []
    for packed in (False, True):
        converter = FrameConverter(CPU, output, packed)
        on_device, bypass = converter.to_device(chunk)
        made.append((on_device, converter.to_frames(chunk, on_device.frames * 0.9, bypass)))
    for one, other in zip(values(made[0][0]), values(made[1][0]), strict=True):
        assert torch.equal(one, other)
    assert len(made[0][1]) == len(made[1][1]) == 3
    for first, second in zip(made[0][1], made[1][1], strict=True):
        assert first.pts == second.pts
        for a, b in zip(first.planes, second.planes, strict=True):
            assert a.dtype == b.dtype == (np.uint8 if layout.depth == 8 else np.uint16)
            assert np.array_equal(a, b)


def test_planes_that_are_parts_of_wider_ones_are_packed_too() -> None:
    """As decoders give them, with a margin at the end of each row."""
    wide = plane((6, 32), 10, 1)
    (found,) = upload([wide[:, :21]], CPU, packed=True)
    assert np.array_equal(found.numpy(), wide[:, :21])


def test_all_values_of_sixteen_bits_survive_both_ways() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)
    for packed in (False, True):
        (there,) = upload([every], CPU, packed)
        (back,) = download([narrow(there, 16)], packed)
        assert np.array_equal(back, every)


def test_pieces_begin_where_any_type_may() -> None:
    assert starts([1, 16, 17, 0]) == [0, 16, 32, 64, 64]


def count_copies(monkeypatch: pytest.MonkeyPatch, packed: bool) -> int:
    """Copies to another device: a device without numbers."""
    copies, to = [], Tensor.to

    def counted(tensor: Tensor, target: Any, *more: Any, **options: Any) -> Tensor:
        copies.extend([True] * isinstance(target, torch.device))
        return to(tensor, target, *more, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Tensor, "to", counted)
        layout = LAYOUTS[0]
        output = OutputFormat(layout=layout, color=Color(matrix="bt709", full_range=False), scale=1)
        FrameConverter(torch.device("meta"), output, packed).to_device(make_chunk(layout, masked=False))
    return len(copies)


def test_a_chunk_travels_in_one_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert count_copies(monkeypatch, packed=True) == 1
    assert count_copies(monkeypatch, packed=False) == 5 * 3  # planes of five frames


@pytest.mark.cuda
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.pix_fmt)
def test_a_gpu_gives_the_same_in_one_copy_and_in_many(layout: Layout) -> None:
    output = OutputFormat(layout=layout, color=Color(matrix="bt709", full_range=False), scale=1)
    chunk, made = make_chunk(layout, masked=True), []
    for packed in (False, True):
        converter = FrameConverter(torch.device("cuda"), output, packed)
        on_device, bypass = converter.to_device(chunk)
        made.append(converter.to_frames(chunk, on_device.frames, bypass))
    for first, second in zip(*made, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(first.planes, second.planes, strict=True))


@pytest.mark.parametrize(
    ("device", "word", "expected"), [("cuda", "on", True), ("cuda", "off", False), ("cpu", "on", False)]
)
def test_copies_are_packed_to_a_gpu_unless_it_is_said(
    device: str, word: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VRX_PACKED", word)
    assert packs(torch.device(device)) is expected
    assert packing.ALIGNMENT % 2 == 0
