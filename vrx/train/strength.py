"""Train the network that reads how strongly a picture was compressed.

    python -m vrx.train.strength --photos DIR --footage DIR --out FILE --samples 13000 [--seed 0]

Clips are shrunk photos in motion and shrunk footage, some of them soft, half of them compressed at a
known strength.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from vrx.models.strength import StrengthNetwork
from vrx.train import degrade
from vrx.train.data import moving_crop
from vrx.train.sources import arguments, pictures

SIDE = 96  # pixels
FRAMES = 4
CLEAN_SHARE = 0.4
SOFT_SHARE, MOST_SOFT = 0.4, 1.2  # pictures that are soft by nature, pixels
FOOTAGE_SHARE = 0.4
SHRINKS = (1.5, 2.0, 3.0, 4.0)  # of footage: its own compression must not be seen
BATCH = 16
EPOCHS = 12


def clips(photos: list[Tensor], footage: list[Tensor], rng: random.Random) -> Iterator[Tensor]:
    """Clean clips [T, 3, SIDE, SIDE] in 0..1."""
    while True:
        if not footage or rng.random() > FOOTAGE_SHARE:
            yield moving_crop(rng.choice(photos), rng, FRAMES, SIDE).clamp(0, 1)
            continue
        run = rng.choice(footage)
        shrink = rng.choice([s for s in SHRINKS if s * SIDE <= min(run.shape[-2:])] or [1.0])
        size = int(SIDE * shrink)
        top, left = (rng.randint(0, max(0, side - size)) for side in run.shape[-2:])
        crop = run[:FRAMES, :, top : top + size, left : left + size].float() / 255
        yield F.interpolate(crop, (SIDE, SIDE), mode="bicubic", antialias=True).clamp(0, 1)


def sample(clip: Tensor, rng: random.Random) -> tuple[Tensor, float]:
    """A clip, perhaps compressed, as bytes, and the strength."""
    if rng.random() < SOFT_SHARE:
        clip = degrade.gaussian_blur(clip, rng.uniform(0.2, MOST_SOFT))
    strength = 0.0
    if rng.random() > CLEAN_SHARE:
        damaged, strength = degrade.compress(clip[None], rng)
        clip = damaged[0]
    return (clip.clamp(0, 1) * 255).round().to(torch.uint8), strength


def main() -> None:
    """Make samples, fit, report the error on the last tenth, write the weights."""
    args = arguments(__doc__.splitlines()[0]).parse_args()
    rng = random.Random(args.seed)
    torch.manual_seed(args.seed)
    source = clips(*pictures(args, rng, FRAMES), rng)
    drawn = [sample(next(source), rng) for _ in range(args.samples)]
    x, y = torch.stack([d[0] for d in drawn]), torch.tensor([d[1] for d in drawn])
    cut = len(x) * 9 // 10
    network = StrengthNetwork().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-3)
    steps = EPOCHS * (cut // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, steps)
    for step in range(steps):
        index = torch.randint(cut, (BATCH,))
        batch = x[index].float() / 255
        if step % 2:
            batch = batch.flip(1)
        with torch.autocast("cpu", torch.bfloat16):
            found = network(batch)
        error = (found.float() - y[index]).abs().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        found = torch.cat([network(part.float() / 255) for part in torch.split(x[cut:], BATCH)])
    errors, clean = (found - y[cut:]).abs(), y[cut:] == 0
    print(f"error: clean {errors[clean].mean():.3f}, damaged {errors[~clean].mean():.3f}")  # noqa: T201
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, args.out)


if __name__ == "__main__":
    main()
