"""Training clips: photos as moving crops, procedural occlusion and text, and real footage.

    python -m vrx.train.data --photos DIR --footage DIR --out DIR [--clips 4000] [--seed 0]

Writes shards of uint8 clips [N, T, 3, S, S] as safetensors.  Every clip is drawn again until it holds
detail.  Knows files and pictures; does not know degradations, networks or losses.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from vrx.files import replace_file

SIDE = 192  # pixels
FRAMES = 6
SHARD = 250  # clips a file
MIN_DETAIL = 0.006  # mean absolute Laplacian, values in 0..1: films are soft, 0.007 to 0.03
WORDS = ("vrx", "Kino", "SAMPLE", "news 24", "Ende", "LIVE", "12:30", "Restaurant", "film", "2026")
FOOTAGE_SHARE = 0.4


def read_photo(path: Path) -> Tensor:
    """A still as uint8 [3, H, W]."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        return torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1).contiguous()


def footage_runs(path: Path, rng: random.Random, length: int = FRAMES) -> Iterator[Tensor]:
    """Runs of `length` consecutive frames of a video, uint8 [T, 3, H, W], a random gap between them."""
    run: list[Tensor] = []
    skip = rng.randrange(length)
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if skip:
                skip -= 1
                continue
            picture = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
            if run and (picture.float() - run[-1].float()).abs().mean() > 30:
                run = []  # a hard cut
            run.append(picture)
            if len(run) == length:
                yield torch.stack(run)
                run, skip = [], rng.randrange(2 * length)


def detail(clip: Tensor) -> float:
    """Mean absolute Laplacian of the first frame of a float clip [T, 3, H, W] in 0..1."""
    x = clip[0].mean(0)
    edges = 4 * x[1:-1, 1:-1] - x[:-2, 1:-1] - x[2:, 1:-1] - x[1:-1, :-2] - x[1:-1, 2:]
    return float(edges.abs().mean())


def affine_path(rng: random.Random, frames: int) -> list[tuple[float, float, float, float]]:
    """Per frame: x and y offset in output pixels, angle in radians, relative zoom."""
    speed = rng.choice((0.0, 1.0, 2.5, 6.0))
    heading = rng.uniform(0, 2 * math.pi)
    turn = rng.gauss(0, 0.006) * (rng.random() < 0.5)
    zoom = rng.gauss(0, 0.006) * (rng.random() < 0.5)
    shake = rng.choice((0.0, 0.0, 0.3, 1.0))
    middle = (frames - 1) / 2
    return [
        (
            speed * math.cos(heading) * (t - middle) + rng.gauss(0, shake),
            speed * math.sin(heading) * (t - middle) + rng.gauss(0, shake),
            turn * (t - middle),
            1 + zoom * (t - middle),
        )
        for t in range(frames)
    ]


def moving_crop(picture: Tensor, rng: random.Random, frames: int = FRAMES, side: int = SIDE) -> Tensor:
    """A photo [3 or 4, H, W] uint8 seen through a moving window: float [T, C, side, side] in 0..1.

    Rendered at twice the size and averaged down, so that it is as sharp as the shrunken photo.
    """
    height, width = picture.shape[-2:]
    reach = side * 1.5
    pitch = min(rng.uniform(1.1, 2.4), min(height, width) / reach)  # photo pixels an output pixel
    margin = reach * pitch / 2
    center_x = rng.uniform(margin, max(margin, width - margin))
    center_y = rng.uniform(margin, max(margin, height - margin))
    left, top = max(0, int(center_x - margin)), max(0, int(center_y - margin))
    right, bottom = min(width, int(center_x + margin) + 1), min(height, int(center_y + margin) + 1)
    region = picture[:, top:bottom, left:right].float()[None] / 255
    axis = (torch.arange(2 * side) + 0.5) / 2 - side / 2  # output pixels from the middle
    gy, gx = torch.meshgrid(axis, axis, indexing="ij")
    grids = []
    for dx, dy, angle, zoom in affine_path(rng, frames):
        c, s = math.cos(angle) * zoom * pitch, math.sin(angle) * zoom * pitch
        x = center_x - left + c * gx - s * gy + dx * pitch
        y = center_y - top + s * gx + c * gy + dy * pitch
        grids.append(torch.stack([2 * x / (right - left) - 1, 2 * y / (bottom - top) - 1], -1))
    sampled = F.grid_sample(
        region.expand(frames, -1, -1, -1),
        torch.stack(grids),
        mode="bilinear",
        padding_mode="reflection",
        align_corners=False,
    )
    return F.avg_pool2d(sampled, 2)


