"""Clips as people have them, for `vrx.train.fuzz_deblur`: each is drawn from a seed and its number."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import cv2
import numpy as np

from vrx.networks.embedded.kernels import DISK, GAUSSIAN, LINE
from vrx.train.blurred import (
    FRAMES,
    OTHERS,
    Clip,
    blur,
    draw_size,
    evenly,
    moving_view,
    resized,
    shared_colors,
    synthetic,
    through,
)

# shares in percent
CONTENTS = {"photo": 30, "film": 26, "focus": 12, "text": 8, "drawing": 8, "soft": 16}
TONES = {"": 70, "dark": 9, "gray": 8, "letterbox": 8, "pale": 5}
BLURS = {"none": 24, "gaussian": 28, "disk": 16, "line": 16, "mixed": 6, "local": 10}
DAMAGES = {"": 30, "noise": 16, "libx264": 26, "libx265": 8, "mpeg4": 7, "mjpeg": 6, "noise+libx264": 7}
CODECS = {"libx264": (14, 36), "libx265": (16, 36), "mpeg4": (2, 14), "mjpeg": (2, 16)}  # least and most
TINY = 8
LEAST_HEVC = 64  # pixels a side; x265 writes beyond its memory in smaller pictures
KINDS = {"gaussian": GAUSSIAN, "disk": DISK, "line": LINE}
GAUSSIANS = (0.5, 5.0)  # pixels of width
NOISES = (0.7, 15.0)  # levels of 255
GIVEN, WRONG = 0.35, 0.15  # share of the blurred whose width is given, and up to how much of its logarithm wrong
# the same of smaller and softer cases, in which a blur is easily found where there is none
SOFT_CONTENTS = {"photo": 15, "film": 18, "focus": 15, "text": 4, "drawing": 10, "soft": 38}
SOFT_GIVEN = 0.15
# how many of these are small; half of the least and of the largest height and width
SMALL, SMALL_SIDES, OTHER_SIDES = 0.6, (32, 64, 32, 72), (64, 130, 64, 150)
RUNS, RUN_SIZE = 3, (320, 480)  # of a film; pixels
DECODED = 60  # frames of a film
PHOTOS_KEPT = 48
WORDS = ("vrx", "Kino", "SAMPLE", "news 24", "Ende", "LIVE", "12:30", "Restaurant", "film", "2026")


@dataclass(frozen=True)
class Case:
    """A clip as found and as it was, uint8 [T, H, W, 3]; the width that is given, if any; and what was done to it."""

    low: Clip
    truth: Clip
    sigma: float | None
    words: str


class Material:
    """Photographs, read when they are asked for, and runs of films."""

    def __init__(self, photos: Path, footage: Path, hold_out: list[str]) -> None:
        rng = random.Random(0)
        self._photos = [p for p in sorted(photos.iterdir()) if p.stem not in hold_out]
        self._films = {p.stem: runs_of(p, rng) for p in sorted(footage.iterdir()) if p.stem not in hold_out}

    def photo(self, rng: random.Random) -> Clip:
        """One of the photographs [H, W, 3]."""
        return read_photo(rng.choice(self._photos))

    def run(self, rng: random.Random) -> Clip:
        """Consecutive frames of a film [T, H, W, 3]."""
        return rng.choice(rng.choice([runs for runs in self._films.values() if runs]))


@lru_cache(maxsize=PHOTOS_KEPT)
def read_photo(path: Path) -> Clip:
    """A still in RGB."""
    with av.open(str(path)) as box:
        return next(box.decode(video=0)).to_ndarray(format="rgb24").astype(np.uint8)


def runs_of(path: Path, rng: random.Random) -> list[Clip]:
    """Runs of a film from here and there, at its size or, large ones sometimes, at half."""
    frames: list[Clip] = []
    with av.open(str(path)) as box:
        for frame in box.decode(video=0) if box.streams.video else ():
            frames.append(window(frame.to_ndarray(format="rgb24").astype(np.uint8)))
            if len(frames) == DECODED:
                break
    starts = [rng.randint(0, max(0, len(frames) - FRAMES)) for _ in range(RUNS)] if len(frames) >= FRAMES else []
    return [np.stack(frames[start : start + FRAMES]) for start in starts]


def window(frame: Clip) -> Clip:
    """The middle of a frame; large ones are halved."""
    if frame.shape[0] >= 2 * RUN_SIZE[0]:
        frame = cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(np.uint8)
    top, left = (max(0, (have - want) // 2) for have, want in zip(frame.shape[:2], RUN_SIZE, strict=True))
    return np.ascontiguousarray(frame[top : top + RUN_SIZE[0], left : left + RUN_SIZE[1]])


def choose(shares: Mapping[str, float], rng: random.Random) -> str:
    """One of several by their shares."""
    return rng.choices(list(shares), list(shares.values()))[0]


def smooth_mask(size: tuple[int, int], rng: random.Random, edge: float) -> np.ndarray:
    """Where things in front are: some ellipses with edges of a width in pixels, [FRAMES, H, W, 1] in 0..1, moving."""
    height, width = size
    speed = (rng.gauss(0, 2), rng.gauss(0, 2))
    shapes = [
        (rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.8), rng.uniform(0.12, 0.35), rng.uniform(0.12, 0.35))
        for _ in range(rng.randint(1, 2))
    ]
    masks = []
    for t in range(FRAMES):
        canvas = np.zeros((height, width), np.float32)
        for y, x, tall, wide in shapes:
            middle = (int(x * width + speed[1] * t), int(y * height + speed[0] * t))
            cv2.ellipse(canvas, middle, (max(2, int(wide * width)), max(2, int(tall * height))), 0, 0, 360, 1.0, -1)
        masks.append(cv2.GaussianBlur(canvas, (0, 0), edge))
    return np.stack(masks)[..., None]


def blend(front: Clip, back: Clip, mask: np.ndarray) -> Clip:
    """`front` where the mask is 1."""
    mixed: Clip = (front * mask + back * (1 - mask)).round().clip(0, 255).astype(np.uint8)
    return mixed


def lettered(clip: Clip, rng: random.Random) -> Clip:
    """A clip, or paper, with text on it."""
    height, width = clip.shape[1:3]
    if rng.random() < 0.5:
        clip = np.full_like(clip, rng.randint(0, 255))
    canvas = clip.copy()
    for _ in range(rng.randint(1, 8)):
        place = (rng.randrange(width), rng.randrange(height))
        size, color = rng.uniform(0.4, 1.6), [rng.randint(0, 255)] * 3
        word, weight = rng.choice(WORDS), rng.randint(1, 3)
        for t, frame in enumerate(canvas):
            cv2.putText(
                frame, word, (place[0] - t, place[1]), cv2.FONT_HERSHEY_SIMPLEX, size, color, weight, cv2.LINE_AA
            )
    return canvas


def draw_truth(material: Material, content: str, size: tuple[int, int], rng: random.Random) -> Clip:
    """A clip as it should be [FRAMES, H, W, 3]."""
    if content == "drawing":
        return synthetic(size, rng)
    if content == "film":
        run = material.run(rng)
        height, width = (min(a, b // 2 * 2) for a, b in zip(size, run.shape[1:3], strict=True))
        top, left = rng.randint(0, run.shape[1] - height), rng.randint(0, run.shape[2] - width)
        return np.ascontiguousarray(run[:, top : top + height, left : left + width])
    clip = moving_view(material.photo(rng), size, rng)
    if content == "text":
        return lettered(clip, rng)
    if content == "soft":
        return resized(clip, rng)  # what a Gaussian made soft could not be told from a blur to undo
    if content == "focus":
        far, _ = blur(clip, rng.choice((GAUSSIAN, DISK)), rng.uniform(1, 4), 0.0, rng)
        return blend(clip, far, smooth_mask(size, rng, 3))
    return clip


def toned(clip: Clip, tone: str) -> Clip:
    """A clip in another light, or between bars."""
    if tone == "gray":
        return np.repeat(clip.mean(-1, keepdims=True).round().astype(np.uint8), 3, -1)
    if tone == "dark":
        return (clip * 0.22).astype(np.uint8)
    if tone == "pale":
        return (clip * 0.3 + 120).astype(np.uint8)
    if tone == "letterbox":
        clip, bar = clip.copy(), clip.shape[1] // 7
        clip[:, :bar] = clip[:, -bar:] = 16
    return clip


def blurred(clip: Clip, name: str, rng: random.Random) -> tuple[Clip, float]:
    """A clip under a blur, all of it or only what moves, and the blur's width in pixels."""
    angle = rng.uniform(0, math.pi)
    if name == "none":
        return clip, 0.0
    if name == "mixed":
        low, first = blur(clip, rng.choice((GAUSSIAN, DISK)), evenly(rng, (0.5, 2.5)), 0.0, rng)
        low, second = blur(low, LINE, evenly(rng, OTHERS), angle, rng)
        return low, math.hypot(first, second)
    if name == "local":
        low, width = blur(clip, rng.choice((LINE, LINE, GAUSSIAN, DISK)), evenly(rng, OTHERS), angle, rng)
        mask = smooth_mask((clip.shape[1], clip.shape[2]), rng, 2)
        return (blend(low, clip, mask) if rng.random() < 0.5 else blend(clip, low, mask)), width
    return blur(clip, KINDS[name], evenly(rng, GAUSSIANS if name == "gaussian" else OTHERS), angle, rng)


