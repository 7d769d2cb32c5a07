"""Frame rates: text and numbers as exact fractions."""

from __future__ import annotations

from fractions import Fraction
from math import isfinite
from numbers import Real

from vrx.errors import UsageError

MAX_RATE = 1000  # frames a second
# NTSC's rates are written rounded: 23.976 stands for 24000/1001
NTSC = {Fraction(text): Fraction(whole * 1000, 1001) for whole, texts in {
    24: ("23.976", "23.98"), 30: ("29.97",), 48: ("47.952", "47.95"), 60: ("59.94",), 120: ("119.88",)
}.items() for text in texts}  # fmt: skip


def to_rate(fps: float | Fraction | str | None) -> Fraction | None:
    """Frames a second as an exact fraction: a number, or text such as 25, 23.976 or 24000/1001.  Raises UsageError."""
    if fps is None:
        return None
    try:
        if isinstance(fps, bool) or not isinstance(fps, Real | str):
            raise ValueError
        rate = Fraction(fps if isinstance(fps, Fraction | str) else str(float(fps)) if isfinite(fps) else "nan")
    except (ValueError, OverflowError, ZeroDivisionError) as error:
        raise UsageError(f"--fps is {fps!r}", "Use frames per second, such as 25 or 24000/1001") from error
    rate = NTSC.get(rate, rate.limit_denominator(1_000_000))
    if not 0 < rate <= MAX_RATE:
        raise UsageError(f"--fps {fps} is out of range", f"Use more than 0, up to {MAX_RATE}")
    return rate
