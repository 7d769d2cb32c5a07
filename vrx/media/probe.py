"""What a file holds, read without decoding more than its first picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.container import InputContainer
from av.format import Flags
from av.stream import Discard, Stream
from av.video.stream import VideoStream

from vrx.errors import InputError
from vrx.media.frame import Color
from vrx.media.stills import STILL_SUFFIXES, is_pattern, still_options
from vrx.settings import MAX_PIXELS

ALLOWED_PROTOCOLS = "file,pipe"
FAST, USUAL_RATE = 500, Fraction(25)  # frames a second
PLAYLISTS = {"hls", "concat", "sdp", "rtsp", "dash", "concatf", "webm_dash_manifest"}
MATRICES = {0: "rgb", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco"}
MATRICES |= {9: "bt2020nc", 10: "bt2020c", 14: "ictcp"}
PRIMARIES = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film"}
PRIMARIES |= {9: "bt2020", 10: "smpte428", 11: "smpte431", 12: "smpte432", 22: "jedec-p22"}
TRANSFERS = {1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 7: "smpte240m", 8: "linear"}
TRANSFERS |= {9: "log100", 10: "log316", 11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1"}
TRANSFERS |= {14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084", 17: "smpte428", 18: "arib-std-b67"}
NAMELESS = {"", "none", "bin_data"}  # codec names that say nothing
RANGES = {1: False, 2: True}


@dataclass(frozen=True)
class StreamInfo:
    """One stream: `index` in the file, codec name, its own tags.

    `kind` is video, cover, audio, subtitle, attachment, data, or chapters (QuickTime's track of their titles).
    """

    index: int
    kind: str
    codec: str
    language: str = ""
    detail: str = ""
    metadata: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        named = self.codec if self.codec not in NAMELESS else self.metadata.get("handler_name", "unknown")
        return f"{self.kind} {self.index} ({named})"


@dataclass(frozen=True)
class VideoInfo:
    """The video stream that is restored.

    `size` is (width, height) as stored; `rotation` in degrees as a player turns it; `sample_aspect`
    0 where unknown; `frames` is the container's count, 0 where it has none; times in seconds.
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


@dataclass(frozen=True)
class SourceInfo:
    """What a source holds; `start` is the earliest time of any of its streams, in seconds."""

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

    @property
    def still(self) -> bool:
        """Whether it is a picture or a sequence of them, not a video file."""
        return is_pattern(self.path) or self.path.suffix.lower() in STILL_SUFFIXES

    @property
    def estimated_frames(self) -> int | None:
        """The container's frame count, or duration times rate, or None."""
        if self.video.frames:
            return self.video.frames
        seconds = self.video.duration or self.duration
        return round(seconds * self.video.rate) if seconds and self.video.rate else None


def explain(error: Exception, name: str) -> InputError:
    """A PyAV failure at opening or decoding as one line."""
    if isinstance(error, FileNotFoundError):
        return InputError(f"cannot read {name}: no such file")
    if isinstance(error, PermissionError):
        return InputError(f"cannot read {name}: permission denied")
    if isinstance(error, IsADirectoryError):
        return InputError(f"cannot read {name}: it is a folder")
    if isinstance(error, EOFError):
        return InputError(f"cannot read {name}: it is empty or ends too early")
    return InputError(f"cannot read {name}: truncated, damaged or not a video")


@contextmanager
def opened(source: Path, name: str) -> Iterator[InputContainer]:
    """Open a local file with PyAV; only the file and pipe protocols are allowed."""
    if not is_pattern(source):
        check_regular(source, name)
    form, extra = still_options(source)
    options = {"protocol_whitelist": ALLOWED_PROTOCOLS, **extra}
    try:
        container = av.open(f"file:{source}", format=form, options=options, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise explain(error, name) from error
    with container:
        if PLAYLISTS & set(container.format.name.split(",")):
            raise InputError(f"cannot read {name}: playlists are not followed", "Give the video file itself")
        yield container


def check_regular(path: Path, name: str) -> None:
    """Refuse what is no readable file before any library looks at it."""
    if not path.exists():
        raise InputError(f"cannot read {name}: no such file")
    if path.is_dir():
        raise InputError(f"cannot read {name}: it is a folder")
    if not path.is_file():
        raise InputError(f"cannot read {name}: not a regular file", "Use - to read a pipe")
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except OSError as error:
        raise explain(error, name) from error
    if size == 0:
        raise InputError(f"cannot read {name}: the file is empty")


def pick_video(container: InputContainer, name: str) -> VideoStream:
    """The stream a player would show: the default one, else the largest; cover pictures never."""
    moving = [s for s in container.streams.video if not is_cover(s)]
    if not moving:
        held = ", ".join(f"{sum(s.type == k for s in container.streams)} {k}" for k in kinds(container))
        raise InputError(f"cannot read {name}: no video stream ({held or 'no streams at all'})")
    moving = [s for s in moving if s.codec_context is not None]
    if not moving:
        raise InputError(f"cannot read {name}: nothing here decodes its kind of video", "Convert it first")
    default = [s for s in moving if s.disposition & s.disposition.__class__.default]
    return max(default or moving, key=lambda s: (s.width or 0) * (s.height or 0))


def kinds(container: InputContainer) -> list[str]:
    """Kinds of streams, each once, in the file's order."""
    return list(dict.fromkeys(stream.type for stream in container.streams))


def is_cover(stream: VideoStream) -> bool:
    """Whether a video stream is an attached picture."""
    return bool(stream.disposition & stream.disposition.__class__.attached_pic)


def kind_of(stream: Stream) -> str:
    """A stream's kind, as `StreamInfo` has it."""
    if isinstance(stream, VideoStream) and is_cover(stream):
        return "cover"
    if stream.type == "data" and stream.discard is Discard.all:
        return "chapters"  # the demuxer has read it already and passes no packets on
    return stream.type


def color_of(context: Any) -> Color:
    """Colour tags of a codec context or a frame."""
    location = getattr(context, "chroma_location", None)
    return Color(
        matrix=MATRICES.get(int(context.colorspace or 0), "") if int(context.colorspace or 0) else "",
        primaries=PRIMARIES.get(int(context.color_primaries or 0), ""),
        transfer=TRANSFERS.get(int(context.color_trc or 0), ""),
        full_range=RANGES.get(int(context.color_range or 0)),
        chroma_location=str(location) if location else "",
    )


def plausible(time_base: Fraction, *rates: Fraction | None) -> Fraction:
    """The first rate that is one: WMV, and files of one frame, give the fineness of their clock for it."""
    return next((Fraction(rate) for rate in rates if rate and (rate < FAST or rate < 1 / time_base)), USUAL_RATE)


def own_rate(stream: VideoStream) -> Fraction | None:
    """The rate that a raw stream itself gives; its container has no clock, and ffmpeg takes 25 frames a second."""
    rate = stream.codec_context.framerate
    return Fraction(rate) if rate else None


def video_info(stream: VideoStream, name: str) -> VideoInfo:
    """Describe a video stream from its header and its first picture."""
    context = stream.codec_context
    width, height = context.width, context.height
    if not width or not height:
        raise InputError(f"cannot read {name}: the video stream has no size")
    if width * height > MAX_PIXELS:
        raise InputError(f"cannot read {name}: {width}x{height} is more than {MAX_PIXELS} pixels")
    base = stream.time_base or Fraction(1, 1000)
    return VideoInfo(
        index=stream.index,
        codec=context.name,
        size=(width, height),
        pix_fmt=context.pix_fmt or "",
        color=color_of(context),
        rate=plausible(base, stream.average_rate, stream.guessed_rate),
        time_base=base,
        sample_aspect=Fraction(stream.sample_aspect_ratio or 0),
        rotation=0,
        interlaced="",
        frames=stream.frames,
        start=None if stream.start_time is None else stream.start_time * base,
        duration=None if stream.duration is None else stream.duration * base,
    )


def describe(container: InputContainer, name: str, path: Path) -> SourceInfo:
    """Describe an open container; the frame position is not used afterwards."""
    stream = pick_video(container, name)
    streams = tuple(
        StreamInfo(
            index=s.index,
            kind=kind_of(s),
            codec=(s.codec_context.name if s.codec_context else s.name) or "",
            language=s.language or "",
            metadata=dict(s.metadata),
        )
        for s in container.streams
    )
    duration = None if container.duration is None else Fraction(container.duration, av.time_base)
    video = video_info(stream, name)
    if Flags.no_timestamps & Flags(container.format.flags):
        video = replace(video, rate=plausible(video.time_base, own_rate(stream), video.rate))
    return SourceInfo(
        name=name,
        path=path,
        container=container.format.name,
        start=Fraction(container.start_time or 0, av.time_base),
        duration=duration,
        bit_rate=container.bit_rate or 0,
        video=video,
        streams=streams,
        chapters=len(container.chapters()),
        metadata=dict(container.metadata),
    )
