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
# encoders of sound that a container cannot hold; Matroska: PCM of discs, for which it has no codec ID
SOUND_ENCODERS = {"matroska": "flac", "avi": "pcm_s16le", "webm": "libopus"}
SOUND_ENCODERS |= dict.fromkeys(("mp4", "mov", "mpegts"), "aac")
LOSSY_SOUND = {"aac", "libopus"}
BITS_A_CHANNEL = 128_000  # a second, of lossy sound: no difference is heard at that
DISC_PCM = {"pcm_dvd", "pcm_bluray"}  # sound of discs, packed as only they do
MP4_SUFFIXES = {".mp4", ".m4v"}
TRIAL_SECONDS = "0.5"
TRIAL_PACKETS = "25"  # of sound: half a second of most codecs
MATROSKA_MAGIC = b"\x1a\x45\xdf\xa3"  # of EBML


@dataclass(frozen=True, kw_only=True)
class CopiedStream:
    """A stream copied from the source: its index there, and the codec to convert it to, if any.

    `bit_rate` of lossy sound, in bits a second.
    """

    index: int
    kind: str
    convert: str | None = None
    bit_rate: int | None = None


def can_mux(source: Path, stream: StreamInfo, container: str, convert: str | None = None) -> bool:
    """Whether a container can hold a stream of the source: its first half second is muxed and read back.

    Sound may begin later: then its first packets are, wherever they are.  Some containers accept streams that cannot be
    read back.  Without a temporary folder only muxing is tried.
    """
    words = ["-y", "-i", f"file:{source}", "-map", f"0:{stream.index}", "-c", convert or "copy"]
    beginning = ["-t", TRIAL_SECONDS]
    with spare_folder() as folder:
        if folder is None:
            return succeeds([*words, *beginning, "-f", container, os.devnull])
        trial = folder / "trial"
        target = ["-f", container, f"file:{trial}"]
        if stream.kind != "audio":
            written = succeeds([*words, *beginning, *target])
            return written and (is_readable(trial, stream.kind) or has_header_only(trial))
        limits = (beginning, ["-frames:a", TRIAL_PACKETS])
        return any(succeeds([*words, *limit, *target]) and is_readable(trial, "audio") for limit in limits)


def succeeds(words: Sequence[str]) -> bool:
    """Whether ffmpeg succeeds."""
    try:
        FFmpegProcess(words).finish()
    except OutputError:
        return False
    return True


def has_header_only(path: Path) -> bool:
    """Whether a file is the header of a Matroska file, which lists the streams it takes, and has no packet.

    Subtitles may come later than a trial ends, and current versions of FFmpeg open no such file.
    """
    try:
        with av.open(f"file:{path}", metadata_errors="replace"):
            return False
    except av.error.EOFError:
        return path.read_bytes()[:4] == MATROSKA_MAGIC
    except (av.error.FFmpegError, OSError, ValueError):
        return False


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
        fallback = fallback_codec(stream, container)
        ways = [None, fallback] if fallback else [None]
        if is_plain_pcm(stream.codec) and container == "mp4" and source.suffix.lower() not in MP4_SUFFIXES:
            ways.reverse()  # MP4 holds PCM, which few players play
        for codec in ways:
            if can_mux(source, stream, container, codec):
                rate = BITS_A_CHANNEL * (stream.channels or 2) if codec in LOSSY_SOUND else None
                copied.append(CopiedStream(index=stream.index, kind=stream.kind, convert=codec, bit_rate=rate))
                break
        else:
            lost.append(stream)
    return copied, lost


def is_plain_pcm(codec: str) -> bool:
    """Whether a codec is PCM as files hold it, not as discs do."""
    return codec.startswith("pcm_") and codec not in DISC_PCM


def fallback_codec(stream: StreamInfo, container: str) -> str | None:
    """The codec to convert a stream to where a container cannot hold it unchanged; None: drop it."""
    if stream.kind == "subtitle":
        return TEXT_SUBTITLES.get(container, "srt")
    return SOUND_ENCODERS.get(container) if stream.kind == "audio" else None
