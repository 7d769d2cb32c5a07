"""Training data of the embedded network: stored clips, drawn at random and varied."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from vrx.train import degrade

CUT_SHARE = 0.08  # of the clips
SOFT_SHARE = 0.4  # of the clips, softened first
SOFT_SIGMA = (0.4, 1.5)  # pixels


def load_clips(folder: Path) -> list[Tensor]:
    """All shards of a folder, uint8 [N, T, 3, S, S] each."""
    return [load_file(path)["clips"] for path in sorted(folder.glob("clips-*.safetensors"))]


def augment(clip: Tensor, frames: int, rng: random.Random) -> Tensor:
    """A run of a stored clip, flipped, turned, reversed and with its colors exchanged."""
    stride = 2 if rng.random() < 0.2 and clip.shape[0] >= 2 * frames - 1 else 1
    start = rng.randint(0, clip.shape[0] - (frames - 1) * stride - 1)
    clip = clip[start : start + (frames - 1) * stride + 1 : stride].float() / 255
    if rng.random() < 0.5:
        clip = clip.flip(0)
    if rng.random() < 0.5:
        clip = clip.flip(-1)
    if rng.random() < 0.5:
        clip = clip.flip(-2)
    if rng.random() < 0.5:
        clip = clip.transpose(-1, -2)
    if rng.random() < 0.3:
        clip = clip[:, rng.sample(range(3), 3)]
    return clip


def draw(clips: list[Tensor], count: int, frames: int, rng: random.Random, still: float = 0.0) -> Tensor:
    """`count` augmented clips [B, T, 3, S, S]: some as soft as films are, some cut, a share of them `still`."""
    chosen = []
    for _ in range(count):
        shard = rng.choice(clips)
        clip = augment(shard[rng.randrange(len(shard))], frames, rng)
        if rng.random() < still:
            clip = clip[:1].expand_as(clip)
        if rng.random() < SOFT_SHARE:
            clip = degrade.gaussian_blur(clip, rng.uniform(*SOFT_SIGMA))
        chosen.append(clip)
    return torch.stack([cut(clip, after, rng) for clip, after in zip(chosen, chosen[1:] + chosen[:1], strict=True)])


def cut(clip: Tensor, after: Tensor, rng: random.Random) -> Tensor:
    """Sometimes another clip from some frame on: an unmarked cut."""
    if len(clip) < 2 or rng.random() >= CUT_SHARE:
        return clip
    place = rng.randint(1, len(clip) - 1)
    return torch.cat([clip[:place], after[place:]])
