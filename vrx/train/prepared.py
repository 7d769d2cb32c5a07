"""Prepared clips for InstaVSR: truth, what damage left of it, and the flows of every window of five.

    python -m vrx.train.prepared --material DIR --out DIR --clips 700 [--first 0] [--seed 0]

`--material` is the folder of `vrx.train.material`.  Writes shards of safetensors; the process may be stopped and
run again with another `--first`.  Knows clips and draws batches of them; does not know networks or losses.
"""

from __future__ import annotations

import argparse
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from vrx.models.optical_flow import Motion, to_luma
from vrx.networks.instavsr.network import SCALE
from vrx.train import degrade
from vrx.train.footage import load_footage, load_photographs
from vrx.train.pool import GRID, Maker, Recipe

FRAMES = 7
SHARD = 16  # clips a file
CLEAN_SHARE = 0.4  # of the clips, shrunk once more from the truth without damage
COLOR_SHARE = 0.3  # of the clips, colors exchanged
OFFSETS = (-2, -1, 1, 2)  # the window's other frames, from the center
DAMAGE = Recipe(
    {"clean": 0.3, "noise": 0.2, "tape": 0.05, "codec": 0.2, "noisy codec": 0.1, "web": 0.1, "stills": 0.05}, soft=0.3
)


@dataclass(frozen=True)
class Scenes:
    """Clips of T frames, one scene each.

    `truth` uint8 [N, T, 3, 4 G, 4 G]; `low` uint8 [N, T, 3, G, G]; `flow` half [N, T, 4, 2, G, G], pixels of the
    source, from each frame to those OFFSETS away, at the ends to the nearest there is; `motion` half
    [N, T - 1, 2, 2 G, 2 G], pixels of its own grid, of the truth from each frame but the first to the one before.
    """

    truth: Tensor
    low: Tensor
    flow: Tensor
    motion: Tensor

    def __len__(self) -> int:
        return len(self.truth)

    def to(self, device: torch.device) -> Scenes:
        """The same on a device."""
        return Scenes(**{name: tensor.to(device) for name, tensor in vars(self).items()})


@dataclass(frozen=True)
class Batch:
    """Clips: `truth` [B, T, 3, 4 h, 4 w] and `low` in -1..1; flows as in `Scenes`, float32."""

    truth: Tensor
    low: Tensor
    flow: Tensor
    motion: Tensor

    def part(self, index: int, of: int) -> Batch:
        """One of `of` equal shares."""
        return Batch(*(getattr(self, f.name).chunk(of)[index] for f in fields(self)))


def run_flow(flow: Tensor, first: int, frames: int) -> Tensor:
    """Window flows [frames, 4, 2, h, w] of a run out of a clip [T, 4, 2, h, w]: at its ends to the nearest frame."""
    run = torch.zeros_like(flow[:frames])
    for t in range(frames):
        for n, offset in enumerate(OFFSETS):
            if within := min(max(t + offset, 0), frames - 1) - t:
                run[t, n] = flow[first + t, OFFSETS.index(within)]
    return run


def draw(scenes: Scenes, count: int, size: tuple[int, int], rng: random.Random) -> Batch:
    """`count` clips cut to a size, frames and pixels of the source's side, and varied."""
    clips = [draw_one(scenes, size, rng) for _ in range(count)]
    return Batch(*(torch.stack(parts) for parts in zip(*clips, strict=True)))


