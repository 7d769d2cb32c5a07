"""Black bars around a picture: hidden from what enlarges it, and put back after that.

A bar ends as sharply as nothing that a camera sees; what restores draws a bright line along it.  Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vrx.networks.embedded.symptoms import gray

DARK = 24 / 255  # luma of a bar, at most
FLAT = 2 / 255  # deviation of luma within a line of a bar, and twice that of its lines from each other, at most
JUMP = 10 / 255  # luma by which the first line beside a bar is brighter, at least
LEAST_SHARE = 0.3  # of a side that is picture, else all of it is


@dataclass(frozen=True)
class Bar:
    """Lines `first` to before `last` of [3, H, W] along `side` (1: rows, 2: columns).

    `color` [3, 1, 1]: that of the outermost line.
    """

    side: int
    first: int
    last: int
    color: Tensor

    def paint(self, frame: Tensor, scale: int) -> None:
        """Put it back into [3, s H, s W], in place."""
        frame.narrow(self.side, self.first * scale, (self.last - self.first) * scale).copy_(self.color)


def hide_bars(frames: Tensor) -> tuple[Tensor, list[tuple[Bar, ...]]]:
    """Frames [T, 3, H, W] whose bars show the line beside them instead, and the bars of each frame."""
    found = [find_bars(frame) if dark else () for frame, dark in zip(frames, have_dark_edges(frames), strict=True)]
    if not any(found):
        return frames, found
    frames = frames.clone()
    for frame, bars in zip(frames, found, strict=True):
        for bar in bars:
            beside = bar.last if bar.first == 0 else bar.first - 1
            frame.narrow(bar.side, bar.first, bar.last - bar.first).copy_(frame.narrow(bar.side, beside, 1))
    return frames, found


def put_back(frames: Tensor, bars: Sequence[tuple[Bar, ...]], scale: int) -> None:
    """Put the bars of each frame back into what was enlarged from it, [T, 3, s H, s W], in place."""
    for frame, own in zip(frames, bars, strict=False):
        for bar in own:
            bar.paint(frame, scale)


def find_bars(frame: Tensor) -> tuple[Bar, ...]:
    """The bars of [3, H, W]: rows first, then columns, which are looked at between them."""
    rows = along(frame, 1)
    top = next((bar.last for bar in rows if bar.first == 0), 0)
    bottom = next((bar.first for bar in rows if bar.first > 0), frame.shape[1])
    return (*rows, *along(frame[:, top:bottom], 2))


def along(frame: Tensor, side: int) -> list[Bar]:
    """The bars at both ends of a side of [3, H, W]."""
    length, other = frame.shape[side], 3 - side
    plane = gray(frame[None])[0, 0]  # shared chroma comes over from the picture
    luma = plane.mean(other - 1)
    flat = (luma <= DARK) & (plane.square().mean(other - 1) - luma.square() <= FLAT**2)
    before, after = leading(flat), leading(flat.flip(0))
    if length - before - after < LEAST_SHARE * length:
        return []
    spans = [(0, before, 0, before), (length - after, length, length - 1, length - after - 1)]
    return [
        Bar(side, first, last, frame.narrow(side, outer, 1).mean((1, 2), keepdim=True))
        for first, last, outer, beside in spans
        if last > first and stands_out(luma, slice(first, last), beside)
    ]


def have_dark_edges(frames: Tensor) -> list[bool]:
    """Whether one of the outermost lines of each of [T, 3, H, W] may be of a bar; all waited for at once."""
    lines = (frames[..., :1, :], frames[..., -1:, :], frames[..., :1], frames[..., -1:])
    means = torch.stack([gray(line).mean((1, 2, 3)) for line in lines])
    found: list[bool] = (means.amin(0) <= DARK).tolist()
    return found


def leading(flags: Tensor) -> int:
    """How many flags are set before the first that is not."""
    return int(flags.long().cumprod(0).sum())


def stands_out(luma: Tensor, span: slice, beside: int) -> bool:
    """Whether lines of a span are alike and the line beside them is another: dark of a picture fades."""
    bar = luma[span]
    return float(bar.amax() - bar.amin()) <= 2 * FLAT and float(luma[beside] - bar.mean()) >= JUMP
