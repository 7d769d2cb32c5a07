"""Made videos that are compared."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

WIDTH, HEIGHT = 96, 64


def scene(count: int = 12, step: int = 2, seed: int = 1) -> np.ndarray:
    """A camera that pans over blobs, uint8 [T, H, W, 3]."""
    small = np.random.default_rng(seed).integers(0, 255, (HEIGHT // 4, WIDTH // 4 + 30, 3), np.uint8)
    wide = cv2.resize(small, (WIDTH + 120, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.stack([wide[:, t * step : t * step + WIDTH] for t in range(count)])


def write(path: Path, frames: np.ndarray, times: Sequence[int] | None = None) -> Path:
    """A lossless RGB video; `times` in milliseconds, 25 frames a second without."""
    with av.open(str(path), "w") as box:
        video = box.add_stream("ffv1", rate=25)
        video.height, video.width, video.pix_fmt = *frames.shape[1:3], "bgr0"
        video.time_base = video.codec_context.time_base = Fraction(1, 1000)
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts = 40 * number if times is None else times[number]
            box.mux(video.encode(frame))
        box.mux(video.encode(None))
    return path


def noisy(frames: np.ndarray, deviation: float = 6, seed: int = 3) -> np.ndarray:
    grain = np.random.default_rng(seed).normal(0, deviation, frames.shape)
    return np.clip(frames + grain, 0, 255).astype(np.uint8)


def write_luma(path: Path, plane: np.ndarray, pix_fmt: str, transfer: int = 1, full: bool = False) -> Path:
    """One lossless frame with this luma [H, W], uint16, and even chroma; `transfer` by its code in ITU-T H.273,
    `full` range or limited."""
    frame = av.VideoFrame(plane.shape[1], plane.shape[0], pix_fmt)
    deep = "10" in pix_fmt
    kind = np.uint16 if deep else np.uint8
    for number, target in enumerate(frame.planes):
        rows = np.frombuffer(memoryview(target), kind).reshape(target.height, -1)
        rows[:] = 512 if deep else 128
        if not number:
            rows[:, : plane.shape[1]] = plane
    with av.open(str(path), "w") as box:
        video = box.add_stream("ffv1", rate=25)
        video.height, video.width, video.pix_fmt = *plane.shape, pix_fmt
        video.codec_context.color_trc = transfer
        video.codec_context.color_range = 2 if full else 1
        box.mux(video.encode(frame))
        box.mux(video.encode(None))
    return path


def write_chroma(path: Path, luma: np.ndarray, blue: Sequence[int], matrix: int) -> Path:
    """A lossless frame for each of these values of U, all with this luma [H, W], uint8; `matrix` as in ITU-T H.273."""
    with av.open(str(path), "w") as box:
        video = box.add_stream("ffv1", rate=25)
        video.height, video.width, video.pix_fmt = *luma.shape, "yuv444p"
        video.codec_context.colorspace = matrix
        video.codec_context.color_range = 1
        for value in blue:
            planes = np.stack([luma, np.full_like(luma, value), np.full_like(luma, 128)])
            frame = av.VideoFrame.from_ndarray(planes, format="yuv444p")
            frame.colorspace, frame.color_range = matrix, 1
            box.mux(video.encode(frame))
        box.mux(video.encode(None))
    return path