def draw_one(scenes: Scenes, size: tuple[int, int], rng: random.Random) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Truth, picture, window flows and the truth's motion of one clip."""
    frames, side = size
    first = rng.randint(0, scenes.low.shape[1] - frames)
    index, room = rng.randrange(len(scenes)), (scenes.low.shape[-1] - side) // 2
    top, left = rng.randint(0, room) * 2, rng.randint(0, room) * 2

    def window(x: Tensor, unit: int) -> Tensor:
        cut = x[index][..., top * unit : (top + side) * unit, left * unit : (left + side) * unit]
        return cut.float()

    truth, low = (window(x, unit) / 127.5 - 1 for x, unit in ((scenes.truth, SCALE), (scenes.low, 1)))
    truth, low = truth[first : first + frames], low[first : first + frames]
    if rng.random() < CLEAN_SHARE:
        low = degrade.quantize(degrade.shrink(truth / 2 + 0.5, SCALE)) * 2 - 1
    flow = run_flow(window(scenes.flow, 1), first, frames)
    motion = window(scenes.motion, SCALE // 2)[first : first + frames - 1]
    if rng.random() < 0.5:
        truth, low, flow, motion = (x.flip(-1) for x in (truth, low, flow, motion))
        flow[..., 0, :, :].neg_()
        motion[..., 0, :, :].neg_()
    if rng.random() < 0.5:
        truth, low, flow, motion = (x.transpose(-1, -2) for x in (truth, low, flow, motion))
        flow, motion = flow.flip(-3), motion.flip(-3)
    if rng.random() < COLOR_SHARE:
        order = rng.sample(range(3), 3)
        truth, low = truth[:, order], low[:, order]
    return truth, low, flow, motion


def window_flow(levels: np.ndarray) -> np.ndarray:
    """Flow half [T, 4, 2, H, W] of luma uint8 [T, H, W]; see `Scenes`."""
    pictures, last, search = torch.from_numpy(levels), len(levels) - 1, Motion()
    flows = []
    for t in range(len(levels)):
        others = [min(max(t + offset, 0), last) for offset in OFFSETS]
        pairs = [search.between(pictures[[other, t]])[0] for other in others]
        flows.append(torch.stack([torch.zeros_like(p) if o == t else p for p, o in zip(pairs, others, strict=True)]))
    return torch.stack(flows).numpy().astype(np.float16)


def backward_flow(levels: np.ndarray) -> np.ndarray:
    """Flow half [T - 1, 2, H, W] from each frame but the first to the one before."""
    return Motion().between(torch.from_numpy(levels)).numpy().astype(np.float16)


def lumas(frames: Tensor) -> np.ndarray:
    """Luma uint8 [N, T, H, W] of clips uint8 [N, T, 3, H, W]."""
    flat = to_luma(frames.flatten(0, 1).float() / 255)
    return flat.view(*frames.shape[:2], *flat.shape[-2:]).numpy()


def prepare(maker: Maker, count: int, workers: ThreadPoolExecutor) -> Scenes:
    """`count` new clips."""
    clips = maker.make(SCALE, count)
    flows = np.stack(list(workers.map(window_flow, lumas(clips.low))))
    halves = F.avg_pool2d(clips.truth.flatten(0, 1).float(), 2).view(*clips.truth.shape[:3], 2 * GRID, 2 * GRID)
    motions = np.stack(list(workers.map(backward_flow, lumas(halves))))
    return Scenes(clips.truth, clips.low, torch.from_numpy(flows), torch.from_numpy(motions))


def load(folder: Path) -> Scenes:
    """All shards of a folder."""
    shards = [load_file(path) for path in sorted(folder.glob("scenes-*.safetensors"))]
    return Scenes(**{name: torch.cat([shard[name] for shard in shards]) for name in shards[0]})


def main() -> None:
    """Make clips and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--material", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=700)
    parser.add_argument("--first", type=int, default=0, help="number of the first shard")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)  # clips share the processor, not the search of one
    torch.manual_seed(args.seed + args.first)
    footage, _ = load_footage(args.material)
    maker = Maker(load_photographs(args.material), footage, FRAMES, args.workers, DAMAGE)
    with ThreadPoolExecutor(args.workers) as workers:
        for shard in range(args.first, args.first + -(-args.clips // SHARD)):
            tensors = {name: tensor.contiguous() for name, tensor in vars(prepare(maker, SHARD, workers)).items()}
            save_file(tensors, args.out / f"scenes-{shard:04}.safetensors")
            print(shard, flush=True)  # noqa: T201
    maker.close()


if __name__ == "__main__":
    main()
