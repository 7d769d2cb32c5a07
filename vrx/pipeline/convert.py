"""Between frames on the host and tensors on the device: the first and the last step of a chunk's way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.media.color import same_samples
from vrx.media.frame import Color, Frame, Layout
from vrx.models.base import DeviceChunk
from vrx.pipeline.chunking import Chunk, MaskedFrame
from vrx.pipeline.colorspace import (
    Conversion,
    KnownSamples,
    from_rgb,
    keep_known,
    known_samples,
    masked_chroma,
    to_picture,
    to_rgb,
)


@dataclass(frozen=True, kw_only=True)
class OutputFormat:
    """How restored pixels become frames: layout and color of the result, and the user's choices.

    `scale` of the restored pictures; `size` (width, height) of the result where it may be another; `blend` the
    restored share, 0 to 1; `known` whether unmasked samples of the source are put back as they were.
    """

    layout: Layout
    color: Color
    scale: int
    size: tuple[int, int] | None = None
    blend: float = 1.0
    known: bool = False


@dataclass(frozen=True)
class Bypass:
    """Parts of a chunk's source that bypass the network: pictures [T, 3, H, W] to blend with, alpha [T, 1, H, W], and
    what is known of every frame.

    None where the result does not need them.
    """

    pictures: Tensor | None = None
    alpha: Tensor | None = None
    known: tuple[KnownSamples | None, ...] = ()
    unchanged: bool = False


@dataclass(frozen=True)
class ConvertedFrame:
    """A frame on the device: `picture` [3, H, W]; [1, H, W] or None: `alpha`, and where `mask` or chroma is to fill."""

    source: MaskedFrame
    picture: Tensor
    alpha: Tensor | None
    mask: Tensor | None
    chroma_mask: Tensor | None
    known: KnownSamples | None

    @staticmethod
    def of(source: MaskedFrame, device: torch.device) -> ConvertedFrame:
        """A frame, converted."""
        frame, marked = source.frame, source.mask
        picture = to_picture(frame, device, marked)
        if marked is None:
            return ConvertedFrame(source, picture.colors, picture.alpha, None, None, None)
        mask = torch.from_numpy(np.ascontiguousarray(marked)).to(device).float()[None]
        chroma, known = masked_chroma(picture, frame, marked), known_samples(picture, frame, marked)
        return ConvertedFrame(source, picture.colors, picture.alpha, mask, chroma, known)


def stack(parts: Iterable[Tensor | None]) -> Tensor | None:
    """[T, ...] of all that are there; None where none is."""
    found = [part for part in parts if part is not None]
    return torch.stack(found) if found else None


class FrameConverter:
    """Converts a chunk's frames to tensors on a device, and restored tensors to frames of the output format."""

    def __init__(self, device: torch.device, output: OutputFormat) -> None:
        self._device, self._output = device, output
        self._ahead: dict[int, ConvertedFrame] = {}  # of the latest chunk, which the next ones hold as well

    def to_device(self, chunk: Chunk) -> tuple[DeviceChunk, Bypass]:
        """A chunk's frames on the device, the last one repeated for the padding, and what bypasses the network."""
        converted: dict[int, ConvertedFrame] = {}
        for source in (*chunk.frames, *chunk.ahead):
            if id(source) not in converted:
                converted[id(source)] = self._ahead.get(id(source)) or ConvertedFrame.of(source, self._device)
        frames = [converted[id(source)] for source in chunk.frames]
        ahead = [converted[id(source)] for source in chunk.ahead]
        self._ahead = {id(frame.source): frame for frame in ahead}
        alpha = stack(frame.alpha for frame in frames) if self._output.layout.alpha else None
        known = tuple(frame.known for frame in frames)
        bypass = Bypass(self._blended(chunk, [frame.picture for frame in frames]), alpha, known)
        padded = [*frames, *[frames[-1]] * chunk.padding]
        pictures = stack(frame.picture for frame in padded) if len(padded) > 1 else frames[0].picture[None]
        assert pictures is not None
        on_device = DeviceChunk(
            pictures,
            stack(frame.mask for frame in padded),
            chunk.refresh,
            stack(frame.picture for frame in ahead),
            stack(frame.chroma_mask for frame in padded),
            stack(frame.mask for frame in ahead),
            stack(frame.chroma_mask for frame in ahead),
            chunk.last,
        )
        return on_device, bypass

    def _blended(self, chunk: Chunk, pictures: list[Tensor]) -> Tensor | None:
        """The source's pictures, where they are blended with the restored ones."""
        if self._output.blend == 1:
            return None
        if chunk.frames[0].mask is not None:  # with the chroma that is hidden from the network
            pictures = [to_rgb(source.frame, self._device)[0] for source in chunk.frames]
        return torch.stack(pictures)

    def to_frames(self, chunk: Chunk, restored: Tensor, bypass: Bypass) -> list[Frame]:
        """Frames of the result from [T, 3, H, W], with the times of the source; padding is left out."""
        output = self._output
        frames = []
        for number, (source, picture) in enumerate(zip(chunk.frames, restored, strict=False)):
            frame = source.frame
            alpha = None if bypass.alpha is None else enlarge(bypass.alpha[number], output.scale)
            if bypass.pictures is not None:
                picture = torch.lerp(enlarge(bypass.pictures[number], output.scale), picture, output.blend)
            size = output.size or (picture.shape[-1], picture.shape[-2])
            picture, alpha = resize(picture, size), None if alpha is None else resize(alpha, size)
            planes = from_rgb(picture, alpha, Conversion(output.layout, output.color, size))
            alike = frame.layout == output.layout and same_samples(frame.color, output.color, frame.layout, size)
            if bypass.unchanged and alike:
                planes = frame.planes
            elif output.known and alike and (known := bypass.known[number]) is not None:
                planes = keep_known(planes, known)
            frames.append(Frame(planes, output.layout, output.color, frame.pts, frame.time_base))
        return frames


def enlarge(picture: Tensor, scale: int) -> Tensor:
    """[C, H, W] by an integer factor, bicubic, in 0..1."""
    if scale == 1:
        return picture
    return F.interpolate(picture[None], scale_factor=scale, mode="bicubic")[0].clamp(0, 1)


def resize(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """[C, H, W] in 0..1 at a size, width and height; bicubic."""
    width, height = size
    if picture.shape[-2:] == (height, width):
        return picture
    return F.interpolate(picture[None], (height, width), mode="bicubic", antialias=True)[0].clamp(0, 1)
