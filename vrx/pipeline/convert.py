"""Where frames become pixels on the device, and restored pixels become frames again."""

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
from vrx.pipeline.executor import Doors


@dataclass(frozen=True, kw_only=True)
class Finish:
    """How restored pixels become frames: layout and colour of the result, and the user's wishes.

    `scale` from source to result; `blend` the restored share; `known` whether unmasked samples of the
    source are put back as they were.
    """

    layout: Layout
    color: Color
    scale: int
    blend: float
    known: bool


def make_doors(device: torch.device, finish: Finish) -> Doors:
    """Both doors for a device."""
    return Doors(enter=lambda chunk: enter(chunk, device), leave=lambda chunk, x: leave(chunk, x, finish))


def enter(chunk: Chunk, device: torch.device) -> DeviceChunk:
    """A chunk's frames on the device, the last one repeated for the padding."""
    pictures = [to_rgb(source.frame, device, source.mask)[0] for source in chunk.frames]
    pictures += [pictures[-1]] * chunk.padding
    masks = None
    if chunk.frames[0].mask is not None:
        arrays = [source.mask for source in chunk.frames if source.mask is not None]
        arrays += [arrays[-1]] * chunk.padding
        masks = torch.from_numpy(np.stack(arrays)).to(device).float()[:, None]
    ahead = (
        torch.stack([to_rgb(source.frame, device, source.mask)[0] for source in chunk.ahead]) if chunk.ahead else None
    )
    return DeviceChunk(torch.stack(pictures), masks, chunk.refresh, ahead)


def leave(chunk: Chunk, restored: Tensor, finish: Finish) -> list[Frame]:
    """Frames of the result with the times of the source, padding left out."""
    frames = []
    for source, picture in zip(chunk.frames, restored, strict=False):
        frame = source.frame
        alpha = None
        if frame.layout.alpha and finish.layout.alpha:
            alpha = enlarge(to_rgb(frame, picture.device)[1], finish.scale)
        if finish.blend < 1:
            plain = enlarge(to_rgb(frame, picture.device)[0], finish.scale)
            assert plain is not None
            picture = torch.lerp(plain, picture, finish.blend)
        size = (picture.shape[-1], picture.shape[-2])
        planes = from_rgb(picture, alpha, Conversion(finish.layout, finish.color, size))
        alike = frame.layout == finish.layout and same_samples(frame.color, finish.color, frame.layout, size)
        if finish.known and source.mask is not None and alike:
            planes = keep_known(planes, frame.planes, source.mask)
        frames.append(Frame(planes, finish.layout, finish.color, frame.pts, frame.time_base))
    return frames


def enlarge(picture: Tensor | None, scale: int) -> Tensor | None:
    """[C, H, W] by an integer factor, bicubic, in 0..1."""
    if picture is None or scale == 1:
        return picture
    return F.interpolate(picture[None], scale_factor=scale, mode="bicubic")[0].clamp(0, 1)
