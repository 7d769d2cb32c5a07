"""Between frames on the host and tensors on the device: the first and the last step of a chunk's way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

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
    keep_known,
    known_samples,
    masked_chroma,
    to_picture,
    to_rgb,
    to_samples,
    uploaded,
)
from vrx.pipeline.packing import download, packs, upload


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
    def of(source: MaskedFrame, device: torch.device, samples: Sequence[Tensor]) -> ConvertedFrame:
        """A frame, converted; `samples` are what of it is `uploaded`."""
        frame, marked = source.frame, source.mask
        picture = to_picture(frame, device, marked, samples)
        if marked is None:
            return ConvertedFrame(source, picture.colors, picture.alpha, None, None, None)
        mask = samples[-1][None]
        chroma, known = masked_chroma(picture, frame, marked), known_samples(picture, frame, marked)
        return ConvertedFrame(source, picture.colors, picture.alpha, mask, chroma, known)


def stack(parts: Iterable[Tensor | None]) -> Tensor | None:
    """[T, ...] of all that are there; None where none is."""
    found = [part for part in parts if part is not None]
    return torch.stack(found) if found else None


def quantizers_of(chunk: Chunk) -> tuple[float | None, ...]:
    """Of its frames, the padding and the frames ahead; empty where no frame has one."""
    frames = (*chunk.frames, *[chunk.frames[-1]] * chunk.padding, *chunk.ahead)
    found = tuple(source.frame.quantizer for source in frames)
    return found if any(value is not None for value in found) else ()


class FrameConverter:
    """Converts a chunk's frames to tensors on a device, and restored tensors to frames of the output format.

    `packed`: each way in one copy a chunk; None for where that is faster.
    """

    def __init__(self, device: torch.device, output: OutputFormat, packed: bool | None = None) -> None:
        self.device, self._output = device, output
        self._packed = packs(device) if packed is None else packed
        self._ahead: dict[int, ConvertedFrame] = {}  # of the latest chunk, which the next ones hold as well

    def to_device(self, chunk: Chunk) -> tuple[DeviceChunk, Bypass]:
        """A chunk's frames on the device, the last one repeated for the padding, and what bypasses the network."""
        converted = self._convert({id(source): source for source in (*chunk.frames, *chunk.ahead)})
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
            quantizers_of(chunk),
        )
        return on_device, bypass

    def _convert(self, sources: dict[int, MaskedFrame]) -> dict[int, ConvertedFrame]:
        """Frames by a key of theirs; those that came along with an earlier chunk are there."""
        found = {key: self._ahead[key] for key in sources if key in self._ahead}
        fresh = {key: uploaded(source.frame, source.mask) for key, source in sources.items() if key not in found}
        samples = iter(upload([array for arrays in fresh.values() for array in arrays], self.device, self._packed))
        for key, arrays in fresh.items():
            found[key] = ConvertedFrame.of(sources[key], self.device, list(islice(samples, len(arrays))))
        return found

    def _blended(self, chunk: Chunk, pictures: list[Tensor]) -> Tensor | None:
        """The source's pictures, where they are blended with the restored ones."""
        if self._output.blend == 1:
            return None
        if chunk.frames[0].mask is not None:  # with the chroma that is hidden from the network
            pictures = [to_rgb(source.frame, self.device)[0] for source in chunk.frames]
        return torch.stack(pictures)

    def to_frames(self, chunk: Chunk, restored: Tensor, bypass: Bypass) -> list[Frame]:
        """Frames of the result from [T, 3, H, W], with the times of the source; padding is left out."""
        output = self._output
        made = []
        for number, (source, picture) in enumerate(zip(chunk.frames, restored, strict=False)):
            same = bypass.unchanged and self._alike(source.frame, picture)
            made.append(None if same else self._to_samples(number, picture, bypass))
        samples = iter(download([plane for planes in made for plane in planes or ()], self._packed))
        frames = []
        for number, (source, own) in enumerate(zip(chunk.frames, made, strict=True)):
            frame = source.frame
            planes = frame.planes if own is None else tuple(islice(samples, len(own)))
            known = bypass.known[number] if output.known else None
            if known is not None and own is not None and self._alike(frame, restored[number]):
                planes = keep_known(planes, known)
            frames.append(Frame(planes, output.layout, output.color, frame.pts, frame.time_base))
        return frames

    def _to_samples(self, number: int, picture: Tensor, bypass: Bypass) -> list[Tensor]:
        """The samples of a chunk's restored picture [3, H, W], on the device."""
        output = self._output
        alpha = None if bypass.alpha is None else enlarge(bypass.alpha[number], output.scale)
        if bypass.pictures is not None:
            picture = torch.lerp(enlarge(bypass.pictures[number], output.scale), picture, output.blend)
        size = self._size(picture)
        picture, alpha = resize(picture, size), None if alpha is None else resize(alpha, size)
        return to_samples(picture, alpha, Conversion(output.layout, output.color, size))

    def _size(self, picture: Tensor) -> tuple[int, int]:
        """Width and height of the result."""
        return self._output.size or (picture.shape[-1], picture.shape[-2])

    def _alike(self, frame: Frame, picture: Tensor) -> bool:
        """Whether a frame's samples mean in the result what they mean in the source."""
        same = same_samples(frame.color, self._output.color, frame.layout, self._size(picture))
        return frame.layout == self._output.layout and same


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
