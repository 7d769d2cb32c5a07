"""Small clips as people have them and what they were shrunk from, for `vrx.train.fuzz_enlarge`."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from PIL import Image

from vrx.train.blurred import FRAMES, Clip, evenly
from vrx.train.fuzz_cases import TONES, Material, choose, damaged, draw_truth, toned
from vrx.train.spoil import tape

# shares in percent
CONTENTS = {"film": 28, "photo": 26, "focus": 6, "text": 9, "drawing": 7, "soft": 6, "pattern": 12, "pixels": 6}
PATTERNS = ("zones", "checkers", "stripes", "cells", "grain", "ramp")
WAYS = {
    "bicubic": 20,
    "lanczos": 14,
    "area": 14,
    "bilinear": 10,
    "gaussian": 22,
    "sharp bicubic": 8,
    "unfiltered": 6,
    "nearest": 6,
}
FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
}
DAMAGES = {
    "": 36,
    "noise": 16,
    "libx264": 20,
    "mpeg4": 7,
    "mjpeg": 7,
    "tape": 6,
    "noise+libx264": 5,
    "strong noise": 3,
}
GAUSSIANS = (0.25, 0.8)  # pixels of the small clip
STRONG = (15, 40)  # levels of noise
TAPE = (3, 10)  # the same
SIZES = {2: ((30, 60), (40, 75)), 4: ((22, 40), (30, 60))}  # half of rows and columns of the small clip, by scale
TINY = 8  # percent


@dataclass(frozen=True)
class Shrunk:
    """A clip as found [T, H, W, 3] and what it was shrunk from [T, s H, s W, 3], uint8; and what was done to it."""

    low: Clip
    truth: Clip
    words: str

    @property
    def scale(self) -> int:
        """By how much it is to be enlarged."""
        return len(self.truth[0]) // len(self.low[0])


def pattern(name: str, size: tuple[int, int], rng: random.Random) -> Clip:
    """What encoders, noise and networks are confused by [FRAMES, H, W, 3]; moving, or not."""
    (height, width), numbers = size, np.random.default_rng(rng.randrange(2**32))
    y, x = np.mgrid[:height, :width].astype(np.float64)
    speed = rng.choice((0, 0, 1, 2))
    cell = rng.choice((1, 2, 3, 4, 8))
    frames = []
    cells = numbers.uniform(0, 255, (-(-height // cell), -(-(width + speed * FRAMES) // cell), rng.choice((1, 3))))
    slope, steps = rng.uniform(0, math.pi), rng.uniform(20, 250)
    for t in range(FRAMES):
        across = x + speed * t
        if name == "zones":
            plane = 127.5 + 120 * np.cos(((across - width / 2) ** 2 + (y - height / 2) ** 2) * math.pi / (2 * width))
        elif name == "checkers":
            plane = 235.0 * (((across // cell) + (y // cell)) % 2)
        elif name == "stripes":
            plane = 127.5 + 110 * np.sin((across * math.cos(slope) + y * math.sin(slope)) * math.pi / (0.9 + cell / 2))
        elif name == "ramp":
            plane = 127.5 + steps * ((across * math.cos(slope) + y * math.sin(slope)) / math.hypot(height, width) - 0.4)
        else:
            grid = cells if name == "cells" else 128 + 0.25 * (cells - 128)
            plane = np.kron(grid, np.ones((cell, cell, 1)))[:height, speed * t : speed * t + width]
        frames.append(plane if plane.ndim == 3 else plane[..., None])
    return (np.stack(frames) * np.ones(3)).round().clip(0, 255).astype(np.uint8)


def pixel_art(size: tuple[int, int], rng: random.Random) -> Clip:
    """Figures of few colors with hard pixels, some of which move."""
    (height, width), numbers = size, np.random.default_rng(rng.randrange(2**32))
    cell, count = rng.choice((1, 2, 4)), rng.randint(3, 12)
    colors = numbers.integers(0, 256, (count, 3))
    rows, columns = -(-height // cell), -(-width // cell)
    canvas = np.full((rows, columns), 0)
    for number in range(rng.randint(8, 60)):
        top, left = rng.randrange(rows), rng.randrange(columns)
        canvas[top : top + rng.randint(1, 12), left : left + rng.randint(1, 12)] = number % count
    speed = rng.choice((0, 1))
    frames = [np.kron(np.roll(canvas, speed * t, 1), np.ones((cell, cell), int)) for t in range(FRAMES)]
    return colors[np.stack(frames)[:, :height, :width]].astype(np.uint8)


def shrink(clip: Clip, scale: int, way: str, rng: random.Random) -> tuple[Clip, str]:
    """A clip made smaller, and how in words."""
    if way == "gaussian":
        width = evenly(rng, GAUSSIANS)
        blurred = [cv2.GaussianBlur(f.astype(np.float32), (0, 0), width * scale) for f in clip]
        # the middle of scale x scale pixels
        small = [cv2.resize(f, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_LINEAR) for f in blurred]
        return np.stack(small).round().clip(0, 255).astype(np.uint8), f"gaussian {width:.2f}"
    if way in FILTERS:
        size = (clip.shape[2] // scale, clip.shape[1] // scale)
        return np.stack([np.asarray(Image.fromarray(f).resize(size, FILTERS[way])) for f in clip]), way
    kernel = {"sharp bicubic": cv2.INTER_CUBIC, "unfiltered": cv2.INTER_LINEAR, "nearest": cv2.INTER_NEAREST}[way]
    small = [cv2.resize(f, None, fx=1 / scale, fy=1 / scale, interpolation=kernel) for f in clip]
    return np.stack(small).astype(np.uint8), way


def spoiled(clip: Clip, damage: str, rng: random.Random) -> tuple[Clip, str]:
    """A small clip after what is usual, and that in words."""
    if damage == "strong noise":
        level = evenly(rng, STRONG)
        grain = np.random.default_rng(rng.randrange(2**32)).normal(0, level, clip.shape)
        return (clip + grain).round().clip(0, 255).astype(np.uint8), f" noise {level:.1f}"
    if damage == "tape":
        level = evenly(rng, TAPE)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(rng.randrange(2**32))
            x = torch.from_numpy(clip).permute(0, 3, 1, 2).float().div(255)[None]
            worn = tape(x, torch.tensor([level / 255]))[0]
        return (worn * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy(), f" tape {level:.1f}"
    return damaged(clip, damage, rng)


def draw_shrunk(material: Material, scale: int, seed: int, number: int) -> Shrunk:
    """A case of a seed, by its number: always the same."""
    rng = random.Random(f"{scale}-{seed}-{number}")
    content, tone, way, damage = (choose(shares, rng) for shares in (CONTENTS, TONES, WAYS, DAMAGES))
    limits = ((8, 14), (8, 16)) if 100 * rng.random() < TINY else SIZES[scale]
    height, width = (2 * scale * rng.randint(*limit) for limit in limits)
    if content == "pattern":
        name = rng.choice(PATTERNS)
        content, truth = name, pattern(name, (height, width), rng)
    elif content == "pixels":
        truth = pixel_art((height, width), rng)
    else:
        truth = draw_truth(material, content, (height, width), rng)
    # films may be smaller than asked for
    truth = truth[:, : truth.shape[1] // (2 * scale) * 2 * scale, : truth.shape[2] // (2 * scale) * 2 * scale]
    truth = toned(truth, tone)
    low, how = shrink(truth, scale, way, rng)
    low, words = spoiled(low, damage, rng)
    return Shrunk(low, truth, f"{content} {tone} {low.shape[2]}x{low.shape[1]}, {how},{words or ' clean'}")
