"""Train the networks that read a blur's width from a picture's spectrum and edges.

    python -m vrx.train.sharpness --photos DIR --footage DIR --out FILE [--samples 4000] [--seed 0]

Pictures are shrunk photos and frames of footage, blurred by a known Gaussian, stored as 8 bits, some
of them compressed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from vrx.networks.embedded.blur import OFFSET, BlurEstimator, describe, relative
from vrx.train import compression, degrade, sources
from vrx.train.sources import arguments

MOST_SIGMA = 5.0  # pixels
SHARP_SHARE = 0.15
COMPRESSED_SHARE = 0.15
SOFT_SHARE, MOST_SOFT = 0.35, 1.0  # pictures that are soft by nature, pixels
EPOCHS = 150
BATCH = 256
JITTER = 0.03  # added to every feature, of its spread
LOWER = 0.47  # quantile that is learnt


def pictures(photos: list[Tensor], footage: list[Tensor], rng: random.Random) -> Iterator[Tensor]:
    """Sharp crops [1, 3, H, W] in 0..1 of many sizes."""
    while True:
        whole = rng.choice(photos if rng.random() < 0.55 or not footage else footage)
        shrink = rng.uniform(0.35, 0.8) if whole.shape[-1] > 1000 else rng.uniform(0.5, 1.0)
        height, width = (int(side * shrink) for side in whole.shape[-2:])
        x = F.interpolate(whole[None].float() / 255, (height, width), mode="bicubic", antialias=True)
        size = (min(height, rng.randint(180, 540)), min(width, rng.randint(240, 900)))
        top, left = rng.randint(0, height - size[0]), rng.randint(0, width - size[1])
        yield x[..., top : top + size[0], left : left + size[1]].clamp(0, 1)


def sample(picture: Tensor, rng: random.Random) -> tuple[Tensor, float]:
    """The description of a picture under a random blur, and the blur.

    Many pictures were never sharp: some are softened before, and that is not to be undone.
    """
    if rng.random() < SOFT_SHARE:
        picture = degrade.gaussian_blur(picture, rng.uniform(0.2, MOST_SOFT))
    sigma = 0.0 if rng.random() < SHARP_SHARE else rng.uniform(0.5, MOST_SIGMA)
    x = degrade.gaussian_blur(picture, sigma) if sigma else picture
    if rng.random() < COMPRESSED_SHARE:
        if rng.random() < 0.5:
            x = degrade.add_noise(x, rng.uniform(0.001, 0.01))
        else:
            x = compression.through_h264(x[None], rng.randint(14, 26), "veryfast")[0]
    return describe(degrade.quantize(x)), sigma


def fitted(x: Tensor, y: Tensor) -> BlurEstimator:
    """A network trained on descriptions [N, FEATURES] and their blurs [N] in pixels."""
    network = BlurEstimator()
    network.middle.copy_(relative(x).mean(0))
    network.spread.copy_(relative(x).std(0) + 1e-3)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    steps = EPOCHS * max(1, len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        index = torch.randint(len(x), (BATCH,))
        jitter = x[index] + JITTER * network.spread * torch.randn_like(x[index])
        error = torch.log((network.readings(jitter) + OFFSET) / (y[index] + OFFSET))  # each reader learns alone
        # too much sharpening rings, too little is only soft: err to the lower side
        loss = (error * torch.where(error > 0, 1 - LOWER, LOWER)).abs().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return network.eval()


def main() -> None:
    """Make samples, fit, report the error on the last tenth, write the weights."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--features", type=Path, help="also write the samples")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    torch.manual_seed(args.seed)
    photos, runs = sources.pictures(args, rng)
    source = pictures(photos, [run[0] for run in runs], rng)
    with torch.no_grad():
        drawn = [sample(next(source), rng) for _ in range(args.samples)]
    x, y = torch.stack([d[0] for d in drawn]), torch.tensor([d[1] for d in drawn])
    if args.features:
        save_file({"x": x, "y": y}, args.features)
    cut = len(x) * 9 // 10
    network = fitted(x[:cut], y[:cut])
    with torch.no_grad():
        ratio = (network(x[cut:]) + OFFSET) / (y[cut:] + OFFSET)
    middle = (y[cut:] > 1.5) & (y[cut:] < 4.5)
    spread = (ratio[middle] - 1).abs()
    print(f"error at 1.5 to 4.5 px: median {spread.median():.3f}, 90% {spread.quantile(0.9):.3f}")  # noqa: T201
    save_file(network.state_dict(), args.out)


if __name__ == "__main__":
    main()
