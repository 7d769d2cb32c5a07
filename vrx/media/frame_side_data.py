"""Side data of decoded frames, read around crashes in PyAV."""

from __future__ import annotations

from typing import Any, cast

from av.video.frame import VideoFrame

# PyAV (18.1) frees the dictionary that these decoders give a color profile along with its name, and so does
# FFmpeg: the process dies in garbage collection.  Not even reading the list is safe.
CRASHING_DECODERS = {"png", "apng"}
HDR10_KINDS = ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL")


def read_frame_side_data(frame: VideoFrame, codec: str) -> dict[str, bytes]:
    """Side data of a frame that `codec` decoded, raw bytes by PyAV's names; empty where it cannot be read."""
    if codec in CRASHING_DECODERS:
        return {}
    try:
        return {data.type.name: bytes(data) for data in cast(Any, frame.side_data)}
    except ValueError:  # kinds unknown to PyAV, a photograph's EXIF data among them
        return {}


def read_hdr10(frame: VideoFrame, codec: str) -> dict[str, bytes]:
    """Mastering display and content light level of a frame, raw bytes by name."""
    return {name: data for name, data in read_frame_side_data(frame, codec).items() if name in HDR10_KINDS}
