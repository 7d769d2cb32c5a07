"""Planes as files hold them to RGB tensors in 0..1 and back: the one place where color is converted.

BT.601, BT.709, BT.2020 (non-constant luminance) and their like, limited and full range, any depth;
chroma sited left (the default), center or top left (ITU-T H.273).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vrx.media.color import COEFFICIENTS, resolve_color, unscale_chroma, unscale_luma, yuv_to_rgb
from vrx.media.frame import Color, Frame, Kind, Layout, Plane
from vrx.networks.constants import constant
from vrx.pipeline.packing import download, narrow, upload
from vrx.pipeline.shared_chroma import SharedChroma, complete_chroma

CENTERED = {"center", "1", "2"}  # location names that put chroma in the middle of its block
TOP = {"topleft", "top", "3", "5"}  # ... and on the upper row


@dataclass(frozen=True)
class Conversion:
    """Between planes of one layout and color, and RGB.

    `color` as tagged; `size` (width, height) decides what untagged planes are taken for.
    """

    layout: Layout
    color: Color
    size: tuple[int, int]

    @property
    def filled(self) -> Color:
        """The color with all tags resolved."""
        return resolve_color(self.color, self.layout, self.size)

    @property
    def left(self) -> bool:
        """Whether chroma sits on the left column of its block."""
        return not ({self.color.chroma_location} & (CENTERED | {"top"})) and self.layout.shift_x == 1

    @property
    def top(self) -> bool:
        """Whether chroma sits on the upper row of its block."""
        return bool({self.color.chroma_location} & TOP) and self.layout.shift_y == 1


@dataclass(frozen=True)
class Picture:
    """A frame on a device: `colors` [3, H, W] in 0..1, its `alpha` [1, H, W] where it has one, and what was done about
    chroma samples that marked pixels share, None where there are none.
    """

    colors: Tensor
    alpha: Tensor | None
    shared: SharedChroma | None = None


def to_rgb(frame: Frame, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """A frame as [3, H, W] in 0..1, and its alpha [1, H, W] where it has one."""
    picture = to_picture(frame, device)
    return picture.colors, picture.alpha


def to_picture(
    frame: Frame, device: torch.device, mask: NDArray[np.bool_] | None = None, samples: Sequence[Tensor] = ()
) -> Picture:
    """A frame in colors; `samples` are its planes [H, W] on the device, and the mask behind them, if they are there.

    Where `mask` [H, W] marks a pixel, the chroma sample it shares with unmarked pixels is not used as it is: theirs is
    taken out of it, or filled in from around.
    """
    layout = frame.layout
    found = list(samples) or upload(uploaded(frame, mask), device)
    planes = [plane[None, None] for plane in found[: len(frame.planes)]]
    alpha = planes.pop()[0] / layout.peak if layout.alpha else None
    if layout.kind is Kind.RGB:
        return Picture(torch.cat(planes, 1)[0] / layout.peak, alpha)
    conversion = Conversion(layout, frame.color, (frame.width, frame.height))
    full = bool(conversion.filled.full_range)
    y = unscale_luma(planes[0], layout.depth, full)
    if layout.kind is Kind.GRAY:
        return Picture(y[0].expand(3, -1, -1), alpha)
    chroma, shared = unscale_chroma(torch.cat(planes[1:], 1), layout.depth, full), None
    if mask is not None and mask.any() and (layout.shift_x or layout.shift_y):
        shared = complete_chroma(chroma, y, found[-1][None, None], (1 << layout.shift_y, 1 << layout.shift_x))
        chroma = shared.chroma
    u, v = torch.split(raise_chroma(chroma, conversion, (frame.height, frame.width)), 1, 1)
    return Picture(torch.cat(yuv_to_rgb(y, u, v, conversion.filled.matrix), 1)[0], alpha, shared)


def uploaded(frame: Frame, mask: NDArray[np.bool_] | None) -> tuple[NDArray[Any], ...]:
    """What of a frame goes to the device: its planes, and its mask where it has one."""
    return frame.planes if mask is None else (*frame.planes, mask)


def masked_chroma(picture: Picture, frame: Frame, mask: NDArray[np.bool_]) -> Tensor:
    """The share of every pixel's chroma that is unknown, as its samples are or as they are the mask's: [1, H, W]."""
    if picture.shared is None:
        return torch.from_numpy(np.ascontiguousarray(mask)).to(picture.colors)[None]
    size = (frame.width, frame.height)
    return raise_chroma(picture.shared.unknown, Conversion(frame.layout, frame.color, size), size[::-1])[0]


@dataclass(frozen=True)
class KnownSamples:
    """A frame's planes with the chroma that is known, and which samples [h, w] of each plane are not."""

    planes: tuple[Plane, ...]
    unknown: tuple[NDArray[np.bool_], ...]


