"""The error of a chosen part in which a source has no frames."""

from __future__ import annotations

from fractions import Fraction

from vrx.errors import InputError
from vrx.settings import format_time


def no_frames(name: object, start: Fraction, length: Fraction) -> InputError:
    """For a part from `start` seconds on of a source of this length."""
    if start < length:
        return InputError(f"cannot read {name}: no frames in the chosen part", "Choose a longer part")
    return InputError(
        f"cannot read {name}: no frames in the chosen part: it begins at {format_time(start)}, "
        f"and the source ends at {format_time(length)}",
        "Choose an earlier start",
    )
