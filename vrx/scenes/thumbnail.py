"""Thumbnails for scene detection: 8-bit BGR pictures, as PySceneDetect takes them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vrx.media.color import resolve_color, unscale_chroma, unscale_luma, yuv_to_rgb
from vrx.media.frame import Frame, Kind

THUMBNAIL_WIDTH = 256  # pixels; about the width that PySceneDetect downscales to


def make_thumbnail(frame: Frame) -> NDArray[np.uint8]:
    """The picture as BGR [h, w, 3] uint8, about THUMBNAIL_WIDTH pixels wide."""
    factor = max(1, frame.width // THUMBNAIL_WIDTH)
    size = (max(1, round(frame.width / factor)), max(1, round(frame.height / factor)))
    planes = [cv2.resize(p, size, interpolation=cv2.INTER_LINEAR).astype(np.float32) for p in frame.planes[:3]]
    if frame.layout.kind is Kind.YUV:
        rgb = to_rgb(frame, planes)
    else:
        rgb = [planes[number % len(planes)] / np.float32(frame.layout.peak) for number in range(3)]
    picture: NDArray[np.uint8] = np.clip(np.rint(np.stack(rgb[::-1], -1) * 255), 0, 255).astype(np.uint8)
    return picture


def to_rgb(frame: Frame, planes: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """YUV planes of one size with stored sample values, to R, G, B in 0..1."""
    color, depth = resolve_color(frame.color, frame.layout, (frame.width, frame.height)), frame.layout.depth
    full = bool(color.full_range)
    y = unscale_luma(planes[0], depth, full)
    u, v = (unscale_chroma(plane, depth, full) for plane in planes[1:])
    return list(yuv_to_rgb(y, u, v, color.matrix))