def cut_out(picture: Tensor, rng: random.Random) -> Tensor:
    """A photo with an alpha plane of random polygons, uint8 [4, H, W]."""
    height, width = picture.shape[-2:]
    alpha = np.zeros((height, width), np.uint8)
    for _ in range(rng.randint(2, 8)):
        x, y = rng.randrange(width), rng.randrange(height)
        size = rng.uniform(60, 260)
        corners = [
            (int(x + size * math.cos(a) * rng.uniform(0.4, 1)), int(y + size * math.sin(a) * rng.uniform(0.4, 1)))
            for a in sorted(rng.uniform(0, 2 * math.pi) for _ in range(rng.randint(3, 9)))
        ]
        cv2.fillPoly(alpha, [np.array(corners, np.int32)], 255, lineType=cv2.LINE_AA)
    return torch.cat([picture, torch.from_numpy(alpha)[None]])


def lettering(rng: random.Random, side: int = 720) -> Tensor:
    """Words in random faces, sizes and colors on transparency, uint8 [4, side, side]."""
    canvas = np.zeros((side, side, 3), np.uint8)
    alpha = np.zeros((side, side), np.uint8)
    for _ in range(rng.randint(6, 24)):
        place = (rng.randrange(-50, side), rng.randrange(side))
        face = rng.choice((cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX))
        size, weight = rng.uniform(0.7, 3.5), rng.randint(1, 7)
        color = tuple(rng.randrange(256) for _ in range(3))
        word = rng.choice(WORDS)
        cv2.putText(canvas, word, place, face, size, color, weight + 3)  # the edge blends with its own color
        cv2.putText(alpha, word, place, face, size, 255, weight, cv2.LINE_AA)
    return torch.cat([torch.from_numpy(canvas).permute(2, 0, 1), torch.from_numpy(alpha)[None]])


def over(below: Tensor, above: Tensor) -> Tensor:
    """Lay a clip with alpha [T, 4, H, W] over one without [T, 3, H, W]."""
    alpha = above[:, 3:]
    return below * (1 - alpha) + above[:, :3] * alpha


def photo_clip(photos: list[Tensor], rng: random.Random) -> Tensor:
    """One clip from photos: a moving crop, in a third with cut-outs before it, in a quarter with text."""
    clip = moving_crop(rng.choice(photos), rng)
    if rng.random() < 0.33:
        clip = over(clip, moving_crop(cut_out(rng.choice(photos), rng), rng))
    if rng.random() < 0.25:
        clip = over(clip, moving_crop(lettering(rng), rng))
    return clip


def footage_clips(run: Tensor, rng: random.Random, count: int) -> Iterator[Tensor]:
    """Crops of a run of frames, shrunk by an area filter: that hides most compression."""
    height, width = run.shape[-2:]
    for _ in range(count):
        most = min(height, width) / SIDE
        shrink = min(most, rng.choice((1.0, 1.5, 2.0)))
        size = int(SIDE * shrink)
        top, left = rng.randint(0, height - size), rng.randint(0, width - size)
        crop = run[:, :, top : top + size, left : left + size].float() / 255
        yield (
            crop
            if size == SIDE
            else F.interpolate(crop, (SIDE, SIDE), mode="area" if shrink == 2 else "bicubic", antialias=shrink != 2)
        )


def make_clips(photos: list[Tensor], footage: list[Path], rng: random.Random) -> Iterator[Tensor]:
    """An endless supply of uint8 clips [T, 3, SIDE, SIDE] with enough detail."""
    real: list[Tensor] = []
    while True:
        clip = None
        if footage and rng.random() < FOOTAGE_SHARE:
            while not real:
                for run in footage_runs(rng.choice(footage), rng):
                    if min(run.shape[-2:]) >= SIDE:
                        real.extend(c for c in footage_clips(run, rng, 2) if detail(c) > MIN_DETAIL)
                rng.shuffle(real)
            clip = real.pop()
        else:
            clip = photo_clip(photos, rng)
            if detail(clip) < MIN_DETAIL:
                continue
        yield (clip.clamp(0, 1) * 255).round().to(torch.uint8)


def main() -> None:
    """Write shards until enough clips stand in the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--footage", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hold-out", nargs="*", default=[], help="file stems reserved for evaluation")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rng = random.Random(args.seed)
    kept = [p for p in sorted(args.photos.iterdir()) if p.stem not in args.hold_out]
    photos = [read_photo(path) for path in kept]
    footage = sorted(args.footage.iterdir()) if args.footage else []
    source = make_clips(photos, [p for p in footage if p.stem not in args.hold_out], rng)
    args.out.mkdir(parents=True, exist_ok=True)
    for number in range(math.ceil(args.clips / SHARD)):
        clips = torch.stack([next(source) for _ in range(SHARD)])
        path = args.out / f"clips-{args.seed}-{number:03d}.safetensors"
        with replace_file(path) as partial:
            save_file({"clips": clips}, partial)


if __name__ == "__main__":
    main()