def damaged(clip: Clip, names: str, rng: random.Random) -> tuple[Clip, str]:
    """A clip after noise and an encoder, and both in words."""
    words = ""
    for name in filter(None, names.split("+")):
        if name == "noise":
            level = evenly(rng, NOISES)
            shape = clip.shape if rng.random() < 0.7 else (*clip.shape[:3], 1)
            grain = np.random.default_rng(rng.randrange(2**32)).normal(0, level, shape)
            clip, words = (clip + grain).round().clip(0, 255).astype(np.uint8), f"{words} noise {level:.1f}"
        else:
            value = rng.randint(*CODECS[name])
            name = "libx264" if min(clip.shape[1:3]) < LEAST_HEVC else name
            layout = "yuvj420p" if name == "mjpeg" else "yuv420p"
            preset = rng.choice(("medium", "veryfast"))
            clip, words = through(name, clip, value, layout, preset), f"{words} {name} {value}"
    if not words and rng.random() < 0.5:
        return np.stack([shared_colors(frame) for frame in clip]), " 4:2:0"
    return clip, words


def draw_small_size(rng: random.Random) -> tuple[int, int]:
    """Height and width of a smaller case, even."""
    limits = SMALL_SIDES if rng.random() < SMALL else OTHER_SIDES
    return 2 * rng.randint(*limits[:2]), 2 * rng.randint(*limits[2:])


def draw_case(material: Material, seed: int, number: int, softer: bool = False) -> Case:
    """A case of a seed, by its number: always the same.  `softer`: more that is small and soft by nature."""
    rng = random.Random(f"{seed}-{number}")
    contents, given, sized = (SOFT_CONTENTS, SOFT_GIVEN, draw_small_size) if softer else (CONTENTS, GIVEN, draw_size)
    content, tone, name, damage = (choose(shares, rng) for shares in (contents, TONES, BLURS, DAMAGES))
    size = (2 * rng.randint(10, 24), 2 * rng.randint(10, 32)) if 100 * rng.random() < TINY else sized(rng)
    truth = toned(draw_truth(material, content, size, rng), tone)
    low, width = blurred(truth, name, rng)
    sigma = None
    if width and rng.random() < given:
        sigma = width * math.exp(rng.uniform(-WRONG, WRONG))
    low, how = damaged(low, damage, rng)
    told = f", --sigma {sigma:.1f}" if sigma else ""
    sides = f"{truth.shape[2]}x{truth.shape[1]}"
    return Case(low, truth, sigma, f"{content} {tone} {sides}, {name} {width:.1f},{how or ' clean'}{told}")
