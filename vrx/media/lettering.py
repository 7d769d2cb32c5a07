"""Text in pictures, in the typeface that Pillow brings along."""

from __future__ import annotations

from functools import cache
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]  # RGB [H, W, 3]

TEXT_SIZE = 16  # pixels of a line's letters, from the highest to the lowest
TEXT_HEIGHT = 24  # pixels of a line
INK = (235, 235, 235)
ELLIPSIS = "..."


@cache
def typeface() -> ImageFont.FreeTypeFont:
    """The letters of all text."""
    return cast(ImageFont.FreeTypeFont, ImageFont.load_default(TEXT_SIZE))


def text_width(text: str) -> int:
    """Pixels that a line of text takes."""
    return round(typeface().getlength(text))


def shorten(text: str, room: int) -> str:
    """A text that fits into that many pixels: its middle left out where it must be, as names differ at their ends."""
    if text_width(text) <= room:
        return text
    for left_out in range(1, len(text)):
        size = len(text) - left_out
        shorter = text[: size - size // 2] + ELLIPSIS + text[len(text) - size // 2 :]
        if text_width(shorter) <= room:
            return shorter
    return ""


def draw_text(picture: Picture, text: str, left: int, top: int, room: int | None = None) -> None:
    """Draw a line of text into a picture, its middle left out where it takes more than `room` pixels."""
    room = picture.shape[1] - left if room is None else room
    rows = picture[top : top + TEXT_HEIGHT, left : left + room]
    if not rows.size:
        return
    strip = Image.fromarray(np.ascontiguousarray(rows))
    line = shorten(text, room)
    ImageDraw.Draw(strip).text((0, TEXT_HEIGHT // 2), line, INK, font=typeface(), anchor="lm")
    rows[:] = np.asarray(strip)
