"""Footage for tests of masks: a camera that moves over a texture, with things painted on it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = (320, 184)  # width and height
RATE = 25

Luma = NDArray[np.uint8]


def texture(seed: int = 1) -> Luma:
    """Detail of several sizes, [900, 1400]."""
    rng = np.random.default_rng(seed)
    total = np.full((900, 1400), 110.0)
    for side, weight in ((8, 60), (24, 60)):
        coarse = rng.random((900 // side, 1400 // side)) - 0.5
        total += weight * cv2.resize(coarse, (1400, 900), interpolation=cv2.INTER_CUBIC)
    return np.clip(total, 20, 220).astype(np.uint8)


def pan(frames: int, x: int = 9, y: int = 4) -> Iterator[Luma]:
    """A camera that moves by whole pixels a frame."""
    whole = texture()
    for number in range(frames):
        top, left = 60 + y * number, 60 + x * number
        yield whole[top : top + SIZE[1], left : left + SIZE[0]].copy()


def time(number: int) -> Fraction:
    """When a frame is shown."""
    return Fraction(number, RATE)


def lettering(text: str) -> NDArray[np.float32]:
    """How opaque white letters are, 0 to 1, [184, 320]: in the upper left corner."""
    canvas: NDArray[np.uint8] = np.zeros(SIZE[::-1], np.uint8)
    cv2.putText(canvas, text, (14, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 255, 2, cv2.LINE_AA)
    return canvas.astype(np.float32) / np.float32(255)


def overlaid(luma: Luma, opacity: NDArray[np.float32]) -> Luma:
    """A picture with white over it."""
    return np.asarray(luma * (1 - opacity) + 235 * opacity, np.float32).round().astype(np.uint8)


def write(path: Path, pictures: Iterator[Luma]) -> Path:
    """A gray clip, losslessly."""
    with av.open(str(path), "w") as box:
        stream = box.add_stream("ffv1", rate=RATE)
        for number, picture in enumerate(pictures):
            if number == 0:
                stream.height, stream.width, stream.pix_fmt = *picture.shape, "yuv420p"
            frame = av.VideoFrame.from_ndarray(picture, format="gray").reformat(format="yuv420p")
            frame.pts = number
            box.mux(stream.encode(frame))
        box.mux(stream.encode(None))
    return path
