"""Train the enlarging network of `--look sharp`, from the one that stays closest to what was filmed.

    python -m vrx.train.sharp --material DIR --checkpoint embedded.safetensors --out DIR --seconds 4000 [--resume STATE]

InstaVSR's recipe at this size: recurrent, flow-regularized, adversarial.  `--material` is the folder of
`vrx.train.material`.  What the network gives is judged after the filter of the look
(`vrx.networks.embedded.sharpening`).  The branch for later frames stays as it is.  `sharp.safetensors` (the running
average) and `state.pt` are written every minute and at the end.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from torch.func import functional_call

from vrx.models.embedded.checkpoint import EmbeddedNetworks, load_networks
from vrx.networks.embedded.classical import bicubic
from vrx.networks.embedded.degradation import MOST_DAMAGE
from vrx.networks.embedded.recurrent import BOUND, PIXELS, ClipMotion, PreviousFrame, RecurrentNetwork, WalkedClips
from vrx.networks.embedded.sharpening import detail
from vrx.networks.embedded.symptoms import gray
from vrx.train.critics import PixelCritic
from vrx.train.footage import load_footage, load_photographs
from vrx.train.objective import excess
from vrx.train.pool import Feed, Maker, Pool
from vrx.train.recurrent import ESTIMATED, SHARES
from vrx.train.sharp_losses import Enlarged, Shown, Weights, critic_loss, losses, pull, renew_norms, trust_of
from vrx.train.slots import GO_ON_SHARE, Batch
from vrx.train.updates import Updates, rate_at

POOLS = {4: 60, 2: 32, 3: 16}  # clips
LATER = "later."  # before the names of what stays
WARM_UP = 30  # steps
EXCESS_WEIGHT = 1.0
BETAS = (0.5, 0.99)  # of the critic's optimizer
MEASURED = 25  # steps after which the length of each gradient is measured


def narrowed(network: RecurrentNetwork) -> dict[str, Tensor]:
    """A network's parameters by name, in bfloat16 and channels last."""
    narrow = {name: p.to(torch.bfloat16) for name, p in network.named_parameters()}
    return {n: p.contiguous(memory_format=torch.channels_last) if p.ndim == 4 else p for n, p in narrow.items()}


