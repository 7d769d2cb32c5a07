"""A tile along one axis of latents whose tiles overlap and are not blended.  Pure."""

from __future__ import annotations

from dataclasses import dataclass


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
