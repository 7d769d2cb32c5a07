"""Values of options, from words to what settings take."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import datetime, timedelta
from fractions import Fraction

from vrx.batches import Deadline
from vrx.errors import UsageError, choice_of
from vrx.geometry import TargetSize, choose_size, parse_size
from vrx.settings import parse_time

AUTOMATIC: Mapping[str, float | None] = {"auto": None}


def parse_number(text: str, option: str, words: Mapping[str, float | None] = AUTOMATIC) -> float | None:
    """A number, or what one of the words stands for.  Raises UsageError."""
    if text in words:
        return words[text]
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"{option} is {text!r}", f"Use {choice_of(['a number', *words])}") from error


def parse_pixels(text: str, option: str) -> int | None:
    """A whole number, or None for `auto`.  Raises UsageError."""
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(f"{option} is {text!r}", "Use a whole number of pixels or auto") from error


def parse_grain(text: str) -> float:
    """A share of the grain.  Raises UsageError."""
    return parse_number(text, "--grain", {"keep": 1.0, "remove": 0.0}) or 0.0


def parse_denoise(text: str) -> float | None:
    """A share of the noise, None for `auto`.  Raises UsageError."""
    return parse_number(text, "--denoise", {"auto": None, "off": 0.0})


def parse_sizes(
    scale: float | None, width: int | None, height: int | None, size: str | None
) -> tuple[int, TargetSize | None]:
    """The scale of the network, and the size of the result where it is another.  Raises UsageError."""
    if size is not None and (width is not None or height is not None):
        raise UsageError("--size and --width or --height are mutually exclusive", "Remove one of them")
    wide, high = (width, height) if size is None else parse_size(size)
    return choose_size(scale, wide, high)


def parse_moment(text: str | None) -> Fraction | None:
    """A time in seconds, or None.  Raises UsageError."""
    return None if text is None else parse_time(text)


def parse_clock(text: str | None) -> Deadline:
    """The next time at which a clock shows HH:MM; never for None.  Raises UsageError."""
    if text is None:
        return Deadline()
    try:
        wanted = datetime.strptime(text, "%H:%M").time()
    except ValueError as error:
        raise UsageError(f"--until is {text!r}", "Use a time of the day, such as 06:30") from error
    now = datetime.now()
    day = now.date() if wanted > now.time() else now.date() + timedelta(days=1)
    return Deadline(datetime.combine(day, wanted).astimezone())


def check_form(csv: bool, json: bool) -> None:
    """Refuse two forms of one table.  Raises UsageError."""
    if csv and json:
        raise UsageError("--csv and --json are mutually exclusive", "Remove one of them")


def split_words(text: str | None) -> tuple[str, ...]:
    """One string split as a shell splits it.  Raises UsageError."""
    try:
        return tuple(shlex.split(text)) if text else ()
    except ValueError as error:
        raise UsageError(f"cannot split --encoder-args: {error}") from error
