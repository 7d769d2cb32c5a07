"""Default container of a result: one that can hold the source's other streams unchanged."""

from __future__ import annotations

from collections.abc import Sequence

from vrx.media.probe import StreamInfo
from vrx.media.streams import is_plain_pcm

DEFAULT_SUFFIX = ".mp4"  # plays everywhere
FALLBACK_SUFFIX = ".mkv"  # holds nearly every audio codec, subtitle and attachment
SAME_AS_SOURCE = {".mp4", ".mkv", ".mov", ".webm"}  # sources whose own container is written again
MP4_CODECS = {  # codecs that ffmpeg writes into MP4 and reads back, by kind; names as its decoders give them
    "audio": {
        *("aac", "ac3", "alac", "dca", "eac3", "flac", "mp1", "mp2", "mp3", "opus", "vorbis"),
    },
    "subtitle": {"mov_text"},
    "video": {"av1", "libdav1d", "h264", "hevc", "mjpeg", "mpeg1video", "mpeg2video", "mpeg4", "vp9", "vvc"},
    "cover": {"mjpeg", "png"},
    "attachment": set(),
}
UNSUPPORTED_SUBTITLES = {"cc_dec", "dvb_teletext", "eia_608"}  # subtitles that Matroska cannot hold either
DECODER_VARIANTS = ("float", "fixed")  # ends of decoder names: mp3float reads mp3


def choose_container(others: Sequence[StreamInfo], source_suffix: str) -> tuple[str, str]:
    """The suffix of a result that is not named, and the reason in words; empty for the default.

    `others` are the source's streams except the restored one.  Timed data (positions of a phone,
    for example) fits neither container, so it decides nothing.
    """
    if source_suffix.lower() in SAME_AS_SOURCE:
        return source_suffix.lower(), ""
    misfits = [stream for stream in others if not fits_mp4(stream)]
    if not misfits:
        return DEFAULT_SUFFIX, ""
    return FALLBACK_SUFFIX, f"MP4 cannot hold {', '.join(map(str, misfits))} as it is; written as Matroska"


def fits_mp4(stream: StreamInfo) -> bool:
    """Whether MP4 holds a stream unchanged, or as AAC what is uncompressed, or no container does."""
    codec = stream.codec
    for variant in DECODER_VARIANTS:
        codec = codec.removesuffix(variant)
    if (stream.kind == "subtitle" and codec in UNSUPPORTED_SUBTITLES) or is_plain_pcm(codec):
        return True
    return codec in MP4_CODECS.get(stream.kind, {codec})
