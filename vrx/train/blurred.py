"""Short clips under a known blur and damage, for `vrx.train.diagnosis`: uint8 RGB arrays [T, H, W, 3]."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from vrx.networks.embedded.diagnosis import FINEST_QUANTIZER, QUANTIZERS
from vrx.networks.embedded.kernels import DISK, GAUSSIAN, KINDS, LINE, NONE
from vrx.train.compression import encode_and_decode
from vrx.train.spoil import qp_of_step

Clip = NDArray[np.uint8]
KIND_SHARES = {NONE: 0.24, GAUSSIAN: 0.39, DISK: 0.19, LINE: 0.18}
GAUSSIANS, OTHERS = (0.5, 5.0), (0.6, 3.5)  # pixels of width, evenly in the logarithm
SOFT_SHARE, SYNTHETIC_SHARE, GRAY_SHARE, BARS_SHARE = 0.22, 0.07, 0.05, 0.06
# half of the least and of the largest height and width, and how many have them
SIDES = {(24, 64, 24, 80): 0.14, (80, 120, 90, 140): 0.33, (110, 160, 130, 210): 0.33, (160, 220, 200, 280): 0.2}
FOOTAGE_SHARE = 0.35
FRAMES = 6
CODECS = {
    "libx264": (0.9, (13, 36), "yuv420p"),  # share up to it, values, pixel format
    "mpeg4": (0.95, (2, 14), "yuv420p"),
    "mjpeg": (1.0, (2, 16), "yuvj420p"),
}

# one thread: the bytes depend on how many there are
ENCODERS_BY_CRF = {
    "libx264": {"threads": "1"},
    "libx265": {"x265-params": "log-level=error:pools=none:frame-threads=1"},
}


@dataclass(frozen=True)
class Sample:
    """A clip as found and as it should be; what happened to it, in the terms of `vrx.networks.embedded.diagnosis`."""

    low: Clip
    truth: Clip
    kind: int
    width: float
    angle: float
    noise: float
    compression: float


def evenly(rng: random.Random, limits: tuple[float, float]) -> float:
    """A number between limits whose logarithm is evenly spread."""
    return math.exp(rng.uniform(*map(math.log, limits)))


def draw_size(rng: random.Random) -> tuple[int, int]:
    """Height and width, even."""
    limits = rng.choices(list(SIDES), list(SIDES.values()))[0]
    return 2 * rng.randint(*limits[:2]), 2 * rng.randint(*limits[2:])


def moving_view(picture: Clip, size: tuple[int, int], rng: random.Random) -> Clip:
    """A picture through a window that moves by whole or, shrunk, by half pixels."""
    height, width = size
    step = 2 if min(picture.shape[0] / height, picture.shape[1] / width) > 2.2 and rng.random() < 0.6 else 1
    tall, wide = height * step, width * step
    grow = max(1.0, tall / picture.shape[0], wide / picture.shape[1])
    if grow > 1:
        shape = (math.ceil(picture.shape[1] * grow), math.ceil(picture.shape[0] * grow))
        picture = cv2.resize(picture, shape, interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    room = (picture.shape[0] - tall, picture.shape[1] - wide)
    start = [rng.randint(0, r) for r in room]
    speed = [0.0, 0.0] if rng.random() < 0.25 else [rng.gauss(0, 3), rng.gauss(0, 3)]
    frames = []
    for t in range(FRAMES):
        y, x = (min(max(int(s + v * t), 0), r) for s, v, r in zip(start, speed, room, strict=True))
        view = picture[y : y + tall, x : x + wide]
        frames.append(view if step == 1 else cv2.resize(view, (width, height), interpolation=cv2.INTER_AREA))
    return np.stack(frames).astype(np.uint8)


def synthetic(size: tuple[int, int], rng: random.Random) -> Clip:
    """What was never sharp, or has nothing but edges: smooth noise, gradients, boxes."""
    (height, width), numbers = size, np.random.default_rng(rng.randrange(2**32))
    kind = rng.random()
    if kind < 0.4:
        noise = numbers.normal(0, 1, (height, width, rng.choice((1, 3)))).astype(np.float32) * np.ones(3, np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), rng.uniform(1, 6))
        still = smooth / smooth.std() * rng.uniform(15, 50) + 128
        return np.stack([np.roll(still, t * rng.randint(0, 2), 1) for t in range(FRAMES)]).clip(0, 255).astype(np.uint8)
    if kind < 0.7:
        corners = numbers.uniform(0, 255, (rng.randint(2, 8), rng.randint(2, 8), 3)).astype(np.float32)
        still = cv2.resize(corners, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255)
        return np.stack([still] * FRAMES).astype(np.uint8)
    canvas = np.full((2 * height, 2 * width, 3), numbers.uniform(0, 255, 3), np.uint8)
    for _ in range(rng.randint(3, 80)):
        color, corner = numbers.uniform(0, 255, 3).tolist(), (rng.randrange(2 * width), rng.randrange(2 * height))
        if rng.random() < 0.5:
            cv2.circle(canvas, corner, rng.randint(2, height // 2), color, -1)
        else:
            end = (corner[0] + rng.randint(2, width // 2), corner[1] + rng.randint(2, height // 2))
            cv2.rectangle(canvas, corner, end, color, -1)
    return moving_view(canvas, size, rng)


def draw_truth(photo: Callable[[], Clip], run: Callable[[], Clip], rng: random.Random) -> Clip:
    """A clip as it should be; one in five is soft by nature, and that is not to be undone."""
    size, choice = draw_size(rng), rng.random()
    if choice < FOOTAGE_SHARE:
        frames = run()
        height, width = (min(a, b // 2 * 2) for a, b in zip(size, frames.shape[1:3], strict=True))
        top, left = rng.randint(0, frames.shape[1] - height), rng.randint(0, frames.shape[2] - width)
        clip = frames[:FRAMES, top : top + height, left : left + width]
    elif choice < 1 - SYNTHETIC_SHARE:
        clip = moving_view(photo(), size, rng)
    else:
        clip = synthetic(size, rng)
    if rng.random() < SOFT_SHARE:
        clip = soften(clip, rng)
    if rng.random() < GRAY_SHARE:
        clip = np.repeat(clip.mean(-1, keepdims=True).round().astype(np.uint8), 3, -1)
    return clip


def soften(clip: Clip, rng: random.Random) -> Clip:
    """As lenses and resizing leave pictures."""
    if rng.random() < 0.5:
        return np.stack([cv2.GaussianBlur(frame, (0, 0), rng.uniform(0.3, 1.3)) for frame in clip]).astype(np.uint8)
    return resized(clip, rng)


def resized(clip: Clip, rng: random.Random) -> Clip:
    """As small video comes back from a web site."""
    height, width = clip.shape[1:3]
    factor, way = rng.uniform(1.3, 2.6), rng.choice((cv2.INTER_CUBIC, cv2.INTER_LINEAR))
    small = (max(8, int(width / factor)), max(8, int(height / factor)))
    shrunk = [cv2.resize(frame, small, interpolation=cv2.INTER_AREA) for frame in clip]
    return np.stack([cv2.resize(frame, (width, height), interpolation=way) for frame in shrunk]).astype(np.uint8)


def draw_kernel(kind: int, width: float, angle: float, rng: random.Random) -> NDArray[np.float64]:
    """A disk or a line of a width; lines in two renderings, as simulations have them."""
    half = math.ceil(4 * width)
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float64)
    if kind == DISK:
        values = np.clip(2 * width + 0.5 - np.hypot(x, y), 0, 1)
    elif rng.random() < 0.5:
        along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
        values = np.clip(1 - abs(across), 0, 1) * np.clip(3**0.5 * width + 0.5 - abs(along), 0, 1)
    else:
        slope = math.tan((angle + math.pi / 2) % math.pi - math.pi / 2)
        if abs(slope) > 1:
            x, y, slope = y, x, 1 / slope
        values = np.clip(1 - abs(y - slope * x), 0, 1) * (abs(x) <= 1.7 * width)
    return np.asarray(values / values.sum(), np.float64)


def blur(clip: Clip, kind: int, width: float, angle: float, rng: random.Random) -> tuple[Clip, float]:
    """A blurred clip, and the standard deviation that its kernel came to have."""
    border = cv2.BORDER_REFLECT_101
    if kind == NONE:
        return clip, 0.0
    if kind == GAUSSIAN:
        frames = [cv2.GaussianBlur(f.astype(np.float32), (0, 0), width, borderType=border) for f in clip]
        return np.stack(frames).round().clip(0, 255).astype(np.uint8), width
    values = draw_kernel(kind, width, angle, rng)
    half = len(values) // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    spread = math.sqrt((values * (x * math.cos(angle) + y * math.sin(angle)) ** 2).sum())
    return np.stack([cv2.filter2D(f, -1, values, borderType=border) for f in clip]).astype(np.uint8), spread


def through(codec: str, clip: Clip, value: int, layout: str, preset: str) -> Clip:
    """A clip after an encoder, in memory."""
    if codec in ENCODERS_BY_CRF:
        options = {"crf": str(value), "preset": preset, **ENCODERS_BY_CRF[codec]}
    else:
        options = {"qmin": str(value), "qmax": str(value), "threads": "1"}
    return encode_and_decode(clip, codec, options, layout)


def shared_colors(frame: Clip) -> Clip:
    """A picture with its colors stored at half the size."""
    shared = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(format="yuv420p")
    return shared.reformat(format="rgb24").to_ndarray().astype(np.uint8)


def spoil(clip: Clip, rng: random.Random) -> tuple[Clip, float, float]:
    """A clip with noise, through an encoder, or clean; the noise in levels, and the compression."""
    choice, noise, compression = rng.random(), 0.0, 0.0
    if 0.34 <= choice < 0.54:
        noise = evenly(rng, (0.7, 15))
    elif choice >= 0.54 and rng.random() < 0.2:
        noise = evenly(rng, (0.7, 8))
    if noise:
        shape = clip.shape if rng.random() < 0.7 else (*clip.shape[:3], 1)
        grain = np.random.default_rng(rng.randrange(2**32)).normal(0, noise, shape)
        clip = (clip + grain).round().clip(0, 255).astype(np.uint8)
    if choice >= 0.54:
        codec, (_, limits, layout) = next(item for item in CODECS.items() if choice < item[1][0])
        value = rng.randint(*limits)
        clip = through(codec, clip, value, layout, rng.choice(("medium", "medium", "veryfast")))
        qp = value if codec == "libx264" else qp_of_step(2 * value)
        compression = min(1.5, max(0.0, (qp - FINEST_QUANTIZER) / QUANTIZERS))
    elif rng.random() < 0.5:
        clip = np.stack([shared_colors(frame) for frame in clip])
    return clip, noise, compression


def draw_sample(photo: Callable[[], Clip], run: Callable[[], Clip], rng: random.Random) -> Sample:
    """A random sample of one, two or, mostly, four frames."""
    truth = draw_truth(photo, run, rng)
    kind = rng.choices(range(len(KINDS)), [KIND_SHARES[k] for k in range(len(KINDS))])[0]
    width, angle = evenly(rng, GAUSSIANS if kind == GAUSSIAN else OTHERS), rng.uniform(0, math.pi)
    low, width = blur(truth, kind, width, angle, rng)
    low, noise, compression = spoil(low, rng)
    count = min(len(low), rng.choices((1, 2, 4), (1, 1, 5))[0])
    start = rng.choice((0, 0, 1, 2))
    if rng.random() < BARS_SHARE:
        bar = low.shape[1] // 8
        low, truth = low.copy(), truth.copy()
        for clip in (low, truth):
            clip[:, :bar] = clip[:, -bar:] = 0
    window = slice(min(start, len(low) - count), min(start, len(low) - count) + count)
    return Sample(low[window], truth[window], kind, width, angle, noise, compression)
