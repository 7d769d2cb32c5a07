"""A short H.264 video in memory, for pages that show it: every player knows it, no other file is needed."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Final

import av
import av.error
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from vrx.errors import OutputError

ENCODER: Final = "libx264"
TIME_BASE = Fraction(1, 90_000)  # seconds; MP4's usual clock
BT709 = 1  # of primaries, transfer and matrix in ITU-T H.273
KEY_INTERVAL = 12  # frames: stepping and seeking decode few
QUALITY = {"crf": "19", "preset": "veryfast", "maxrate": "9M", "bufsize": "9M"}


class H264Clip:
    """Pictures to an MP4 in memory.  Raises OutputError where this PyAV has no such encoder."""

    def __init__(self, size: tuple[int, int]) -> None:
        """`size`: (width, height), even."""
        self._target = io.BytesIO()
        try:
            self._box = av.open(self._target, "w", format="mp4")
            self._stream = self._box.add_stream(ENCODER, options={**QUALITY, "g": str(KEY_INTERVAL), "bf": "0"})
        except (av.error.FFmpegError, ValueError) as error:
            raise OutputError(f"no H.264 encoder in PyAV: {error}") from error
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        self._stream.time_base = context.time_base = TIME_BASE
        context.color_primaries = context.color_trc = context.colorspace = BT709
        context.color_range = ColorRange.MPEG

    def add(self, picture: NDArray[np.uint8], time: Fraction) -> None:
        """One RGB picture [H, W, 3], shown from `time` in seconds on, which must rise."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
        frame.pts, frame.time_base = round(time / TIME_BASE), TIME_BASE
        self._box.mux(self._stream.encode(frame))

    def finish(self) -> bytes:
        """The whole file; nothing can be added any more."""
        self._box.mux(self._stream.encode(None))
        self._box.close()
        return self._target.getvalue()

    def discard(self) -> None:
        """Give up the file."""
        self._box.close()
