"""Choice of the video stream: the one that players show, or the one that the user chose."""

from __future__ import annotations

from fractions import Fraction

from av.container import InputContainer
from av.video.stream import VideoStream

from vrx.errors import InputError, UsageError
from vrx.events import Note
from vrx.settings import parse_time

LONG_SHARE = Fraction(1, 2)  # of the longest stream's duration: shorter streams are trailers or thumbnails


def pick_video(container: InputContainer, name: str, wanted: int | None = None) -> VideoStream:
    """The stream `wanted` (its index in the file), else the one that players show.

    Cover pictures, tiles and thumbnails never; a moving stream before a still one, then the default one,
    then a long one, then the largest, then the first.  Raises InputError where there is none, UsageError
    for an index that is not a video stream.
    """
    shown = [s for s in container.streams.video if not is_cover(s)]
    if not shown:
        others = ", ".join(f"{sum(s.type == k for s in container.streams)} {k}" for k in stream_kinds(container))
        raise InputError(f"cannot read {name}: no video stream ({others or 'no streams at all'})")
    if wanted is not None:
        shown = [s for s in shown if s.index == wanted]
        if not shown:
            raise UsageError(
                f"stream {wanted} of {name} is not a video stream", f"Choose from {list_streams(container)}"
            )
    decodable = [s for s in shown if s.codec_context is not None]
    if not decodable:
        raise InputError(f"cannot read {name}: no decoder for its video codec", "Convert it first")
    longest = max(stream_duration(s) for s in decodable)
    return max(decodable, key=lambda s: stream_rank(s, longest))


def stream_rank(stream: VideoStream, longest: Fraction) -> tuple[bool, bool, bool, bool, int, int]:
    """Sort key of a stream, the most important criterion first; `longest` is the longest duration in seconds."""
    flags = stream.disposition
    part = bool(flags & flags.__class__.dependent) or bool(flags & flags.__class__.timed_thumbnails)
    length = stream_duration(stream)
    return (
        not part,
        frame_count(stream) != 1,
        bool(flags & flags.__class__.default),
        not length or length >= LONG_SHARE * longest,
        (stream.width or 0) * (stream.height or 0),
        -stream.index,
    )


def frame_count(stream: VideoStream) -> int:
    """Frame count of the container, 0 where unknown."""
    if stream.frames:
        return int(stream.frames)
    tags = (value for key, value in stream.metadata.items() if key.upper().startswith("NUMBER_OF_FRAMES"))
    return next((int(value) for value in tags if value.isdecimal()), 0)


def stream_duration(stream: VideoStream) -> Fraction:
    """Duration in seconds from the stream's header, or Matroska's tag; 0 where unknown."""
    if stream.duration is not None and stream.time_base:
        return Fraction(stream.duration * stream.time_base)
    try:
        return parse_time(stream.metadata.get("DURATION", "0")[:15])
    except UsageError:
        return Fraction(0)


def list_streams(container: InputContainer) -> str:
    """The video streams that can be chosen, in words."""
    return ", ".join(f"{s.index} ({describe_stream(s)})" for s in container.streams.video if not is_cover(s))


def describe_stream(stream: VideoStream) -> str:
    """Codec, size and frames in words."""
    codec = stream.codec_context.name if stream.codec_context is not None else "unknown codec"
    frames = frame_count(stream)
    count = [f"{frames} frame{'s' if frames > 1 else ''}"] if frames else []
    return ", ".join([codec, f"{stream.width}x{stream.height}", *count])


def choice_note(container: InputContainer, stream: VideoStream) -> Note | None:
    """A note on the chosen stream; None where there is only one."""
    others = [s for s in container.streams.video if not is_cover(s) and s.index != stream.index]
    if not others:
        return None
    text = f"{len(others) + 1} video streams; restoring stream {stream.index} ({describe_stream(stream)})"
    return Note("stream-choice", f"{text}; to choose another: --stream", {"stream": stream.index}, "warning")


def stream_kinds(container: InputContainer) -> list[str]:
    """Kinds of streams, each once, in the file's order."""
    return list(dict.fromkeys(stream.type for stream in container.streams))


def is_cover(stream: VideoStream) -> bool:
    """Whether a video stream is an attached picture."""
    return bool(stream.disposition & stream.disposition.__class__.attached_pic)
