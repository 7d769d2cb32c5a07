"""Copied streams: which of the source's other streams a container can hold."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import av.error

from vrx.errors import OutputError
from vrx.media.ffmpeg import FFmpegProcess
from vrx.media.probe import StreamInfo
from vrx.temporary import spare_folder

TEXT_SUBTITLES = {"mp4": "mov_text", "mov": "mov_text", "webm": "webvtt", "matroska": "srt"}
LOSSLESS_SOUND = {"matroska": "flac"}  # for audio that Matroska has no codec ID for (PCM of discs)
TRIAL_SECONDS = "0.5"


@dataclass(frozen=True, kw_only=True)
class CopiedStream:
    """A stream copied from the source: its index there, and the codec to convert it to, if any."""

    index: int
    kind: str
    convert: str | None = None


def can_mux(source: Path, stream: StreamInfo, container: str, convert: str | None = None) -> bool:
    """Whether a container can hold a stream of the source: its first half second is muxed and read back.

    Some containers accept streams that cannot be read back.  Without a temporary folder only muxing is tried.
    """
    words = ["-y", "-i", f"file:{source}", "-map", f"0:{stream.index}", "-c", convert or "copy", "-t", TRIAL_SECONDS]
    with spare_folder() as folder:
        if folder is None:
            return succeeds([*words, "-f", container, os.devnull])
        trial = folder / "trial"
        return succeeds([*words, "-f", container, f"file:{trial}"]) and is_readable(trial, stream.kind)


def succeeds(words: Sequence[str]) -> bool:
    """Whether ffmpeg succeeds."""
    try:
        FFmpegProcess(words).finish()
    except OutputError:
        return False
    return True


def is_readable(path: Path, kind: str) -> bool:
    """Whether the one stream of a file is there; sound that has packets must decode, too."""
    try:
        with av.open(f"file:{path}", metadata_errors="replace") as box:
            if kind != "audio":
                return len(box.streams) > 0
            if not box.streams.audio or box.streams.audio[0].codec_context is None:
                return False
            packets = 0
            for packet in box.demux(audio=0):
                packets += bool(packet.size)
                if packet.decode():
                    return True
            return not packets
    except (av.error.FFmpegError, OSError, ValueError):
        return False


def select_streams(
    source: Path, container: str, streams: Sequence[StreamInfo]
) -> tuple[list[CopiedStream], list[StreamInfo]]:
    """Streams that `container` can hold, copied or converted, and those it cannot."""
    copied, lost = [], []
    for stream in streams:
        if can_mux(source, stream, container):
            copied.append(CopiedStream(index=stream.index, kind=stream.kind))
        elif (codec := fallback_codec(stream, container)) and can_mux(source, stream, container, codec):
            copied.append(CopiedStream(index=stream.index, kind=stream.kind, convert=codec))
        else:
            lost.append(stream)
    return copied, lost


def fallback_codec(stream: StreamInfo, container: str) -> str | None:
    """The codec to convert a stream to where a container cannot hold it unchanged; None: drop it."""
    if stream.kind == "subtitle":
        return TEXT_SUBTITLES.get(container, "srt")
    return LOSSLESS_SOUND.get(container) if stream.kind == "audio" else None
