"""Clips [B, T, 3, H, W] in 0..1 after noise, JPEG or H.264; the latter runs an encoder."""

from __future__ import annotations

import io
import math
import random

import av
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.train.degrade import add_noise, jpeg


def through_h264(clips: Tensor, crf: int, preset: str) -> Tensor:
    """Clips [B, T, 3, H, W] after one trip through x264 as one mosaic of B tiles in a row of rows."""
    batch, frames, _, height, width = clips.shape
    columns = math.ceil(math.sqrt(batch))
    rows = math.ceil(batch / columns)
    tall, wide = height + -height % 16, width + -width % 16  # tiles end where macroblocks end
    tiles = F.pad(clips.flatten(0, 1), (0, wide - width, 0, tall - height), mode="replicate")
    tiles = tiles.view(batch, frames, 3, tall, wide)
    tiles = torch.cat([tiles, tiles[:1].expand(rows * columns - batch, -1, -1, -1, -1)])
    mosaic = tiles.view(rows, columns, frames, 3, tall, wide).permute(2, 0, 4, 1, 5, 3)
    pixels = (mosaic.reshape(frames, rows * tall, columns * wide, 3).clamp(0, 1) * 255).round()
    coded = encode_and_decode(pixels.to(torch.uint8).numpy(), "libx264", {"crf": str(crf), "preset": preset})
    x = torch.from_numpy(coded).float().div(255).view(frames, rows, tall, columns, wide, 3)
    x = x.permute(1, 3, 0, 5, 2, 4).reshape(rows * columns, frames, 3, tall, wide)
    return x[:batch, :, :, :height, :width]


def encode_and_decode(
    frames: np.ndarray, codec: str, options: dict[str, str], layout: str = "yuv420p"
) -> npt.NDArray[np.uint8]:
    """uint8 RGB frames [T, H, W, 3] through an encoder, in memory."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as box:
        stream = box.add_stream(codec, rate=24, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], layout
        for picture in frames:
            box.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        box.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as box:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in box.decode(video=0)])


def compress(clips: Tensor, rng: random.Random) -> tuple[Tensor, float]:
    """Noise, JPEG or H.264 at a random strength; returns the clips and that strength in 0..1."""
    batch, frames = clips.shape[:2]
    strength = rng.random()
    kind = rng.choice(("noise", "jpeg", "h264", "h264", "h264"))
    if kind == "noise":
        clips = add_noise(clips, 0.005 + 0.045 * strength)
    elif kind == "jpeg":
        flat = jpeg(clips.flatten(0, 1), round(95 - 75 * strength))
        clips = flat.view(batch, frames, *flat.shape[1:])
    else:
        crf = round(17 + 20 * strength)
        clips = through_h264(clips, crf, rng.choice(("veryfast", "medium")))
    return clips, strength
