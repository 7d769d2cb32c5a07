"""Sizes and boxes, as users give them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral
from pathlib import Path
from typing import Literal, get_args

from vrx.errors import UsageError
from vrx.settings import Scale, check_number, parse_time

SIZE = re.compile(r"(\d{1,5})[xX](\d{1,5})")
DEFAULT_SCALE, MAX_FACTOR = 4, 16
Size = tuple[int, int]  # width and height in pixels
LENGTH = r"\d+(?:\.\d+)?%?"
BOX = re.compile(rf"(?P<place>{LENGTH}(?:,{LENGTH}){{3}})(?:@(?P<start>[\d:.]*)-(?P<end>[\d:.]*))?")
TIMED = re.compile(r"(?P<path>.+)@(?P<start>[\d:.]*)-(?P<end>[\d:.]*)")
CROP = re.compile(r"(?P<width>\d{1,5}):(?P<height>\d{1,5})(?::(?P<left>\d{1,5}):(?P<top>\d{1,5}))?")
BOX_FORM = "Use X,Y,WIDTH,HEIGHT in pixels or percent, and @START-END for a part of the time"


@dataclass(frozen=True)
class TargetSize:
    """How large a result is to be: a factor, or pixels that it fits into, one side or both.  Raises UsageError."""

    factor: float | None = None
    width: int | None = None
    height: int | None = None

    def __post_init__(self) -> None:
        check_number("scale", self.factor)
        if self.factor is not None and not 1 <= self.factor <= MAX_FACTOR:
            raise UsageError(f"--scale {self.factor:g} is out of range", f"Use 1 to {MAX_FACTOR}")
        for name, side in (("width", self.width), ("height", self.height)):
            check_number(name, side, Integral)
            if side is not None and side < 2:
                raise UsageError(f"--{name} {side} is out of range", "Use 2 or more")

    def __str__(self) -> str:
        if self.factor is not None:
            return f"x{self.factor:g}"
        if self.width and self.height:
            return f"{self.width}x{self.height}"
        return f"w{self.width}" if self.width else f"h{self.height}"


def fit(shown: tuple[Fraction | int, Fraction | int], size: TargetSize) -> Size:
    """The largest size of the same shape that fits; a side that is not given is even, as most encoders need it."""
    if size.factor is not None:
        return enlarge(shown[0], size.factor), enlarge(shown[1], size.factor)
    ratios = [(size.width or 0) / shown[0], (size.height or 0) / shown[1]]
    ratio = min(r for r in ratios if r)
    width = size.width if size.width and ratio == ratios[0] else even(shown[0] * ratio)
    height = size.height if size.height and ratio == ratios[1] else even(shown[1] * ratio)
    return width, height


def enlarge(length: Fraction | int, factor: float) -> int:
    """A side by a factor, even unless it stays as it is."""
    return int(length) if factor == 1 and length == int(length) else even(length * factor)


def even(length: Fraction | float) -> int:
    """The nearest even number of pixels, at least 2."""
    return max(2, 2 * round(length / 2))


def choose_size(
    scale: float | None = None, width: int | None = None, height: int | None = None
) -> tuple[int, TargetSize | None]:
    """The scale of the network and the size of the result that options ask for; by 4 where they ask for nothing.

    Raises UsageError.
    """
    if width is not None or height is not None:
        if scale is not None:
            raise UsageError("--scale and a size are mutually exclusive", "Remove one of them")
        return DEFAULT_SCALE, TargetSize(width=width, height=height)
    if scale is None or (scale in get_args(Scale) and scale > 1):  # at 1 a network without it enlarges, then shrinks
        return int(scale or DEFAULT_SCALE), None
    return DEFAULT_SCALE, TargetSize(factor=scale)


def parse_size(text: str) -> tuple[int, int]:
    """`1920x1080` as width and height.  Raises UsageError."""
    match = SIZE.fullmatch(text.strip())
    if not match:
        raise UsageError(f"--size is {text!r}", "Use WIDTHxHEIGHT, such as 1920x1080")
    return int(match[1]), int(match[2])


@dataclass(frozen=True)
class TimeRange:
    """The time from `start` to before `end`, in seconds; None: from the beginning, to the end."""

    start: Fraction | None = None
    end: Fraction | None = None

    def holds(self, time: Fraction) -> bool:
        """Whether a time is in it."""
        return (self.start is None or time >= self.start) and (self.end is None or time < self.end)


def parse_mask(text: str | os.PathLike[str]) -> tuple[Path, TimeRange]:
    """The path of a mask, and when it holds: `logo.png@0:10-0:20`; either time may be missing.

    A file whose name ends like that is taken for itself.  Raises UsageError.
    """
    name = os.fspath(text)
    match = TIMED.fullmatch(name)
    if match is None or os.path.lexists(name):
        return Path(name), TimeRange()
    start, end = (parse_time(word) if word else None for word in (match["start"], match["end"]))
    if end is not None and end <= (start or 0):
        raise UsageError(f"--mask {name} ends before it begins", "Use PATH@START-END for a part of the time")
    return Path(match["path"]), TimeRange(start, end)


@dataclass(frozen=True)
class Length:
    """A length in pixels, or in percent of the picture's side."""

    value: float
    percent: bool = False

    def pixels(self, side: int) -> float:
        """In pixels of a side."""
        return self.value * side / 100 if self.percent else self.value


