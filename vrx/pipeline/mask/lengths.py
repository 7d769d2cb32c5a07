"""Lengths of what is looked for: given for pictures of 360 rows, longer in larger ones."""

from __future__ import annotations

UNIT_ROWS = 360  # rows of a picture in which a length is as many pixels


def unit_of(height: int) -> float:
    """Pixels of a picture of `height` rows that one pixel of a length takes, at least 1."""
    return max(1.0, height / UNIT_ROWS)


def odd(length: float) -> int:
    """The next odd whole number of pixels, at least 3."""
    return max(3, round(length) // 2 * 2 + 1)
