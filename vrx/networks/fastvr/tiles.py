"""The tiles in which FastVR's generator works: 64 x 64 latents, cut in the middle of what two of them share.

Pure functions.
"""

from __future__ import annotations

from vrx.networks.axis_tiles import Span

SIDE, STRIDE = 64, 52  # latents: 1024 pixels, the size of its training


def spans(length: int, side: int = SIDE, stride: int = STRIDE) -> list[Span]:
    """The tiles of an axis: evenly apart, the last one flush with its end.

    A tile gives up half of what the usual overlap is, the next one begins to count there.
    """
    if length <= side:
        return [Span(0, length, 0, length)]
    count = -(-(length - side) // stride) + 1
    step = -(-(length - side) // (count - 1))
    begins = list(range(0, length - side + 1, step))
    if begins[-1] + side < length:
        begins.append(length - side)
    cuts = [0, *(begin + side - (side - step) // 2 for begin in begins[:-1]), length]
    return [Span(begin, begin + side, *cuts[place : place + 2]) for place, begin in enumerate(begins)]
