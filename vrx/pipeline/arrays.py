"""Frames in memory: numpy arrays and torch tensors to the device and back, of the same kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import PurePath
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vrx.errors import UsageError
from vrx.media.frame import Color, Frame, Kind, Layout, Plane
from vrx.models.base import DeviceChunk
from vrx.pipeline.chunking import Chunk, MaskedFrame
from vrx.pipeline.convert import Bypass, enlarge

Array = NDArray[Any] | Tensor
Picture = Frame | Array
PEAKS: dict[object, int] = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535, torch.uint8: 255, torch.uint16: 65535}
NUMPY_FLOATS = {np.dtype(kind) for kind in (np.float16, np.float32, np.float64)}
TORCH_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
RATE = Fraction(25)  # frames in memory have no times; only their order counts
RGB_COLOR = Color(matrix="rgb", full_range=True)
FORM = "Give RGB frames: arrays [H, W, 3] or tensors [3, H, W], uint8, uint16, or float in 0..1"


@dataclass(frozen=True)
class ArrayFormat:
    """What frames in memory are: `size` (height, width), `dtype` of numpy or torch, `device` of a tensor, else None."""

    size: tuple[int, int]
    dtype: Any
    device: torch.device | None

    @property
    def peak(self) -> int:
        """The value of white."""
        return PEAKS.get(self.dtype, 1)

    def __str__(self) -> str:
        return f"{self.size[1]}x{self.size[0]} {self.dtype}" + (f" on {self.device}" if self.device else "")


def describe_array(array: object, number: int) -> ArrayFormat:
    """The format of frame `number`.  Raises UsageError for anything but an RGB frame."""
    if isinstance(array, Tensor):
        if array.ndim != 3 or array.shape[0] != 3:
            hint = "Tensors are [3, H, W]: use x.permute(2, 0, 1)" if array.shape[-1:] == (3,) else FORM
            raise UsageError(f"frame {number} is a tensor of shape {list(array.shape)}", hint)
        known, dtype = array.dtype in PEAKS or array.dtype in TORCH_FLOATS, array.dtype
        found = ArrayFormat((array.shape[1], array.shape[2]), dtype, array.device)
    elif isinstance(array, np.ndarray):
        if array.ndim != 3 or array.shape[2] != 3:
            raise UsageError(f"frame {number} is an array of shape {list(array.shape)}", shape_hint(array))
        known, dtype = array.dtype in PEAKS or array.dtype in NUMPY_FLOATS, array.dtype
        found = ArrayFormat((array.shape[0], array.shape[1]), dtype, None)
    else:
        hint = "The frames of a file are given by vrx.VideoReader(path)" if isinstance(array, str | PurePath) else FORM
        raise UsageError(f"frame {number} is of type {type(array).__name__}", hint)
    if not known:
        raise UsageError(f"frame {number} has the type {dtype}", FORM)
    if not min(found.size):
        raise UsageError(f"frame {number} is empty: {found}", FORM)
    return found


def shape_hint(array: NDArray[Any]) -> str:
    """What to do about an array that is not an RGB frame."""
    if array.ndim == 2:
        return "For gray frames: np.stack([x] * 3, -1); frames come in an iterable, a single one as [x]"
    if array.ndim == 3 and array.shape[2] == 4:
        return "Frames in memory have no alpha: use x[..., :3]"
    return FORM


def array_to_rgb(array: Any, form: ArrayFormat, device: torch.device) -> Tensor:
    """A frame in memory as [3, H, W], float32 in 0..1 on a device."""
    if isinstance(array, Tensor):
        tensor = array.detach().to(torch.int32) if array.dtype is torch.uint16 else array.detach()
    else:
        plain = array.astype(np.int32) if array.dtype == np.uint16 else np.ascontiguousarray(array)
        tensor = torch.from_numpy(plain).permute(2, 0, 1)
    return tensor.to(device).float() / form.peak


def rgb_to_array(picture: Tensor, form: ArrayFormat) -> Array:
    """[3, H, W] in 0..1 as a frame in memory of a format's kind, in a size of its own."""
    if form.peak > 1:
        picture = (picture.float() * form.peak).round().clamp(0, form.peak).to(torch.int32)
    if form.device is not None:
        return picture.to(form.device, form.dtype)
    return np.ascontiguousarray(picture.permute(1, 2, 0).cpu().numpy().astype(form.dtype))


@dataclass(frozen=True, eq=False)
class ArrayFrame(Frame):
    """A frame in memory; its planes, of 8 or 16 bits, are for scene detection only."""

    array: Any = field(default=None, kw_only=True)
    form: ArrayFormat = field(default=ArrayFormat((1, 1), None, None), kw_only=True)


