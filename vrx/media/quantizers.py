"""How coarsely pictures were quantized, as their decoder tells: what was lost is known where it does not show."""

from __future__ import annotations

import math
import struct

import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vrx.media.frame_side_data import read_frame_side_data

MPEG_LIKE = {"mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v2", "msmpeg4", "wmv1", "wmv2", "h263", "flv"}
TELLING = {"h264", *MPEG_LIKE}  # decoders; that of version 3 is called msmpeg4
KIND = "VIDEO_ENC_PARAMS"  # PyAV's name of this side data
# FFmpeg's AVVideoEncParams: blocks, where they begin and the bytes of each, the kind of encoder, the picture's own
# quantizer; each block ends with its difference from that
HEADER = struct.Struct("=I4xQQii")
H264, MPEG = 1, 2  # kinds of encoder; of all but H.264 FFmpeg gives steps
UNIT_STEP, DOUBLING = 0.625, 6  # of H.264: the step of quantizer 0, and after how many it is twice as wide


def ask_for_quantizers(stream: VideoStream) -> bool:
    """Have a stream's decoder, not open yet, tell them; whether it will.

    Where its threads share a picture, not each having one: FFmpeg does not wait for the others before it tells.
    """
    decoder = stream.codec_context
    if decoder.name not in TELLING:
        return False
    stream.thread_type = "SLICE"
    decoder.options = {**decoder.options, "export_side_data": "venc_params"}
    return True


def read_quantizer(picture: VideoFrame) -> float | None:
    """The mean quantizer of a picture on the scale of 8-bit H.264, 0 to 51; None where its decoder does not tell."""
    quantizer = parse_quantizer(read_frame_side_data(picture, "").get(KIND, b""))
    if quantizer is None:
        return None
    # the step of a quantizer is in levels of the picture's own depth
    return max(0.0, quantizer - DOUBLING * (picture.format.components[0].bits - 8))


def parse_quantizer(data: bytes) -> float | None:
    """The mean of the blocks in FFmpeg's AVVideoEncParams, on the scale of H.264; None where they cannot be read."""
    if len(data) < HEADER.size:
        return None
    blocks, begin, size, kind, own = HEADER.unpack_from(data)
    if kind not in (H264, MPEG) or not blocks or not size or size % 4 or len(data) < begin + blocks * size:
        return None
    differences = np.frombuffer(data, "=i4", blocks * size // 4, begin).reshape(blocks, -1)[:, -1]
    mean = own + float(differences.mean())
    return mean if kind == H264 else from_step(mean)


def from_step(step: float) -> float:
    """The quantizer of H.264 whose step, in levels of 255, this is; at least 0."""
    return max(0.0, DOUBLING * math.log2(max(step, UNIT_STEP) / UNIT_STEP))
