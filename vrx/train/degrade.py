"""Degradations under published models, on float clips [B, T, 3, H, W] in 0..1.

Bicubic down-scaling with anti-aliasing; Gaussian and motion blur; missing pixels; noise; JPEG.  Pure but for the
random generator that is passed in; what runs an encoder is in `compression`.
"""

from __future__ import annotations

import math
import random

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.networks.embedded.classical import KERNEL_RADIUS, gaussian, separable

# Annex K of ITU-T T.81, the luminance table that most encoders scale.
JPEG_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


def quantize(x: Tensor) -> Tensor:
    """To the nearest 8-bit value, as stored pictures are."""
    return (x.clamp(0, 1) * 255).round() / 255


def shrink(clip: Tensor, scale: int) -> Tensor:
    """Anti-aliased bicubic down-scaling of [N, 3, H, W] by an integer factor."""
    size = (clip.shape[-2] // scale, clip.shape[-1] // scale)
    return F.interpolate(clip, size=size, mode="bicubic", antialias=True)


def gaussian_blur(clip: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of [N, 3, H, W], reflected borders."""
    return separable(clip, gaussian(sigma, KERNEL_RADIUS, clip))


def motion_blur(clip: Tensor, length: float, angle: float) -> Tensor:
    """Blur of [N, 3, H, W] along a line of `length` pixels at `angle` radians, reflected borders."""
    radius = math.ceil(length / 2) + 1
    axis = torch.arange(-radius, radius + 1, dtype=torch.float32)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    along = x * math.cos(angle) + y * math.sin(angle)
    across = -x * math.sin(angle) + y * math.cos(angle)
    kernel = (1 - across.abs()).clamp_min(0) * (length / 2 + 0.5 - along.abs()).clamp(0, 1)
    kernel = (kernel / kernel.sum()).to(clip)
    padded = F.pad(clip, (radius,) * 4, mode="reflect").contiguous(memory_format=torch.channels_last)
    return F.conv2d(padded, kernel.expand(3, 1, -1, -1), groups=3)


def add_noise(clip: Tensor, deviation: float) -> Tensor:
    """White Gaussian noise; `deviation` in 0..1 units."""
    return clip + deviation * torch.randn_like(clip)


def jpeg(clip: Tensor, quality: int) -> Tensor:
    """Quantized 8 x 8 DCT of luma and chroma of [N, 3, H, W], the loss a JPEG file causes (4:4:4)."""
    height, width = clip.shape[-2:]
    scale = 50 / quality if quality < 50 else 2 - quality / 50
    table = (torch.tensor(JPEG_TABLE, dtype=torch.float32) * scale).clamp(1, 255).to(clip) / 255
    k = torch.arange(8, dtype=torch.float32)
    basis = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 16) * 0.5
    basis[0] /= math.sqrt(2)
    basis = basis.to(clip)
    matrix = clip.new_tensor([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]])
    padded = F.pad(clip, (0, -width % 8, 0, -height % 8), mode="replicate")
    ycc = torch.einsum("ij,njhw->nihw", matrix, padded)
    n, c, h, w = ycc.shape
    blocks = ycc.view(n, c, h // 8, 8, w // 8, 8).transpose(3, 4)
    coded = (basis @ blocks @ basis.T / table).round() * table
    ycc = (basis.T @ coded @ basis).transpose(3, 4).reshape(n, c, h, w)
    return torch.einsum("ij,njhw->nihw", torch.linalg.inv(matrix), ycc)[..., :height, :width]


# ---------------------------------------------------------------- masks, 1 where a pixel is missing


def random_mask(height: int, width: int, rng: random.Random) -> Tensor:
    """Single pixels missing, a share of 0.2 to 0.8 of them."""
    generator = torch.Generator().manual_seed(rng.randrange(2**31))
    return (torch.rand(height, width, generator=generator) < rng.uniform(0.2, 0.8)).float()


def blob_mask(height: int, width: int, rng: random.Random) -> Tensor:
    """Ellipses, boxes, scratches and strokes."""
    canvas = np.zeros((height, width), np.uint8)
    for _ in range(rng.randint(1, 5)):
        x, y = rng.randrange(width), rng.randrange(height)
        a, b = rng.randint(2, max(3, width // 7)), rng.randint(2, max(3, height // 7))
        kind = rng.randrange(3)
        if kind == 0:
            cv2.ellipse(canvas, (x, y), (a, b), rng.uniform(0, 180), 0, 360, 255, -1)
        elif kind == 1:
            cv2.rectangle(canvas, (x - a, y - b), (x + a, y + b), 255, -1)
        else:
            end = (rng.randrange(width), rng.randrange(height))
            cv2.line(canvas, (x, y), end, 255, rng.randint(1, 7))
    return torch.from_numpy(canvas).float() / 255


def text_mask(height: int, width: int, rng: random.Random) -> Tensor:
    """Burnt-in lettering."""
    canvas = np.zeros((height, width), np.uint8)
    for _ in range(rng.randint(1, 3)):
        place = (rng.randrange(-30, width // 2), rng.randrange(height))
        word = "".join(rng.choice("ABCDEFGHIKLMNOPRSTUVWXYZ abcdefghiklmnoprstu0123456789") for _ in range(16))
        size = rng.uniform(0.5, 2.2)
        cv2.putText(canvas, word, place, cv2.FONT_HERSHEY_SIMPLEX, size, 255, rng.randint(2, 7))
    return torch.from_numpy(canvas).float() / 255


def logo_mask(height: int, width: int, rng: random.Random) -> Tensor:
    """A compact hole of a tenth to a third of the picture's side."""
    canvas = np.zeros((height, width), np.uint8)
    radius = rng.randint(height // 14, height // 6)
    center = (rng.randrange(width), rng.randrange(height))
    if rng.random() < 0.6:
        cv2.circle(canvas, center, radius, 255, -1)
    else:
        corner = (center[0] + 2 * radius, center[1] + radius)
        cv2.rectangle(canvas, center, corner, 255, -1)
    return torch.from_numpy(canvas).float() / 255


def mask_clip(frames: int, height: int, width: int, rng: random.Random) -> Tensor:
    """One mask sequence [T, 1, H, W]: random pixels in two of five, blobs, text or a logo; some move."""
    kind = rng.choice((random_mask, random_mask, blob_mask, text_mask, logo_mask))
    mask = kind(height, width, rng)
    if rng.random() < 0.75:
        return mask.expand(frames, 1, height, width).round()
    if kind is random_mask:
        return torch.stack([kind(height, width, rng) for _ in range(frames)])[:, None]
    step = (rng.randint(-4, 4), rng.randint(-4, 4))
    moved = [torch.roll(mask, (t * step[0], t * step[1]), (0, 1)) for t in range(frames)]
    return torch.stack(moved)[:, None].round()
