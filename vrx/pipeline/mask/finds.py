"""What was found in a video that does not belong to it, as values."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vrx.errors import UsageError, did_you_mean
from vrx.events import Note

FINDABLE = {
    "overlays": "logos, subtitles and timecodes",
    "dust": "dust",
    "scratches": "scratches",
    "pixels": "dead pixels",
}


@dataclass(frozen=True)
class Find:
    """One find, or all of a kind whose places change: `box` (left, top, width, height) in pixels of the video as shown.

    Shown from `start` to `end`, seconds after the first frame, in `frames` frames; `count` of them in all.
    """

    kind: str
    box: tuple[int, int, int, int]
    start: Fraction
    end: Fraction
    frames: int
    count: int = 1


@dataclass(frozen=True)
class MaskResult:
    """What was found in how many frames; the mask and the picture of it, None where nothing was written."""

    finds: tuple[Find, ...]
    frames: int
    mask: Path | None
    picture: Path | None
    notes: tuple[Note, ...]


def parse_kinds(text: str) -> frozenset[str]:
    """`overlays,dust` and the like, or `all`.  Raises UsageError."""
    if text.strip() == "all":
        return frozenset(FINDABLE)
    words = [word.strip() for word in text.split(",")]
    if "all" in words:
        raise UsageError(f"--find is {text!r}, and all has every other kind in it", "Write all alone, or remove it")
    for word in words:
        if word not in FINDABLE:
            hint = did_you_mean(word, FINDABLE)
            raise UsageError(f"--find has {word!r}", f"{hint}Choose from {', '.join(FINDABLE)}, or all")
    return frozenset(words)