def known_samples(picture: Picture, frame: Frame, mask: NDArray[np.bool_]) -> KnownSamples:
    """What of a frame stays as it is where a mask [H, W] marks pixels to fill."""
    shared = picture.shared
    if shared is None:
        return KnownSamples(frame.planes, tuple(covered_samples(mask, plane.shape) for plane in frame.planes))
    layout = frame.layout
    full = bool(Conversion(layout, frame.color, (frame.width, frame.height)).filled.full_range)
    found = scale_chroma(shared.chroma[0], layout.depth, full)
    unknown, changed = (x[0, 0].cpu().numpy() > 0 for x in (shared.unknown, shared.changed))
    taken = download([narrow(plane, layout.depth) for plane in found])
    chroma = (np.where(changed, new, old) for new, old in zip(taken, frame.planes[1:3], strict=True))
    planes = (frame.planes[0], *(cast(Plane, plane) for plane in chroma), *frame.planes[3:])
    return KnownSamples(planes, (mask, unknown, unknown, *[mask] * layout.alpha))


def from_rgb(picture: Tensor, alpha: Tensor | None, conversion: Conversion) -> tuple[Plane, ...]:
    """[3, H, W] in 0..1 (and alpha [1, H, W]) as the planes of a layout."""
    return tuple(download(to_samples(picture, alpha, conversion)))


def to_samples(picture: Tensor, alpha: Tensor | None, conversion: Conversion) -> list[Tensor]:
    """The same, still on the device, see `vrx.pipeline.packing.narrow`."""
    layout = conversion.layout
    if layout.kind is Kind.RGB:
        planes = [part * layout.peak for part in torch.split(picture, 1)]
    else:
        color = conversion.filled
        full = bool(color.full_range)
        matrix = constant(luma_chroma(color.matrix), picture.device, torch.float32)
        planes = [scale_luma(mix_channels(picture, matrix[:1]), layout.depth, full)]
        if layout.kind is Kind.YUV:
            # fewer rows first: what is mixed is half as much then, and the order makes no difference
            chroma = lower_columns(mix_channels(lower_rows(picture, conversion), matrix[1:]), conversion)
            planes += list(torch.split(scale_chroma(chroma, layout.depth, full), 1))
    if layout.alpha:
        opaque = torch.ones_like(picture[:1]) if alpha is None else alpha
        planes.append(opaque * layout.peak)
    return [narrow(plane[0], layout.depth) for plane in planes]


def luma_chroma(matrix: str) -> tuple[tuple[float, ...], ...]:
    """Rows that turn R, G, B in 0..1 into luma in 0..1 and both chroma signals in -0.5..0.5."""
    red, blue = COEFFICIENTS[matrix]
    green = 1 - red - blue
    u, v = 2 * (1 - blue), 2 * (1 - red)
    return (
        (red, green, blue),
        (-red / u, -green / u, (1 - blue) / u),
        ((1 - red) / v, -green / v, -blue / v),
    )


def scale_luma(y: Tensor, depth: int, full: bool) -> Tensor:
    """Luma 0..1 to stored values: the inverse of `media.color.unscale_luma`."""
    if full:
        return y * ((1 << depth) - 1)
    unit = 1 << (depth - 8)
    return y * (219 * unit) + 16 * unit


def scale_chroma(c: Tensor, depth: int, full: bool) -> Tensor:
    """Chroma -0.5..0.5 to stored values: the inverse of `media.color.unscale_chroma`."""
    unit = 1 << (depth - 8)
    return c * (((1 << depth) - 1) if full else 224 * unit) + 128 * unit


