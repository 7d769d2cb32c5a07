"""What a run will do, decided before it starts: model, output, encoder, colour, memory and time."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path

from vrx.errors import UsageError
from vrx.media.encoders import SHORT_NAMES, STILL_ENCODERS, find_encoder
from vrx.settings import OutputSettings

BASE_MEMORY = 350 << 20  # bytes: the interpreter, torch and the libraries
BYTES_A_PIXEL = 690  # of output, all stages and queues together; measured from 640x360 to 1920x1080


class Action(StrEnum):
    """What a run does about its result: something may stand there already."""

    WRITE = "write"
    REPLACE = "replace"
    SKIP = "skip"
    REFUSE = "refuse"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What `--dry-run` shows.  Sizes are (width, height); memory in bytes, time in seconds, both rough."""

    source: str
    output: str
    model: str
    checkpoint: str
    device: str
    dtype: str
    frames: int | None
    source_size: tuple[int, int]
    target_size: tuple[int, int]
    encoder: str
    pix_fmt: str
    container: str
    chunk: int
    scenes: str
    memory: int | None
    seconds: float | None
    action: Action
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def choose_encoder(settings: OutputSettings, path: Path | None, automatic_name: str) -> str:
    """The encoder's ffmpeg name.  Raises UsageError for one that is unknown."""
    if path is not None and path.suffix.lower() in STILL_ENCODERS:
        if settings.codec not in ("auto", STILL_ENCODERS[path.suffix.lower()]):
            raise UsageError(f"pictures are not encoded with {settings.codec}", "Leave --codec out")
        return automatic_name
    if settings.codec == "auto":
        return automatic_name
    name = find_encoder(settings.codec).name
    if name in STILL_ENCODERS.values():
        raise UsageError(f"{settings.codec} is no video codec", f"Choose one of {', '.join(SHORT_NAMES)}")
    return name


def memory_needed(target: tuple[int, int], source: tuple[int, int], depth: int) -> int:
    """Bytes a run takes, roughly: the network's maps and the queues, and the frames scenes look ahead."""
    ahead = 17 * source[0] * source[1] * (2 if depth > 8 else 1) * 2
    return BASE_MEMORY + BYTES_A_PIXEL * target[0] * target[1] + ahead


def span_of(
    start: Fraction | None, end: Fraction | None, frames: int | None, rate: Fraction
) -> tuple[Fraction, Fraction | None] | None:
    """Seconds of the source that the other streams are cut to; None where nothing is left out."""
    if start is None and end is None and frames is None:
        return None
    begin = start or Fraction(0)
    limit = end
    if frames is not None and rate:
        by_count = begin + frames / rate
        limit = by_count if limit is None else min(limit, by_count)
    return begin, limit
