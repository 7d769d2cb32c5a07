"""How coarsely pictures were quantized, as their decoder tells: what was lost is known where it does not show."""

from __future__ import annotations

import math
import struct

import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vrx.media.frame_side_data import read_frame_side_data

MPEG_LIKE = {"mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v2", "msmpeg4", "wmv1", "wmv2", "h263", "flv"}
TELLING = {"h264", "vp9", *MPEG_LIKE}  # decoders; that of version 3 is called msmpeg4
KIND = "VIDEO_ENC_PARAMS"  # PyAV's name of this side data
# FFmpeg's AVVideoEncParams: blocks, where they begin and the bytes of each, the kind of encoder, the picture's own
# quantizer; each block ends with its difference from that
HEADER = struct.Struct("=I4xQQii")
VP9, H264, MPEG = range(3)  # kinds of encoder; of the last FFmpeg gives steps
UNIT_STEP, DOUBLING = 0.625, 6  # of H.264: the step of quantizer 0, and after how many it is twice as wide
# of VP9: its coefficients are this much larger; its steps, for indices 0 to 255, grow by one up to an index and the
# step there, then evenly in their logarithm: the table for 8 bits of its specification (section 8.6.1) within 8%
VP9_SCALE, VP9_BEND, VP9_STEP, VP9_GROWTH = 8, 95, 102, 0.01804
VP9_FINER = 2.0  # quantizers by which it leaves less damage than H.264 with the same step


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
    return parse_quantizer(read_frame_side_data(picture, "").get(KIND, b""), picture.format.components[0].bits)


def parse_quantizer(data: bytes, bits: int = 8) -> float | None:
    """The mean of the blocks in FFmpeg's AVVideoEncParams, on the scale of 8-bit H.264; None where they are not told.

    `bits` of the picture's samples: but for VP9 the step of a quantizer is in levels of that depth.
    """
    if len(data) < HEADER.size:
        return None
    blocks, begin, size, kind, own = HEADER.unpack_from(data)
    mean = float(own)
    if kind != VP9 or blocks:  # VP9's are all alike where no block is told
        if kind not in (VP9, H264, MPEG) or not blocks or not size or size % 4 or len(data) < begin + blocks * size:
            return None
        mean += float(np.frombuffer(data, "=i4", blocks * size // 4, begin).reshape(blocks, -1)[:, -1].mean())
    if kind == VP9:
        return max(0.0, from_step(vp9_step(mean)) - VP9_FINER)
    return max(0.0, (mean if kind == H264 else from_step(mean)) - DOUBLING * (bits - 8))


def vp9_step(index: float) -> float:
    """The step that an index of VP9 stands for, in levels of 255 whatever the depth."""
    bent = index - VP9_BEND
    return (VP9_STEP + bent if bent < 0 else VP9_STEP * math.exp(VP9_GROWTH * bent)) / VP9_SCALE


def from_step(step: float) -> float:
    """The quantizer of H.264 whose step, in levels of 255, this is; at least 0."""
    return max(0.0, DOUBLING * math.log2(max(step, UNIT_STEP) / UNIT_STEP))
