"""Alpha channels: those stored as a separate stream, and whether any pixel is transparent."""

from __future__ import annotations

import av
import av.error
from av.codec.codec import codecs_available
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

ALPHA_TAG = "alpha_mode"  # WebM: the alpha plane is a second VP8 or VP9 stream beside the blocks of the first
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's native decoders ignore the second stream

OPAQUE = 255


def has_transparency(frame: VideoFrame) -> bool:
    """Whether any pixel is not opaque."""
    return bool(frame.to_ndarray(format="rgba")[..., 3].min() < OPAQUE)


def any_transparent_frame(url: str, index: int) -> bool:
    """Whether any frame of a stream has a pixel that is not opaque; decodes frames until one has.

    For animations: their formats have an alpha plane or palette, used or not.
    """
    try:
        with av.open(url) as box:
            return any(
                has_transparency(frame) for frame in box.decode(box.streams[index]) if isinstance(frame, VideoFrame)
            )
    except (av.error.FFmpegError, OSError):
        return True  # the reader reports what is wrong


def has_separate_alpha(stream: VideoStream) -> bool:
    """Whether a stream's alpha is a second stream, which its default decoder ignores."""
    tags = {key.lower(): value for key, value in stream.metadata.items()}
    return stream.codec_context.name in ALPHA_DECODERS and tags.get(ALPHA_TAG) == "1"


def alpha_decoder(stream: VideoStream) -> VideoCodecContext | None:
    """A decoder that also decodes a separate alpha stream; None where none is needed or available."""
    if not has_separate_alpha(stream):
        return None
    name = ALPHA_DECODERS[stream.codec_context.name]
    if name not in codecs_available:
        return None
    decoder = CodecContext.create(name, "r")
    assert isinstance(decoder, VideoCodecContext)
    return decoder
