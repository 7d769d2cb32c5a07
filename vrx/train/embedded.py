"""Train the embedded network that deblurs and inpaints; `vrx.train.recurrent` trains the one that enlarges.

    python -m vrx.train.embedded --data DIR --out DIR --steps 12000 [--resume] [--device cpu|cuda]

`--data` holds the shards of `vrx.train.data`.  Every step draws one use of the network, degrades a batch,
and follows Charbonnier + gradient + temporal-difference losses with Muon for the inner matrices, AdamW
for the rest, a cosine schedule and a weight average.  Stops cleanly on SIGTERM; `--resume` continues where
the last save stands; `--only MODE...` trains the layers that belong to these uses and holds all others.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vrx.files import replace_file
from vrx.networks.embedded.network import MODES, SMALL, EmbeddedNetwork
from vrx.train.batches import Batch, make_batch
from vrx.train.clips import draw, load_clips
from vrx.train.losses import charbonnier, gradient, temporal_difference
from vrx.train.optimizers import optimizers, rate_at
from vrx.train.rollout import restored

SHARES = {"deblur": 0.73, "inpaint": 0.27}
CLIP_NORM = 1.0
FLOOR = 4e-3  # the least distance of a base that a batch is measured against
GRADIENT_WEIGHT = 0.2
TEMPORAL_WEIGHT = 0.3
FLICKER_WEIGHT = 0.8  # instead of it, where the source flickers: compressed or noisy, or a blur undone
SQUARE_WEIGHT = 0.5  # of the squared error, relative to the base's
STILL_SHARE = 0.04  # of the clips, one frame again and again
SAVE_EVERY = 200  # steps


def losses(network: EmbeddedNetwork, batch: Batch, precision: torch.dtype) -> tuple[Tensor, Tensor]:
    """The loss relative to that of the classical base, and the mean squared error, of one batch.

    Relative clip by clip, so that a soft clip counts as much as a sharp one, as it does in decibels.
    """
    out, base, truth = restored(network, batch, precision), batch.base, batch.truth
    weight = FLICKER_WEIGHT if batch.flickers else TEMPORAL_WEIGHT
    loss = (distance(out, truth, weight) / distance(base, truth, weight).clamp_min(FLOOR)).mean()
    error = ((out - truth) ** 2).mean((1, 2, 3, 4))
    before = ((base - truth) ** 2).mean((1, 2, 3, 4)).clamp_min(FLOOR**2)
    return loss + SQUARE_WEIGHT * (error / before).mean(), error.detach().mean()


def distance(out: Tensor, truth: Tensor, temporal: float) -> Tensor:
    """What is made small, of each clip [B]: values, edges, and the change from frame to frame."""
    spatial = charbonnier(out, truth) + GRADIENT_WEIGHT * gradient(out, truth)
    return spatial + temporal * temporal_difference(out, truth)


def average(target: dict[str, Tensor], network: EmbeddedNetwork, keep: float) -> None:
    """Move the running average of the weights toward the network."""
    for name, value in network.state_dict().items():
        target[name].lerp_(value, 1 - keep)


def gain(batch: Batch, error: Tensor) -> float:
    """dB over the classical base."""
    return 10 * math.log10(float(((batch.base - batch.truth) ** 2).mean()) / float(error))


@dataclass
class Training:
    """All that changes while training, and all that is needed to go on with it."""

    network: EmbeddedNetwork
    mean: dict[str, Tensor]
    optims: list[torch.optim.Optimizer]
    step: int = 0
    seconds: float = 0.0

    @classmethod
    def begin(cls, args: argparse.Namespace, device: torch.device) -> Training:
        """New weights, those of `--start`, or the latest checkpoint."""
        network = EmbeddedNetwork(SMALL).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        state_file = args.out / "state.pt"
        resumed = args.resume and state_file.exists()
        if args.start and not resumed:
            adopt(network, load_file(args.start))
        if args.only:
            hold(network, args.only)
        mean = {name: value.clone() for name, value in network.state_dict().items()}
        training = cls(network, mean, optimizers(network, args.rate))
        if resumed:
            state = torch.load(state_file, map_location=device, weights_only=True)
            network.load_state_dict(state["network"])
            for optim, saved in zip(training.optims, state["optimizers"], strict=True):
                optim.load_state_dict(saved)
            training.mean, training.step, training.seconds = state["mean"], state["step"], state["seconds"]
        return training

    def update(self, batch: Batch, precision: torch.dtype) -> Tensor:
        """One step; returns the mean squared error."""
        loss, error = losses(self.network, batch, precision)
        self.network.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), CLIP_NORM)
        for optim in self.optims:
            optim.step()
        self.step += 1
        average(self.mean, self.network, min(0.998, self.step / (self.step + 10)))
        return error


def train(args: argparse.Namespace) -> None:
    """Run the recipe; see the module's docstring."""
    torch.manual_seed(args.seed)
    device = torch.device(args.device)
    precision = {"bf16": torch.bfloat16, "fp32": torch.float32}[args.dtype]
    args.out.mkdir(parents=True, exist_ok=True)
    training = Training.begin(args, device)
    rates = [optim.param_groups[0]["lr"] for optim in optimizers(training.network, args.rate)]
    rng = random.Random(args.seed + training.step)
    clips = load_clips(args.data)
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    gains: dict[str, float] = {}
    shares = {mode: share for mode, share in SHARES.items() if not args.only or mode in args.only}
    spent, begin = training.seconds, time.monotonic()
    while not stopping:
        training.seconds = spent + time.monotonic() - begin
        progress = training.seconds / 60 / args.minutes if args.minutes else training.step / args.steps
        if progress >= 1:
            break
        for optim, rate in zip(training.optims, rates, strict=True):
            optim.param_groups[0]["lr"] = rate * rate_at(training.step, progress)
        mode = rng.choices(list(shares), list(shares.values()))[0]
        frames = 2 if rng.random() < args.short else args.frames
        count = max(1, args.batch * args.frames // frames)
        batch = make_batch(mode, draw(clips, count, frames, rng, STILL_SHARE), rng).to(device)
        now = gain(batch, training.update(batch, precision))
        gains[mode] = 0.98 * gains.get(mode, now) + 0.02 * now
        if training.step % 100 == 0:
            figures = "  ".join(f"{name} {gains[name]:+.2f}" for name in MODES if name in gains)
            print(f"step {training.step}  {training.seconds / 60:.1f} min  {figures}", flush=True)  # noqa: T201
        if training.step % SAVE_EVERY == 0:
            save(args.out, training)
    save(args.out, training)


def adopt(network: EmbeddedNetwork, tensors: dict[str, Tensor]) -> None:
    """Take from another network whatever has the same name and shape; the rest stays fresh."""
    state = network.state_dict()
    fitting = {n: t for n, t in tensors.items() if n in state and state[n].shape == t.shape}
    network.load_state_dict({**state, **fitting})


def hold(network: EmbeddedNetwork, modes: list[str]) -> None:
    """Leave only what belongs to some uses to be trained."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.split(".")[1] in modes)


def save(folder: Path, training: Training) -> None:
    """Write the state to resume from, and the averaged weights as a checkpoint."""
    state = {
        "network": training.network.state_dict(),
        "mean": training.mean,
        "optimizers": [optim.state_dict() for optim in training.optims],
        "step": training.step,
        "seconds": training.seconds,
    }
    with replace_file(folder / "state.pt") as partial:
        torch.save(state, partial)
    metadata = {"family": "embedded", "config": json.dumps(vars(SMALL))}
    metadata |= {"steps": str(training.step), "hours": f"{training.seconds / 3600:.2f}"}
    weights = {name: value.contiguous().cpu() for name, value in training.mean.items()}
    with replace_file(folder / "embedded.safetensors") as partial:
        save_file(weights, partial, metadata)


def main() -> None:
    """Parse and train."""
    parser = argparse.ArgumentParser(description="Train the embedded network")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--minutes", type=float, help="train by the clock instead of by steps")
    parser.add_argument("--batch", type=int, default=6, help="clips a step at full length")
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--short", type=float, default=0.25, help="share of steps on more clips of two frames")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--dtype", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="a checkpoint whose fitting tensors are taken over")
    parser.add_argument("--only", choices=list(MODES), nargs="+", help="train these uses' own layers, hold the others")
    parser.add_argument("--resume", action="store_true")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
