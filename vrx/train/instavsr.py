"""Train the small InstaVSR by the paper's recipe: recurrent over runs of frames, then adversarial in two spaces.

    python -m vrx.train.instavsr --data DIR --out DIR [--phase pretrain|adversarial] [--steps N] [--seconds S]
        [--resume] [--start FILE] [--device cpu|cuda]

`--data` is the folder of `vrx.train.prepared`.  Both phases: distance to the truth relative to that of bicubic,
and the error of the change between adjacent frames along the truth's flow, where the place was visible.  The second
adds what a critic of pictures and one of latents say, and the distance of the former's features.  What is
inferred or ours in this, `vrx/train/README.md` says.  `state.pt` holds everything: with `--resume` the next steps
have the same bits as without the stop.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vrx.networks.instavsr.network import SMALL, InstaVsr, InstaVsrConfig
from vrx.train.instavsr_losses import (
    ADVERSARIAL,
    PRETRAIN,
    Judges,
    Weights,
    deceptions,
    flat,
    judge_loss,
    paired_losses,
    pull,
    values,
)
from vrx.train.optimizers import Muon
from vrx.train.prepared import FRAMES, Batch, Scenes, draw, load
from vrx.train.recurrence import Restored, restore

CLIP_NORM = 1.0
AVERAGE = 0.998  # of the running average of the weights
WARM_UP = 40  # steps
MUON_RATE = 10.0  # times the rate of AdamW
LEAST_RATE = 0.02  # share of the rate at the end
WAIT = 40  # steps of the adversarial phase in which only critics and encoder learn
JUDGED = 2  # frames a clip that the critics see
JUDGE_RATE = 5e-4
BETAS = (0.9, 0.99)
JUDGE_BETAS = (0.5, 0.99)


@dataclass(frozen=True)
class Gradients:
    """Of a share of a batch, for the restorer (None while it waits) and the judges, and the terms of the loss."""

    restorer: list[Tensor] | None
    judges: list[Tensor] | None
    terms: dict[str, float]


def narrowed(device: torch.device) -> torch.autocast:
    """Convolutions in bfloat16.  The cache of narrowed weights is one for all threads and would mix their graphs."""
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


@dataclass
class Training:
    """All that changes while training; `mean` is the running average of the restorer's weights."""

    network: InstaVsr
    judges: Judges | None
    weights: Weights
    reach: int
    step: int = 0
    mean: list[Tensor] = field(default_factory=list)
    optimizers: list[torch.optim.Optimizer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mean = [p.detach().clone() for p in self.parameters]
        edge = ("conv_in.", "conv_out.", "decoder.conv_")
        named = list(self.network.named_parameters())
        inner = [p for name, p in named if p.ndim == 4 and not name.startswith(edge)]
        chosen = {id(p) for p in inner}
        outer = [p for _, p in named if id(p) not in chosen]
        self.optimizers = [Muon(inner, MUON_RATE), torch.optim.AdamW(outer, 1.0, BETAS, weight_decay=0.0)]
        if self.judges is not None:
            self.optimizers.append(torch.optim.AdamW(self.judges.parameters(), JUDGE_RATE, JUDGE_BETAS))

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The restorer's."""
        return list(self.network.parameters())

    @property
    def waiting(self) -> bool:
        """Whether the judges learn alone."""
        return self.judges is not None and self.step < WAIT

    def gradients(self, batch: Batch, seen: list[int]) -> Gradients:
        """Of a share of the batch; the judges see the frames `seen`."""
        with narrowed(batch.low.device), torch.set_grad_enabled(not self.waiting):
            made = restore(self.network, batch.low, batch.flow, self.reach)
        own, terms = (None, {}) if self.waiting else self.restorer_gradients(batch, made, seen)
        if self.judges is None:
            return Gradients(own, None, values(terms))
        shown, real, low = made.at(seen), flat(batch.truth[:, seen]), flat(batch.low[:, seen])
        with torch.enable_grad(), narrowed(batch.low.device):
            judged = judge_loss(self.judges, self.network, real, low, shown)
        loss = torch.stack(list(judged.values())).sum()
        return Gradients(own, list(torch.autograd.grad(loss, list(self.judges.parameters()))), values(terms | judged))

    def restorer_gradients(
        self, batch: Batch, made: Restored, seen: list[int]
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """The restorer's, and the terms they come from."""
        leaves = Restored(made.frames.detach().requires_grad_(), made.latents.detach().requires_grad_())
        terms = dict(zip(("fidelity", "temporal"), paired_losses(leaves.frames, batch), strict=True))
        if self.judges is not None:
            with narrowed(batch.low.device):
                terms |= deceptions(self.judges, flat(batch.truth[:, seen]), leaves.at(seen))
        gradients = pull(terms, leaves, self.weights)
        return list(torch.autograd.grad((made.frames, made.latents), self.parameters, gradients)), terms

    def update(self, shares: list[Gradients], rate: float) -> dict[str, float]:
        """Move by the mean of the shares' gradients; returns the mean of their terms."""
        if own := [g.restorer for g in shares if g.restorer is not None]:
            assign(self.parameters, own)
        if self.judges is not None:
            assign(list(self.judges.parameters()), [g.judges for g in shares if g.judges is not None])
        for optimizer, factor in zip(self.optimizers, (MUON_RATE * rate, rate, JUDGE_RATE), strict=False):
            for group in optimizer.param_groups:
                group["lr"] = factor
            optimizer.step()
            optimizer.zero_grad()
        self.average()
        if self.judges is not None:
            self.judges.renew_norms()
        self.step += 1
        return {name: sum(g.terms[name] for g in shares) / len(shares) for name in shares[0].terms}

    @torch.no_grad()
    def average(self) -> None:
        """Add the present weights to the running average."""
        keep = min(AVERAGE, (self.step + 1) / (self.step + 10))
        for mean, p in zip(self.mean, self.parameters, strict=True):
            mean.lerp_(p, 1 - keep)

    def state(self) -> dict[str, Any]:
        """All there is to save."""
        return {
            "network": self.network.state_dict(),
            "judges": None if self.judges is None else self.judges.state_dict(),
            "mean": self.mean,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
        }

    def restore_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        self.network.load_state_dict(state["network"])
        if self.judges is not None:
            self.judges.load_state_dict(state["judges"])
        for own, saved in zip(self.mean, state["mean"], strict=True):
            own.copy_(saved)
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step = state["step"]

    def averaged(self) -> dict[str, Tensor]:
        """The running average by name."""
        names = (name for name, _ in self.network.named_parameters())
        return dict(zip(names, self.mean, strict=True))


def assign(parameters: list[nn.Parameter], shares: list[list[Tensor]]) -> None:
    """Set the gradients to the mean of some, no longer together than CLIP_NORM; ones that are not finite are zero."""
    for p, grads in zip(parameters, zip(*shares, strict=True), strict=True):
        p.grad = torch.stack(grads).mean(0)
    norm = nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
    if not norm.isfinite():
        for p in parameters:
            p.grad = torch.zeros_like(p)


def rate_at(step: int, steps: int) -> float:
    """Share of the full rate: a warm-up, then a cosine."""
    progress = min(1.0, step / steps)
    return min(1.0, (step + 1) / WARM_UP) * (LEAST_RATE + (1 - LEAST_RATE) * (0.5 + 0.5 * math.cos(math.pi * progress)))


def one_step(
    training: Training, scenes: Scenes, args: argparse.Namespace, pool: ThreadPoolExecutor
) -> dict[str, float]:
    """Draw a batch, which depends on nothing but the seed and the step, and learn from it."""
    rng = random.Random(f"{args.seed} {training.step}")
    batch = draw(scenes, args.batch, (args.frames, args.side), rng)
    seen = sorted(rng.sample(range(batch.low.shape[1]), JUDGED))
    parts = [batch.part(n, args.shares) for n in range(args.shares)]
    shares = list(pool.map(lambda part: training.gradients(part, seen), parts))
    return training.update(shares, args.rate * rate_at(training.step, args.steps))


def begin(args: argparse.Namespace, config: InstaVsrConfig = SMALL) -> Training:
    """Fresh, from weights (`--start`), or from the state in the folder."""
    torch.manual_seed(args.seed)
    network, device = InstaVsr(config), torch.device(args.device)
    if args.start:
        network.load_state_dict({name: tensor.float() for name, tensor in load_file(args.start).items()})
    network.place(device, torch.float32)
    adversarial = args.phase == "adversarial"
    judges = Judges(config).to(device, memory_format=torch.channels_last) if adversarial else None  # type: ignore[call-overload]
    training = Training(network, judges, ADVERSARIAL if adversarial else PRETRAIN, args.reach)
    if args.resume:
        training.restore_state(torch.load(args.out / "state.pt", map_location=device, weights_only=True))
    return training


def save(training: Training, args: argparse.Namespace) -> None:
    """The averaged weights as a checkpoint, and the state; each file is replaced whole."""
    metadata = {"family": "instavsr", "config": json.dumps(vars(training.network.config))}
    notes = {"phase": args.phase, "steps": str(training.step)}
    weights = {name: tensor.contiguous().cpu() for name, tensor in training.averaged().items()}
    save_file(weights, args.out / "weights.part", metadata | notes)
    torch.save(training.state(), args.out / "state.part")
    (args.out / "weights.part").replace(args.out / "instavsr.safetensors")
    (args.out / "state.part").replace(args.out / "state.pt")


def line(step: int, seconds: float, found: list[dict[str, float]]) -> str:
    """What the log says of some steps: means of the terms over those that have the last one's."""
    alike = [terms for terms in found if terms.keys() == found[-1].keys()]
    terms = "  ".join(f"{name} {sum(f[name] for f in alike) / len(alike):.4f}" for name in found[-1])
    return f"step {step}  {seconds / len(found):.2f} s  {terms}"


def train(args: argparse.Namespace) -> None:
    """Run the recipe; see the module's docstring."""
    args.out.mkdir(parents=True, exist_ok=True)
    scenes, training = load(args.data).to(torch.device(args.device)), begin(args)
    reported = saved = started = time.monotonic()
    found: list[dict[str, float]] = []
    with (args.out / "log.txt").open("a") as journal, ThreadPoolExecutor(args.shares) as pool:
        print(f"{len(scenes)} clips, {sum(p.numel() for p in training.parameters)} parameters", file=journal)
        while training.step < args.steps and time.monotonic() - started < args.seconds:
            found.append(one_step(training, scenes, args, pool))
            now = time.monotonic()
            if now - reported > args.report:
                print(time.strftime("%T"), line(training.step, now - reported, found), file=journal, flush=True)
                reported, found = now, []
            if now - saved > args.save:
                save(training, args)
                saved = now
    save(training, args)


def main() -> None:
    """Parse and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--phase", choices=["pretrain", "adversarial"], default="pretrain")
    parser.add_argument("--start", type=Path, help="weights to begin a phase with")
    parser.add_argument("--resume", action="store_true", help="continue from the folder's state.pt")
    parser.add_argument("--steps", type=int, default=4000, help="of the phase, over all runs")
    parser.add_argument("--seconds", type=float, default=math.inf, help="of this run")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=4, help="clips a step")
    parser.add_argument("--shares", type=int, default=2, help="of the batch, learnt from at the same time")
    parser.add_argument("--side", type=int, default=48, help="pixels of the source")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--reach", type=int, default=4, help="frames that gradients go back through")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--save", type=float, default=120.0, help="seconds between saves")
    parser.add_argument("--report", type=float, default=20.0, help="seconds between lines")
    parser.add_argument("--seed", type=int, default=0)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
