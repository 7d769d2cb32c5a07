"""Probing: streams, formats and durations of a file from its headers."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from errno import ENAMETOOLONG
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.format import Flags
from av.stream import Discard, Stream
from av.video.stream import VideoStream

from vrx.errors import InputError
from vrx.media.animations import count_animation_frames, is_animation
from vrx.media.color import MATRICES, PRIMARIES, TRANSFERS
from vrx.media.compositing import read_source_format, readable_copy
from vrx.media.file_types import ALIASES, demuxer_options, detect_suffix, is_pattern, is_still, sequence_members
from vrx.media.frame import Color
from vrx.media.video_stream import describe_stream, is_cover, pick_video
from vrx.settings import LIMIT, too_large

ALLOWED_PROTOCOLS = "file,pipe"
MAX_PLAUSIBLE_RATE, DEFAULT_RATE = 500, Fraction(25)  # frames a second
PLAYLISTS = {"hls", "concat", "sdp", "rtsp", "dash", "concatf", "webm_dash_manifest"}
UNNAMED_CODECS = {"", "none", "bin_data"}  # codec names without meaning
RANGES = {1: False, 2: True}


@dataclass(frozen=True)
class StreamInfo:
    """One stream: `index` in the file, codec name, its own tags.

    `kind` is video, cover, audio, subtitle, attachment, data, or chapters (QuickTime's track of their titles).
    `channels` of sound, 0 where unknown.
    """

    index: int
    kind: str
    codec: str
    language: str = ""
    detail: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    channels: int = 0

    def __str__(self) -> str:
        named = self.codec if self.codec not in UNNAMED_CODECS else self.metadata.get("handler_name", "unknown")
        return f"{self.kind} {self.index} ({named})"


@dataclass(frozen=True)
class VideoInfo:
    """The video stream that is restored.

    `size` is (width, height) as stored; `rotation` counterclockwise in degrees as a player turns it, which
    then mirrors it left to right if `mirrored`; `sample_aspect` 0 where unknown; `frames` is the container's
    count, 0 where it has none; `interlaced` tff or bff, the field that is first, or empty; times in seconds.
    """

    index: int
    codec: str
    size: tuple[int, int]
    pix_fmt: str
    color: Color
    rate: Fraction
    time_base: Fraction
    sample_aspect: Fraction
    rotation: int
    interlaced: str
    frames: int
    start: Fraction | None
    duration: Fraction | None
    attached: bool = False
    mirrored: bool = False


@dataclass(frozen=True)
class SourceInfo:
    """What a source holds; `start` is the earliest time of any of its streams, in seconds.

    `still` for a picture or an image sequence, `animated` for an animated picture file.
    """

    name: str
    path: Path
    container: str
    start: Fraction
    duration: Fraction | None
    bit_rate: int
    video: VideoInfo
    streams: tuple[StreamInfo, ...]
    chapters: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    still: bool = False
    animated: bool = False

    @property
    def is_animation_format(self) -> bool:
        """Whether it is of a format for short moving pictures, GIF among them."""
        return self.animated or self.video.codec in ("gif", "apng")

    @property
    def estimated_frames(self) -> int | None:
        """The container's frame count, or duration times rate, or None."""
        if self.video.frames:
            return self.video.frames
        seconds = self.video.duration or self.duration
        return round(seconds * self.video.rate) if seconds and self.video.rate else None


def input_error(error: Exception, name: str) -> InputError:
    """The error for a PyAV exception while opening or decoding."""
    if isinstance(error, FileNotFoundError):
        return InputError(f"cannot read {name}: no such file")
    if isinstance(error, PermissionError):
        return InputError(f"cannot read {name}: permission denied")
    if isinstance(error, IsADirectoryError):
        return InputError(f"cannot read {name}: it is a folder")
    if isinstance(error, EOFError):
        return InputError(f"cannot read {name}: it is empty or ends too early")
    if isinstance(error, OSError) and error.errno == ENAMETOOLONG:
        return InputError(f"cannot read {name}: {error.strerror}")
    return InputError(f"cannot read {name}: truncated, damaged or not a video")


@contextmanager
def open_input(source: Path, name: str) -> Iterator[InputContainer]:
    """Open a local file with PyAV; only the file and pipe protocols are allowed."""
    check_regular(source, name)
    with ExitStack() as stack:
        file = stack.enter_context(readable_copy(source, name))
        form, extra = demuxer_options(file)
        options = {"protocol_whitelist": ALLOWED_PROTOCOLS, **extra}
        try:
            container = stack.enter_context(
                av.open(f"file:{file}", format=form, options=options, metadata_errors="replace")
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise input_error(error, name) from error
        if PLAYLISTS & set(container.format.name.split(",")):
            raise InputError(f"cannot read {name}: playlists are not followed", "Give the video file itself")
        yield container


def find_size(source: Path) -> tuple[int, int] | None:
    """Width and height of a file's pictures as they are stored; None where it has none that can be read."""
    try:
        with open_input(source, str(source)) as container:
            stream = pick_video(container, str(source))
            return (stream.width, stream.height) if stream.width and stream.height else None
    except InputError:
        return None


def check_regular(path: Path, name: str) -> None:
    """Refuse anything but a readable regular file before a library opens it.  Raises InputError."""
    try:
        if not path.exists():
            raise InputError(f"cannot read {name}: no such file")
        if path.is_dir():
            raise InputError(f"cannot read {name}: it is a folder")
        if not path.is_file():
            raise InputError(f"cannot read {name}: not a regular file", "Use - to read a pipe")
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except OSError as error:
        raise input_error(error, name) from error
    if size == 0:
        raise InputError(f"cannot read {name}: the file is empty")


def stream_kind(stream: Stream) -> str:
    """A stream's kind, as `StreamInfo` has it."""
    if isinstance(stream, VideoStream) and is_cover(stream):
        return "cover"
    if stream.type == "data" and stream.discard is Discard.all:
        return "chapters"  # the demuxer has read it already and passes no packets on
    return stream.type


def read_color(context: Any) -> Color:
    """Color tags of a codec context or a frame."""
    location = getattr(context, "chroma_location", None)
    return Color(
        matrix=MATRICES.get(int(context.colorspace or 0), "") if int(context.colorspace or 0) else "",
        primaries=PRIMARIES.get(int(context.color_primaries or 0), ""),
        transfer=TRANSFERS.get(int(context.color_trc or 0), ""),
        full_range=RANGES.get(int(context.color_range or 0)),
        chroma_location=str(location) if location else "",
    )


def choose_rate(time_base: Fraction, *rates: Fraction | None) -> Fraction:
    """The first plausible frame rate: WMV and files with one frame report the inverse of their time base."""
    return next(
        (Fraction(rate) for rate in rates if rate and (rate < MAX_PLAUSIBLE_RATE or rate < 1 / time_base)), DEFAULT_RATE
    )


def codec_rate(stream: VideoStream) -> Fraction | None:
    """The frame rate in a raw stream, whose container has none (ffmpeg would assume 25)."""
    rate = stream.codec_context.framerate
    return Fraction(rate) if rate else None


def missing_size_error(path: Path, name: str) -> InputError:
    """The error for a video without a size: another file type, too large for FFmpeg, or damaged."""
    try:
        with path.open("rb") as file:
            head = file.read(24)
    except OSError:
        head = b""
    suffix = detect_suffix(head)
    if suffix and is_still(path) and suffix != ALIASES.get(path.suffix.lower(), path.suffix.lower()):
        return InputError(f"cannot read {name}: it is a {suffix} file by its contents", f"Rename it to {suffix}")
    if suffix == ".png" and len(head) == 24 and too_large(*struct.unpack_from(">2I", head, 16)):
        width, height = struct.unpack_from(">2I", head, 16)
        return InputError(f"cannot read {name}: {width}x{height} is {LIMIT}")
    return InputError(f"cannot read {name}: it has no size, or one that is {LIMIT}")


def describe_video(stream: VideoStream, name: str, path: Path) -> VideoInfo:
    """Describe a video stream from its header and its first picture."""
    context = stream.codec_context
    width, height = context.width, context.height
    if not width or not height:
        raise missing_size_error(path, name)
    if too_large(width, height):
        raise InputError(f"cannot read {name}: {width}x{height} is {LIMIT}")
    base = stream.time_base or Fraction(1, 1000)
    return VideoInfo(
        index=stream.index,
        codec=context.name,
        size=(width, height),
        pix_fmt=context.pix_fmt or "",
        color=read_color(context),
        rate=choose_rate(base, stream.average_rate, stream.guessed_rate),
        time_base=base,
        sample_aspect=Fraction(stream.sample_aspect_ratio or 0),
        rotation=0,
        interlaced="",
        frames=stream.frames,
        start=None if stream.start_time is None else stream.start_time * base,
        duration=None if stream.duration is None else stream.duration * base,
    )


def describe_source(container: InputContainer, name: str, path: Path, stream: VideoStream) -> SourceInfo:
    """Describe an open container and the video stream that is restored."""
    streams = tuple(
        StreamInfo(
            index=s.index,
            kind=stream_kind(s),
            codec=(s.codec_context.name if s.codec_context else s.name) or "",
            language=s.language or "",
            metadata=dict(s.metadata),
            detail=describe_stream(s) if isinstance(s, VideoStream) else "",
            channels=s.channels if isinstance(s, AudioStream) and s.codec_context is not None else 0,
        )
        for s in container.streams
    )
    video, form = describe_video(stream, name, path), container.format.name
    if Path(container.name.removeprefix("file:")).parent != path.parent:  # a temporary file with the composed picture
        source = read_source_format(sequence_members(path)[0] if is_pattern(path) else path)
        form, video = source.container, replace(video, codec=source.codec, color=source.color or video.color)
    animated = is_animation(path)
    if animated:
        video = replace(video, frames=video.frames or count_animation_frames(path))
    duration = None if container.duration is None else Fraction(container.duration, av.time_base)
    if Flags.no_timestamps & Flags(container.format.flags):
        video = replace(video, rate=choose_rate(video.time_base, codec_rate(stream), video.rate))
    return SourceInfo(
        name=name,
        path=path,
        container=form,
        start=Fraction(container.start_time or 0, av.time_base),
        duration=duration,
        bit_rate=container.bit_rate or 0,
        video=video,
        streams=streams,
        chapters=len(container.chapters()),
        metadata=dict(container.metadata),
        still=is_pattern(path) or is_still(path),
        animated=animated,
    )
