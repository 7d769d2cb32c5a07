"""Between frames on the host and tensors on the device: the first and the last step of a chunk's way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.media.color import same_samples
from vrx.media.frame import Color, Frame, Layout
from vrx.models.base import DeviceChunk
from vrx.pipeline.chunking import Chunk
from vrx.pipeline.colorspace import Conversion, from_rgb, keep_known, to_rgb
from vrx.pipeline.sizing import resize


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
    """Parts of a chunk's source that bypass the network: pictures [T, 3, H, W] to blend with, alpha [T, 1, H, W].

    None where the result does not need them.
    """

    pictures: Tensor | None = None
    alpha: Tensor | None = None
    unchanged: bool = False


class FrameConverter:
    """Converts a chunk's frames to tensors on a device, and restored tensors to frames of the output format."""

    def __init__(self, device: torch.device, output: OutputFormat) -> None:
        self._device, self._output = device, output

    def to_device(self, chunk: Chunk) -> tuple[DeviceChunk, Bypass]:
        """A chunk's frames on the device, the last one repeated for the padding, and what bypasses the network."""
        device = self._device
        converted = [to_rgb(source.frame, device, source.mask) for source in chunk.frames]
        pictures = [picture for picture, _ in converted]
        padded = [*pictures, *[pictures[-1]] * chunk.padding]
        masks = None
        if chunk.frames[0].mask is not None:
            arrays = [source.mask for source in chunk.frames if source.mask is not None]
            arrays += [arrays[-1]] * chunk.padding
            masks = torch.from_numpy(np.stack(arrays)).to(device).float()[:, None]
        following = [to_rgb(source.frame, device, source.mask)[0] for source in chunk.ahead]
        ahead = torch.stack(following) if following else None
        alphas = [alpha for _, alpha in converted if alpha is not None] if self._output.layout.alpha else []
        bypass = Bypass(self._blended(chunk, pictures), torch.stack(alphas) if alphas else None)
        frames = torch.stack(padded) if len(padded) > 1 else padded[0][None]  # a large picture is not copied
        return DeviceChunk(frames, masks, chunk.refresh, ahead), bypass

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
            elif output.known and source.mask is not None and alike:
                planes = keep_known(planes, frame.planes, source.mask)
            frames.append(Frame(planes, output.layout, output.color, frame.pts, frame.time_base))
        return frames


def enlarge(picture: Tensor, scale: int) -> Tensor:
    """[C, H, W] by an integer factor, bicubic, in 0..1."""
    if scale == 1:
        return picture
    return F.interpolate(picture[None], scale_factor=scale, mode="bicubic")[0].clamp(0, 1)
