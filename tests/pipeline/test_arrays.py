"""Frames in memory: what is taken, and that it comes back as it was."""

from typing import Any

import numpy as np
import pytest
import torch

from vrx.errors import UsageError
from vrx.pipeline.arrays import ArrayConverter, array_to_rgb, describe_array, keep_unmasked, rgb_to_array, wrap_array
from vrx.pipeline.chunking import Chunk, MaskedFrame
from vrx.scenes.detect import Boundary

CPU = torch.device("cpu")
NUMPY = [np.uint8, np.uint16, np.float16, np.float32, np.float64]
TORCH = [torch.uint8, torch.uint16, torch.float16, torch.bfloat16, torch.float32, torch.float64]


def array(dtype: Any, size: tuple[int, int] = (6, 4)) -> Any:
    """A frame of every value from black to white."""
    ramp = np.linspace(0, 1, size[0] * size[1] * 3).reshape(size[1], size[0], 3)
    if isinstance(dtype, torch.dtype):
        peak = {torch.uint8: 255, torch.uint16: 65535}.get(dtype)
        tensor = torch.from_numpy(ramp).permute(2, 0, 1)
        return tensor.to(dtype) if peak is None else (tensor * peak).round().to(torch.int32).to(dtype)
    return (
        (ramp * np.iinfo(dtype).max).round().astype(dtype) if np.issubdtype(dtype, np.integer) else ramp.astype(dtype)
    )


@pytest.mark.parametrize("dtype", [*NUMPY, *TORCH], ids=str)
def test_an_array_comes_back_as_it_was(dtype: Any) -> None:
    frame = array(dtype)
    form = describe_array(frame, 0)
    picture = array_to_rgb(frame, form, CPU)
    assert picture.shape == (3, 4, 6)
    assert picture.dtype is torch.float32
    assert (float(picture.min()), float(picture.max())) == (0, 1)
    back = rgb_to_array(picture, form)
    assert type(back) is type(frame)
    assert back.dtype == frame.dtype
    assert back.shape == frame.shape
    assert np.array_equal(np.asarray(back.tolist()), np.asarray(frame.tolist())) or dtype in (np.float64, torch.float64)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (np.zeros((4, 6), np.uint8), "shape.*gray"),
        (np.zeros((4, 6, 4), np.uint8), "shape.*alpha"),
        (np.zeros((3, 4, 6), np.uint8), r"shape \[3, 4, 6\]"),
        (np.zeros((4, 6, 3), np.int64), "int64"),
        (np.zeros((0, 6, 3), np.uint8), "empty"),
        (torch.zeros(4, 6, 3), "permute"),
        (torch.zeros(3, 4, 6, dtype=torch.int64), "int64"),
        ("frame.png", "of type str.*VideoReader"),
        (np.full((4, 6, 3), 200.0, np.float32), "divide by 255"),
        (np.full((4, 6, 3), np.nan, np.float32), "values of nan"),
    ],
)
def test_what_is_no_frame_is_refused_with_advice(frame: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        wrap_array(frame, 0, None, detect=True)


def test_frames_of_two_kinds_are_refused() -> None:
    first = wrap_array(array(np.uint8), 0, None, detect=False)
    for other in (array(np.uint16), array(np.uint8, (6, 5)), array(torch.uint8)):
        with pytest.raises(UsageError, match=r"frame 1 is .* the frames before it are 6x4 uint8"):
            wrap_array(other, 1, first.form, detect=False)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, torch.uint8, torch.uint16, torch.float32], ids=str)
def test_scene_detection_sees_the_picture(dtype: Any) -> None:
    frame = wrap_array(array(dtype), 0, None, detect=True)
    assert (frame.width, frame.height, len(frame.planes)) == (6, 4, 3)
    expected = np.linspace(0, 1, 72).reshape(4, 6, 3)
    for channel, plane in enumerate(frame.planes):
        assert np.abs(plane / frame.layout.peak - expected[..., channel]).max() < 0.003


def test_planes_are_not_made_where_no_scenes_are_looked_for() -> None:
    frame = wrap_array(array(np.float32, (640, 480)), 0, None, detect=False)
    assert (frame.width, frame.height) == (640, 480)
    assert frame.planes[0].strides == (0, 0)


@pytest.mark.parametrize("dtype", [*NUMPY, *TORCH], ids=str)
def test_unmasked_pixels_stay_exactly_what_they_were(dtype: Any) -> None:
    source = array(dtype)
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:5] = True
    frame = wrap_array(source, 0, None, detect=False)
    chunk = Chunk((MaskedFrame(frame, mask, Boundary.HARD),), 1, 0, 0)
    converter = ArrayConverter(CPU, 1, 1.0, known=True)
    device, bypass = converter.to_device(chunk)
    assert device.masks is not None
    assert device.frames.shape == (2, 3, 4, 6)
    (result,) = converter.to_frames(chunk, torch.full((2, 3, 4, 6), 0.3), bypass)
    new, old = (np.asarray(x.tolist()) for x in (result, source))
    marked = np.broadcast_to(mask if isinstance(dtype, torch.dtype) else mask[..., None], new.shape)
    assert np.array_equal(new[~marked], old[~marked])
    assert len(set(new[marked].tolist())) == 1


def test_blend_mixes_with_the_enlarged_source() -> None:
    frame = wrap_array(np.full((4, 6, 3), 200, np.uint8), 0, None, detect=False)
    chunk = Chunk((MaskedFrame(frame, None, Boundary.HARD),), 0, 0, 0)
    converter = ArrayConverter(CPU, 2, 0.25, known=False)
    _, bypass = converter.to_device(chunk)
    (result,) = converter.to_frames(chunk, torch.zeros(1, 3, 8, 12), bypass)
    assert np.array_equal(result, np.full((8, 12, 3), 150, np.uint8))


def test_keep_unmasked_takes_the_result_where_all_is_marked() -> None:
    result, source = np.ones((2, 2, 3)), np.zeros((2, 2, 3))
    assert np.array_equal(keep_unmasked(result, source, np.ones((2, 2), bool)), result)