def raise_chroma(chroma: Tensor, conversion: Conversion, size: tuple[int, int]) -> Tensor:
    """Chroma [1, 2, h, w] to luma's size (height, width), linearly, minding where it sits."""
    layout = conversion.layout
    if layout.shift_x > 1 or layout.shift_y > 1:  # 4:1:1 and 4:1:0
        factor = (float(1 << layout.shift_y), float(1 << layout.shift_x))
        chroma = F.interpolate(chroma, scale_factor=factor, mode="bilinear")
        return chroma[..., : size[0], : size[1]]
    if layout.shift_x:
        chroma = double(chroma, conversion.left)
    if layout.shift_y:
        chroma = double(chroma.transpose(-1, -2), conversion.top).transpose(-1, -2)
    return chroma[..., : size[0], : size[1]]


def double(x: Tensor, cosited: bool) -> Tensor:
    """Twice as many samples along the last axis; `cosited` samples keep their place."""
    padded = F.pad(x, (1, 1, 0, 0), mode="replicate")
    before, here, after = padded[..., :-2], x, padded[..., 2:]
    if cosited:
        even, odd = here, (here + after) / 2
    else:
        even, odd = here * 0.75 + before * 0.25, here * 0.75 + after * 0.25
    return torch.stack([even, odd], -1).flatten(-2)


def mix_channels(picture: Tensor, rows: Tensor) -> Tensor:
    """Linear mixes [M, H, W] of the channels of [3, H, W] by the rows of a matrix [M, 3]."""
    return (rows @ picture.flatten(1)).view(-1, *picture.shape[1:])


def lower_rows(picture: Tensor, conversion: Conversion) -> Tensor:
    """[C, H, W] with as many rows as the layout's chroma has."""
    shift = conversion.layout.shift_y
    if shift > 1:
        return pool_blocks(picture, 1 << shift, 1)
    return halve(picture.transpose(-1, -2), conversion.top).transpose(-1, -2) if shift else picture


def lower_columns(picture: Tensor, conversion: Conversion) -> Tensor:
    """[C, H, W] with as many columns as the layout's chroma has."""
    shift = conversion.layout.shift_x
    if shift > 1:
        return pool_blocks(picture, 1, 1 << shift)
    return halve(picture, conversion.left) if shift else picture


def pool_blocks(picture: Tensor, height: int, width: int) -> Tensor:
    """Means of blocks of [C, H, W]; ends are repeated."""
    extra = (0, -picture.shape[-1] % width, 0, -picture.shape[-2] % height)
    return F.avg_pool2d(F.pad(picture, extra, mode="replicate"), (height, width))


def halve(x: Tensor, cosited: bool) -> Tensor:
    """Half as many samples along the last axis of [C, H, W], filtered; ends are repeated."""
    if x.shape[-1] % 2:
        x = F.pad(x, (0, 1, 0, 0), mode="replicate")
    even, odd = x[..., ::2], x[..., 1::2]
    if not cosited:
        return (even + odd).div_(2)
    sums = even * 2 + odd
    sums[..., 1:] += odd[..., :-1]
    sums[..., 0] += even[..., 0]
    return sums.div_(4)


def covered_samples(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Samples of a plane (rows, columns) that cover at least one marked pixel of `mask` [H, W]."""
    if shape == mask.shape:
        return mask
    rows, columns = -(-mask.shape[0] // shape[0]), -(-mask.shape[1] // shape[1])
    extra = ((0, shape[0] * rows - mask.shape[0]), (0, shape[1] * columns - mask.shape[1]))
    blocks = np.pad(mask, extra, mode="edge").reshape(shape[0], rows, shape[1], columns)
    return cast(NDArray[np.bool_], np.any(blocks, axis=(1, 3)))


def keep_known(result: tuple[Plane, ...], known: KnownSamples) -> tuple[Plane, ...]:
    """The known samples wherever there are any; both must share layout and size."""
    return tuple(
        cast(Plane, np.where(unknown, new, old).astype(new.dtype))
        for new, old, unknown in zip(result, known.planes, known.unknown, strict=True)
    )
