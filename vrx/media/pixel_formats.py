"""Pixel formats as planar layouts, decoded pictures as arrays of samples."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame

from vrx.errors import InputError
from vrx.media.frame import Color, Kind, Layout, Plane

PLANAR_DEPTHS = {  # what planar formats exist in, by kind and alpha
    (Kind.YUV, False): (8, 9, 10, 12, 14, 16),
    (Kind.YUV, True): (8, 9, 10, 12, 16),
    (Kind.RGB, False): (8, 9, 10, 12, 14, 16),
    (Kind.RGB, True): (8, 10, 12, 14, 16),
    (Kind.GRAY, False): (8, 9, 10, 12, 14, 16),
    (Kind.GRAY, True): (8, 16),
}
FLOATS = re.compile(r"f(16|32)")
TO_SRGB = "-vf zscale=tin=linear:t=iec61966-2-1 -pix_fmt rgb48"  # ffmpeg's options from linear light
BILEVEL_FORMATS = {"monow", "monob"}  # formats of black and white, eight pixels a byte


def layout_from_pix_fmt(pix_fmt: str, name: str = "the source") -> Layout:
    """The planar layout that holds a pixel format without loss.

    Raises InputError for formats that have none (floats, Bayer patterns).
    """
    form = av.VideoFormat(pix_fmt)
    if FLOATS.search(form.name):
        source, result = shlex.quote(name), shlex.quote(str(Path(name).with_suffix(".png")))
        hint = f"Convert it first; what is brighter than white is clipped: ffmpeg -i {source} {TO_SRGB} {result}"
        raise InputError(f"cannot read {name}: it holds linear light in floats ({pix_fmt})", hint)
    if form.has_palette:
        return Layout(Kind.RGB, 8, alpha=True)
    if form.name in BILEVEL_FORMATS:
        return Layout(Kind.GRAY, 8)
    bits = max((c.bits for c in form.components), default=0)
    if form.is_bit_stream or form.name.startswith("bayer") or not 1 <= bits <= 16 or form.name.startswith("xyz"):
        raise InputError(f"cannot read {name}: pixel format {pix_fmt} is not supported")
    alpha = any(c.is_alpha for c in form.components)
    colors = len(form.components) - alpha
    if form.is_rgb:
        kind, shift_x, shift_y = Kind.RGB, 0, 0
    elif colors == 1:
        kind, shift_x, shift_y = Kind.GRAY, 0, 0
    else:
        kind = Kind.YUV
        shift_x = (4 // max(1, form.chroma_width(4))).bit_length() - 1
        shift_y = (4 // max(1, form.chroma_height(4))).bit_length() - 1
    depth = next(d for d in PLANAR_DEPTHS[kind, alpha] if d >= bits)
    if alpha and kind is Kind.YUV and shift_x + shift_y > 2:
        raise InputError(f"cannot read {name}: pixel format {pix_fmt} is not supported")
    return Layout(kind, depth, shift_x, shift_y, alpha=alpha)


def refine_layout(layout: Layout, pix_fmt: str) -> Layout:
    """A YUV layout with the depth and chroma of a pixel format that has no less of either; any other as it is."""
    try:
        wanted = layout_from_pix_fmt(pix_fmt)
    except (InputError, ValueError):  # ValueError: PyAV, for a name that it does not know
        return layout
    least = (layout.depth, -layout.shift_x, -layout.shift_y)
    found = (wanted.depth, -wanted.shift_x, -wanted.shift_y)
    if (
        wanted.kind is not Kind.YUV
        or layout.kind is not Kind.YUV
        or any(a < b for a, b in zip(found, least, strict=True))
    ):
        return layout
    return replace(layout, depth=wanted.depth, shift_x=wanted.shift_x, shift_y=wanted.shift_y)


def extract_planes(frame: VideoFrame, layout: Layout) -> tuple[Plane, ...]:
    """The samples of a decoded picture as arrays of their own."""
    target = layout.pix_fmt
    name = frame.format.name.replace("yuvj", "yuv")
    if name != target:
        frame = frame.reformat(format=target)
    planes = []
    for plane in frame.planes:
        kind: Any = np.uint8 if layout.depth == 8 else np.dtype("<u2")
        rows = np.frombuffer(memoryview(plane), dtype=kind)
        rows = rows.reshape(plane.height, plane.line_size // rows.itemsize)
        if layout.kind is Kind.GRAY and layout.alpha:  # two samples a pixel in one plane
            planes += [rows[:, place : 2 * plane.width : 2].copy() for place in (0, 1)]
        else:
            planes.append(rows[:, : plane.width].copy())
    if layout.kind is Kind.RGB:  # stored as G, B, R
        planes = [planes[2], planes[0], planes[1], *planes[3:]]
    return tuple(planes)


def merge_color(frame: Color, stream: Color, pix_fmt: str) -> Color:
    """A frame's tags, and the stream's where the frame has none."""
    full = frame.full_range if frame.full_range is not None else stream.full_range
    if full is None and pix_fmt.startswith("yuvj"):
        full = True
    return Color(
        matrix=frame.matrix or stream.matrix,
        primaries=frame.primaries or stream.primaries,
        transfer=frame.transfer or stream.transfer,
        full_range=full,
        chroma_location=frame.chroma_location or stream.chroma_location,
    )