class Training:
    """All that changes: the network, its running average, the critic, its optimizer."""

    def __init__(self, networks: EmbeddedNetworks, average: float, critic_rate: float) -> None:
        self.network, self.damage = networks.enlarging, networks.degradation.requires_grad_(False)
        self.plain = {name: p.detach().clone() for name, p in narrowed(networks.enlarging).items()}
        for name, p in self.network.named_parameters():
            p.requires_grad_(not name.startswith(LATER))
        trained = [(name, p) for name, p in self.network.named_parameters() if p.requires_grad]
        self.updates = Updates(trained, self.network.config.channels, average)
        self.critic, self.critic_rate, self.steps = PixelCritic().eval(), critic_rate, 0
        self.critic.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(self.critic.parameters(), lr=critic_rate, betas=BETAS)

    def walk(self, batch: Batch) -> tuple[WalkedClips, Enlarged]:
        """Run the network over a batch, in bfloat16; pictures are float32."""
        low, truth, scale = batch.low.float() / 255, batch.truth.float() / 255, batch.scale
        levels = torch.where(batch.estimated, self.damage(low[:, ESTIMATED]), batch.levels + batch.jitter)
        motion = ClipMotion(batch.motion.float(), batch.later_motion.float(), batch.foreseen)
        previous = PreviousFrame(batch.features, batch.picture)
        arguments = (scale, low, levels.clamp(0, MOST_DAMAGE), previous, motion)
        walked = functional_call(self.network, narrowed(self.network), arguments)
        with torch.no_grad():
            plain = functional_call(self.network, self.plain, arguments).residuals
        out, faithful = (
            bicubic(low.flatten(0, 1), scale) + F.pixel_shuffle(x.flatten(0, 1).float(), PIXELS[scale] * scale)
            for x in (walked.residuals, plain)
        )
        out = out + detail(gray(out), scale)
        trust = trust_of(batch.levels)
        clips = Enlarged(scale, out.view_as(truth), faithful.view_as(truth), truth, motion.before, trust)
        return walked, clips

    def step(self, batch: Batch, weights: Weights, learn: bool, rng: random.Random) -> dict[str, float]:
        """One step on a batch; what the terms were.  `learn`: not only the critic."""
        with torch.set_grad_enabled(learn):
            walked, clips = self.walk(batch)
        leaf = replace(clips, out=clips.out.detach().requires_grad_(learn))
        with torch.autocast("cpu", torch.bfloat16):
            shown = Shown.of(leaf, rng)
            renew_norms(self.critic)
            judged = critic_loss(self.critic, shown)
            self.optimizer.zero_grad(set_to_none=True)
            judged.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            terms = losses(self.critic, leaf, shown) if learn else {}
        values = {"judging": float(judged.detach())}
        if learn:
            gradient, found = pull(terms, leaf.out, weights.shares(batch.scale), self.steps % MEASURED == 0)
            values |= found
            for p in self.updates.parameters:
                p.grad = None
            torch.autograd.backward([clips.out, EXCESS_WEIGHT * excess(walked.features, BOUND)], [gradient, None])
            self.updates.step()
        with torch.no_grad():
            batch.features.copy_(walked.previous.features.nan_to_num(0, 0, 0))
            batch.picture.copy_(walked.previous.picture)
        self.steps += 1
        return values

    def averaged(self) -> dict[str, Tensor]:
        """The running average of what is trained, and what stays, by name."""
        return {name: p.detach() for name, p in self.network.named_parameters()} | self.updates.averaged()

    def save(self, folder: Path) -> None:
        """The averaged weights as a checkpoint, and the state."""
        weights = {f"network.{name}": p.float().contiguous() for name, p in self.averaged().items()}
        metadata = {"family": "recurrent", "config": json.dumps(vars(self.network.config)), "steps": str(self.steps)}
        save_file(weights, folder / "sharp.part", metadata)
        (folder / "sharp.part").replace(folder / "sharp.safetensors")
        state: dict[str, Any] = {"updates": self.updates.state(), "steps": self.steps}
        state |= {"critic": self.critic.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save(state, folder / "state.part")
        (folder / "state.part").replace(folder / "state.pt")

    def restore(self, path: Path) -> None:
        """Take back what `save` wrote; rates are this run's."""
        state = torch.load(path, weights_only=True)
        self.updates.restore(state["updates"])
        self.critic.load_state_dict(state["critic"])
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            group["lr"] = self.critic_rate
        self.steps = state["steps"]


@dataclass
class Stock:
    """Clips of each scale, and the batches that are drawn from them."""

    feed: Feed
    batches: Mapping[int, Batch]
    pools: Mapping[int, Pool]
    made: int
    reuse: float
    rng: random.Random
    since: int = 0

    def take(self, wait: bool) -> None:
        """Put clips that were made into their pool."""
        clips = self.feed.take(wait)
        if clips is not None:
            self.pools[clips.scale].add(clips)
            self.since = 0

    def fill(self) -> None:
        """Wait for the first clips."""
        while any(pool.filled < min(2 * self.made, pool.size) for pool in self.pools.values()):
            self.take(wait=True)

    def draw(self) -> Batch:
        """The next step's batch."""
        young = any(pool.filled < pool.size for pool in self.pools.values())
        scale = self.rng.choices(list(SHARES), list(SHARES.values()))[0]
        batch, pool = self.batches[scale], self.pools[scale]
        self.since += 1
        if self.since * len(batch.slots) * (1 - GO_ON_SHARE) >= self.made * (1 if young else self.reuse):
            self.take(wait=False)
        assert pool.clips is not None
        batch.refill(pool.clips, pool.filled, self.rng, estimate=True)
        return batch


def train(args: argparse.Namespace) -> None:
    """Run the recipe; see the module's docstring."""
    began = reported = saved = time.monotonic()
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    training = Training(load_networks(args.checkpoint), args.average, args.critic_rate)
    if args.resume:
        training.restore(args.resume)
    maker = Maker(load_photographs(args.material), load_footage(args.material)[0], args.frames, workers=1)
    feed = Feed(maker, SHARES, args.made, torch.device("cpu"))
    batches = {scale: Batch(scale, args.batch, args.frames, args.side, training.network) for scale in SHARES}
    pools = {scale: Pool(max(args.made, size)) for scale, size in POOLS.items()}
    stock = Stock(feed, batches, pools, args.made, args.reuse, random.Random(args.seed))
    stock.fill()
    first, sums = training.steps, dict[str, list[float]]()
    while (now := time.monotonic()) < began + args.seconds:
        progress = (now - began) / args.seconds
        training.updates.rate.fill_(args.rate * rate_at(training.steps - first, progress, WARM_UP))
        values = training.step(stock.draw(), args.weights, training.steps >= args.settle, stock.rng)
        for name, value in values.items():
            sums.setdefault(name, []).append(value)
        if now - reported > args.report:
            means = "  ".join(f"{name} {sum(found) / len(found):.4g}" for name, found in sums.items())
            print(f"{now - began:6.0f} s  step {training.steps}  {means}", flush=True)  # noqa: T201
            sums, reported = {}, now
        if now - saved > args.save:
            training.save(args.out)
            saved = now
    training.save(args.out)
    feed.close()


def main() -> None:
    """Parse and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--material", type=Path, required=True)
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="a packed checkpoint, whose network is the start"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=4000.0)
    parser.add_argument("--resume", type=Path, help="a state.pt")
    parser.add_argument("--batch", type=int, default=4, help="clips a step")
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--side", type=int, default=40, help="grid positions of what is learnt from")
    parser.add_argument("--made", type=int, default=4, help="clips that are made at once")
    parser.add_argument("--reuse", type=float, default=5.0, help="how often a clip is drawn, roughly")
    parser.add_argument("--rate", type=float, default=5e-5)
    parser.add_argument("--critic-rate", type=float, default=4e-4)
    parser.add_argument("--settle", type=int, default=100, help="steps in which only the critic learns")
    parser.add_argument("--average", type=float, default=0.99, help="of the running average")
    parser.add_argument("--save", type=float, default=60.0, help="seconds between saves")
    parser.add_argument("--report", type=float, default=30.0, help="seconds between lines")
    parser.add_argument("--seed", type=int, default=0)
    for name, value in vars(Weights()).items():
        parser.add_argument(f"--{name}", type=float, default=value, help="weight of the term")
    args = parser.parse_args()
    args.weights = Weights(**{name: getattr(args, name) for name in vars(Weights())})
    train(args)


if __name__ == "__main__":
    main()
