"""The tiles in which FastVR's generator works: 64 x 64 latents, cut in the middle of what two of them share.

Pure functions.
"""

from __future__ import annotations

from dataclasses import dataclass

SIDE, STRIDE = 64, 52  # latents: 1024 pixels, the size of its training


@dataclass(frozen=True)
class Span:
    """A tile along an axis: the places from `begin` to before `end`, of which those in `first`..`last` count."""

    begin: int
    end: int
    first: int
    last: int

    @property
    def whole(self) -> slice:
        """The tile on its axis."""
        return slice(self.begin, self.end)

    @property
    def counted(self) -> slice:
        """What counts of it, on its axis."""
        return slice(self.first, self.last)

    @property
    def inside(self) -> slice:
        """What counts of it, within the tile."""
        return slice(self.first - self.begin, self.last - self.begin)


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