@dataclass(frozen=True)
class Box:
    """A part of the displayed picture, for a stretch of time from `start` to before `end`."""

    left: Length
    top: Length
    width: Length
    height: Length
    start: Fraction | None = None
    end: Fraction | None = None

    def holds(self, time: Fraction) -> bool:
        """Whether it is there at a time."""
        return TimeRange(self.start, self.end).holds(time)


def parse_box(text: str) -> Box:
    """`X,Y,W,H` in pixels or percent (`5%`), `@START-END` behind it for a part of the time; either may be missing.

    Raises UsageError.
    """
    match = BOX.fullmatch(text.replace(" ", ""))
    if not match:
        raise UsageError(f"--box is {text!r}", BOX_FORM)
    lengths = [Length(float(word.rstrip("%")), word.endswith("%")) for word in match["place"].split(",")]
    start, end = (parse_time(word) if word else None for word in (match["start"], match["end"]))
    if not (lengths[2].value and lengths[3].value):
        raise UsageError(f"--box {text} is empty", BOX_FORM)
    if any(length.percent and length.value > 100 for length in lengths):
        raise UsageError(f"--box {text} has more than 100 percent", BOX_FORM)
    if end is not None and end <= (start or 0):
        raise UsageError(f"--box {text} ends before it begins", BOX_FORM)
    left, top, width, height = lengths
    return Box(left, top, width, height, start, end)


@dataclass(frozen=True)
class Crop:
    """What is kept of the displayed picture, in pixels, in the order of ffmpeg's crop filter; None: in the middle."""

    width: int
    height: int
    left: int | None = None
    top: int | None = None

    def __str__(self) -> str:
        return ":".join(str(value) for value in (self.width, self.height, self.left, self.top) if value is not None)


def parse_crop(text: str | None) -> Crop | Literal["auto"] | None:
    """`W:H:X:Y`, or `W:H` from the middle; `auto`; None for `off`.  Raises UsageError."""
    if text is None or text == "off":
        return None
    match = CROP.fullmatch(text.removeprefix("crop=")) if isinstance(text, str) else None
    if match is not None:
        return Crop(*(None if value is None else int(value) for value in match.groups()))  # type: ignore[arg-type]
    if text == "auto":
        return "auto"
    raise UsageError(f"--crop is {text!r}", "Use auto, off or WIDTH:HEIGHT:X:Y in pixels, as ffmpeg's crop")
