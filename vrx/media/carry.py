"""What goes along with the picture: which of the source's other streams a container can hold."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vrx.errors import OutputError
from vrx.media.ffmpeg import Encoder

TEXT_SUBTITLES = {"mp4": "mov_text", "mov": "mov_text", "webm": "webvtt", "matroska": "srt"}


@dataclass(frozen=True, kw_only=True)
class Carried:
    """A stream copied from the source: its index there, and the codec to convert it to, if any."""

    index: int
    kind: str
    convert: str | None = None


def trial(source: Path, index: int, container: str, convert: str | None) -> bool:
    """Whether a stream of the source can go into a container: its header is written for real."""
    words = ["-y", "-i", f"file:{source}", "-map", f"0:{index}", "-c", convert or "copy", "-t", "0.5"]
    encoder = None
    try:
        encoder = Encoder([*words, "-f", container, os.devnull])
        encoder.finish()
    except OutputError:
        return False
    return True


def carry(source: Path, container: str, streams: Sequence[tuple[int, str, str]]) -> tuple[list[Carried], list[str]]:
    """What goes along into `container`, of streams (index, kind, codec), and what cannot, in words."""
    carried, lost = [], []
    for index, kind, codec in streams:
        if trial(source, index, container, None):
            carried.append(Carried(index=index, kind=kind))
        elif kind == "subtitle" and trial(source, index, container, TEXT_SUBTITLES.get(container, "srt")):
            carried.append(Carried(index=index, kind=kind, convert=TEXT_SUBTITLES.get(container, "srt")))
        else:
            lost.append(f"{kind} {index} ({codec})")
    return carried, lost
