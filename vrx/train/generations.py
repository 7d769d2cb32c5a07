"""What encoders leave of a clip: each generation is encoded by a real encoder from what the one before left.

Knows clips, encoders and files; does not know scales, networks or losses.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, cast

import av
import numpy as np

from vrx.train import footage
from vrx.train.spoil import qp_of_step

RATE = 24  # frames per second, for encoders that share bits by it
COMBED = "combed"  # a generation without an encoder: leftovers of interlacing


class Generation(NamedTuple):
    """An encoder and its CRF (H.264, HEVC) or quantizer; or COMBED and how much of the other field is left, 0..1."""

    codec: str
    value: float

    @property
    def qp(self) -> float:
        """How coarse it is, on the scale of H.264's quantizers."""
        if self.codec == COMBED:
            return 0.0
        return (
            self.value if self.codec in ("h264", "hevc") else qp_of_step(2 * self.value)
        )  # steps: twice the quantizer

    def __str__(self) -> str:
        return f"{self.codec}-{self.value:g}"


def constant_quantizer(value: float) -> dict[str, str]:
    """Options of FFmpeg's own encoders."""
    return {"qmin": f"{value:g}", "qmax": f"{value:g}"}


ENCODERS: dict[str, tuple[str, str, Callable[[float], dict[str, str]]]] = {  # encoder, pixel format, its options
    "h264": ("libx264", "yuv420p", lambda crf: {"crf": f"{crf:g}", "preset": "medium"}),
    "hevc": ("libx265", "yuv420p", lambda crf: {"crf": f"{crf:g}", "x265-params": "log-level=error"}),
    "mpeg4": ("mpeg4", "yuv420p", constant_quantizer),
    "mpeg2": ("mpeg2video", "yuv420p", constant_quantizer),
    "mjpeg": ("mjpeg", "yuvj420p", constant_quantizer),
}


def combed(frames: np.ndarray, share: float) -> np.ndarray:
    """Every second row of uint8 [T, H, W, 3] taken from the next frame, for `share` of it."""
    later = np.concatenate([frames[1:], frames[-1:]])
    rows = frames.copy()
    odd = frames[:, 1::2].astype(np.float32)
    rows[:, 1::2] = np.rint(odd + share * (later[:, 1::2] - odd)).astype(np.uint8)
    return rows


def encode(path: Path, frames: np.ndarray, generation: Generation) -> None:
    """uint8 RGB frames [T, H, W, 3], even sides, to a file."""
    encoder, pix_fmt, options = ENCODERS[generation.codec]
    with av.open(str(path), "w") as box:
        stream = cast(av.VideoStream, box.add_stream(encoder, rate=Fraction(RATE), options=options(generation.value)))
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pix_fmt
        for picture in frames:
            box.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        box.mux(stream.encode(None))


def decode(path: Path) -> np.ndarray:
    """All frames of a file as the training reads them, uint8 [T, H, W, 3] in RGB.  Raises ValueError for none."""
    return footage.decode(path).permute(0, 2, 3, 1).numpy()


def store(path: Path, frames: np.ndarray, generations: tuple[Generation, ...]) -> None:
    """What several generations leave of uint8 RGB frames [T, H, W, 3], in a file of the last one."""
    for generation in generations:
        if generation.codec == COMBED:
            frames = combed(frames, generation.value)
            continue
        encode(path, frames, generation)
        frames = decode(path)