def wrap_array(array: Any, number: int, expected: ArrayFormat | None, detect: bool) -> ArrayFrame:
    """Frame `number`, checked: `expected` is the format of those before it, `detect` whether scenes are looked for.

    Raises UsageError.
    """
    array = array.detach() if isinstance(array, Tensor) else array
    form = describe_array(array, number)
    if expected is not None and form != expected:
        raise UsageError(f"frame {number} is {form}, the frames before it are {expected}", "Give frames of one kind")
    if number == 0 and form.peak == 1:
        darkest, brightest = float(array.min()), float(array.max())
        if not (darkest >= -0.5 and brightest <= 1.5):  # a little outside is what filters do
            raise UsageError(
                f"frame 0 has values of {darkest:g} to {brightest:g}", "Float frames are 0..1: divide by 255"
            )
    depth = 16 if form.peak == 65535 else 8
    planes = make_planes(array, form) if detect else (np.broadcast_to(np.uint8(0), form.size),) * 3
    layout = Layout(Kind.RGB, depth if detect else 8)
    return ArrayFrame(planes, layout, RGB_COLOR, number, 1 / RATE, array=array, form=form)


def make_planes(array: Any, form: ArrayFormat) -> tuple[Plane, ...]:
    """R, G and B [H, W] on the host, of 8 bits, or 16 where the frame has 16."""
    if form.peak == 1 or form.device is not None:
        like = ArrayFormat(form.size, np.dtype(np.uint16 if form.peak == 65535 else np.uint8), None)
        array = rgb_to_array(array_to_rgb(array, form, form.device or torch.device("cpu")).clamp(0, 1), like)
    return tuple(np.ascontiguousarray(array[..., channel]) for channel in range(3))


class ArrayConverter:
    """Converts chunks of frames in memory to tensors on a device, and restored tensors to frames of the same kind.

    `scale` from source to result; `blend` the restored share; where pixels outside of a mask are `known`, they stay
    exactly what they were.
    """

    def __init__(self, device: torch.device, scale: int, blend: float, known: bool) -> None:
        self.device, self._scale, self._blend, self._known = device, scale, blend, known

    def to_device(self, chunk: Chunk) -> tuple[DeviceChunk, Bypass]:
        """A chunk's frames on the device, the last one repeated for the padding, and what goes around the network."""
        pictures = [self._upload(source.frame) for source in chunk.frames]
        padded = [*pictures, *[pictures[-1]] * chunk.padding]
        ahead = [self._upload(source.frame) for source in chunk.ahead]
        masks = self._upload_masks([*chunk.frames, *[chunk.frames[-1]] * chunk.padding])
        bypass = Bypass(torch.stack(pictures) if self._blend < 1 else None)
        on_device = DeviceChunk(
            torch.stack(padded),
            masks,
            chunk.refresh,
            torch.stack(ahead) if ahead else None,
            ahead_masks=self._upload_masks(chunk.ahead),
            last=chunk.last,
        )
        return on_device, bypass

    def _upload_masks(self, sources: Sequence[MaskedFrame]) -> Tensor | None:
        """The masks [T, 1, H, W] of frames; None where they have none."""
        found = [source.mask for source in sources if source.mask is not None]
        return torch.from_numpy(np.stack(found)).to(self.device).float()[:, None] if found else None

    def _upload(self, frame: Frame) -> Tensor:
        assert isinstance(frame, ArrayFrame)
        return array_to_rgb(frame.array, frame.form, self.device)

    def to_frames(self, chunk: Chunk, restored: Tensor, bypass: Bypass) -> list[Array]:
        """Frames in memory from [T, 3, H, W]; padding is left out."""
        results: list[Array] = []
        for number, (source, picture) in enumerate(zip(chunk.frames, restored, strict=False)):
            frame = source.frame
            assert isinstance(frame, ArrayFrame)
            if bypass.pictures is not None:
                picture = torch.lerp(enlarge(bypass.pictures[number], self._scale), picture, self._blend)
            result = rgb_to_array(picture, frame.form)
            if self._known and source.mask is not None:
                result = keep_unmasked(result, frame.array, source.mask)
            results.append(to_owned(result))
        return results


def to_owned(result: Array) -> Array:
    """A frame for the caller: a tensor that has its memory for itself, and that autograd and in-place changes take.

    Those made in inference mode refuse both, and a view would hold the frames of its whole chunk in memory.
    """
    if not isinstance(result, Tensor):
        return result
    with torch.inference_mode(mode=False):
        return result.clone()


def keep_unmasked(result: Array, source: Array, mask: NDArray[np.bool_]) -> Array:
    """The source's own pixels wherever the mask [H, W] does not mark them."""
    if isinstance(result, Tensor):
        marked = torch.from_numpy(np.ascontiguousarray(mask)).to(result.device)
        if result.dtype is torch.uint16:  # for which torch has no `where`
            chosen = torch.where(marked, result.to(torch.int32), cast(Tensor, source).to(torch.int32))
            return chosen.to(torch.uint16)
        return torch.where(marked, result, cast(Tensor, source))
    return np.where(mask[..., None], result, source)
