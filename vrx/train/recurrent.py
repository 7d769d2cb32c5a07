"""Train the enlarging network on a GPU by the clock.

    python -m vrx.train.recurrent --material DIR --out DIR --seconds 380 [--resume STATE|CHECKPOINT] [--device cuda]

`--material` is the folder of `vrx.train.material`.  Clips are made while training goes on (`vrx.train.pool`).  A
step runs a batch of them forward, or on from where the step before left them, backward in time.  The rate ends
at zero when the seconds are over; `recurrent.safetensors` (the running average) and `state.pt` are written every
minute and at the end.  On CUDA each scale's step is one graph; where that fails it runs as it is.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.func import functional_call

from vrx.networks.embedded.classical import bicubic
from vrx.networks.embedded.degradation import MOST_DAMAGE, DegradationEstimator
from vrx.networks.embedded.recurrent import (
    BOUND,
    LATER_BOUND,
    PIXELS,
    ClipMotion,
    PreviousFrame,
    RecurrentConfig,
    RecurrentNetwork,
)
from vrx.train.footage import load_footage, load_photographs
from vrx.train.objective import excess, objective
from vrx.train.pool import Feed, Maker, Pool
from vrx.train.slots import GO_ON_SHARE, Batch
from vrx.train.start import Start, load_weights
from vrx.train.updates import AVERAGE, Updates, rate_at
from vrx.train.validate import Validation

SHARES = {4: 0.6, 2: 0.28, 3: 0.12}  # of the steps
POOLS = {4: 1200, 2: 600, 3: 300}  # clips
EXCESS_WEIGHT = 1.0
DAMAGE_WEIGHT = 0.5
DAMAGE_ROUND = 0.2  # estimates that are off by less count by the square
ESTIMATE_FROM = 0.15  # of the time
ESTIMATED = slice(0, 4, 3)  # frames that damage is read from
WARM_UP = 150  # steps
RESERVE = 9.0  # seconds for the last validation and save
QUEUED = 3  # steps that may wait on the device


class Step:
    """Forward, backward and update of one batch; as a CUDA graph after `capture`."""

    def __init__(
        self,
        network: RecurrentNetwork,
        damage: DegradationEstimator,
        updates: Updates,
        batch: Batch,
        narrow: bool | None = None,
    ) -> None:
        """`narrow`: in bfloat16, which without it is so on CUDA only."""
        self._network, self._damage, self._updates, self._batch = network, damage, updates, batch
        self._learns_damage = any(p.requires_grad for p in damage.parameters())
        self._narrow = torch.bfloat16 if (batch.low.is_cuda if narrow is None else narrow) else torch.float32
        self._graph: torch.cuda.CUDAGraph | None = None

    def run(self) -> None:
        """One step."""
        if self._graph is not None:
            self._graph.replay()
        else:
            self.forget()
            self._eager()

    def forget(self) -> None:
        """Drop the gradients."""
        for p in self._updates.parameters:
            p.grad = None

    def capture(self) -> None:
        """Warm up, then record the graph."""
        for _ in range(2):
            self.run()
        torch.cuda.synchronize()
        self.forget()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"):
            self._eager()
        self._graph = graph

    def _cast(self, module: nn.Module) -> dict[str, Tensor]:
        narrow = {name: p.to(self._narrow) for name, p in module.named_parameters()}
        return {n: p.contiguous(memory_format=torch.channels_last) if p.ndim == 4 else p for n, p in narrow.items()}

    def _eager(self) -> None:
        batch = self._batch
        low = batch.low.float() / 255
        with torch.set_grad_enabled(self._learns_damage):
            found = functional_call(self._damage, self._cast(self._damage), (low[:, ESTIMATED],))
        levels = torch.where(batch.estimated, found.detach(), batch.levels + batch.jitter).clamp(0, MOST_DAMAGE)
        previous = PreviousFrame(batch.features, batch.picture)
        motion = ClipMotion(batch.motion.float(), batch.later_motion.float(), batch.foreseen)
        arguments = (batch.scale, low, levels, previous, motion)
        walked = functional_call(self._network, self._cast(self._network), arguments)
        base = bicubic(low.flatten(0, 1), batch.scale)
        out = base + F.pixel_shuffle(walked.residuals.flatten(0, 1).float(), PIXELS[batch.scale] * batch.scale)
        truth = batch.truth.float() / 255
        loss, gains = objective(out.view_as(truth), base.view_as(truth), truth)
        loss = loss + EXCESS_WEIGHT * (excess(walked.features, BOUND) + excess(walked.later, LATER_BOUND))
        if self._learns_damage:
            loss = loss + DAMAGE_WEIGHT * F.smooth_l1_loss(found, batch.levels, beta=DAMAGE_ROUND)
        loss.backward()  # type: ignore[no-untyped-call]
        self._updates.step()
        with torch.no_grad():
            batch.features.copy_(walked.previous.features.nan_to_num(0, 0, 0))
            batch.picture.copy_(walked.previous.picture)
            batch.gains.copy_(gains)


@dataclass
class Training:
    """All that changes while training."""

    network: RecurrentNetwork
    damage: DegradationEstimator
    updates: Updates

    @classmethod
    def begin(
        cls,
        config: RecurrentConfig,
        device: torch.device,
        start: Start | None,
        keep_damage: bool = False,
        average: float = AVERAGE,
    ) -> Training:
        """Fresh, from a state, or from the weights of a checkpoint with momenta of zero.

        `keep_damage`: the estimator of degradation stays as it is; `average`: see `Updates`.
        """
        network, damage = RecurrentNetwork(config), DegradationEstimator()
        if start and not start.is_state:
            load_weights(start, network, damage)
        network, damage = network.to(device), damage.to(device).requires_grad_(not keep_damage)
        named = [(f"network.{n}", p) for n, p in network.named_parameters()]
        named += [(f"damage.{n}", p) for n, p in damage.named_parameters() if not keep_damage]
        training = cls(network, damage, Updates(named, config.channels, average))
        if start and start.is_state:
            training.updates.restore(torch.load(start.path, map_location=device, weights_only=True))
        return training

    def averaged(self) -> dict[str, Tensor]:
        """The running average of what is trained, and the estimator where that stays as it is, by name."""
        return {**{f"damage.{n}": p.detach() for n, p in self.damage.named_parameters()}, **self.updates.averaged()}

    def save(self, folder: Path, notes: dict[str, str]) -> None:
        """The averaged weights as a checkpoint, and the state."""
        weights = {name: value.contiguous().cpu() for name, value in self.averaged().items()}
        metadata = {"family": "recurrent", "config": json.dumps(vars(self.network.config)), **notes}
        save_file(weights, folder / "recurrent.part", metadata)
        (folder / "recurrent.part").replace(folder / "recurrent.safetensors")
        torch.save(self.updates.state(), folder / "state.part")
        (folder / "state.part").replace(folder / "state.pt")


def capture(steps: dict[int, Step], updates: Updates, log: Callable[[str], None]) -> None:
    """Make graphs of the steps; what was learnt meanwhile is forgotten.  Nothing else may use the device."""
    saved = {name: [tensor.clone() for tensor in tensors] for name, tensors in updates.state().items()}
    for scale, step in steps.items():
        begin = time.monotonic()
        try:
            step.capture()
            log(f"graph of x{scale}: {time.monotonic() - begin:.1f} s")
        except Exception as error:  # noqa: BLE001  # the same, only slower
            log(f"no graph of x{scale}: {error!r}")
            torch.cuda.synchronize()
        step.forget()
    updates.restore(saved)


def prepare(device: torch.device) -> None:
    """Settings for speed, and a stream that goes before the one that makes clips."""
    sys.setswitchinterval(5e-4)  # the thread that makes clips must not hold the other back
    torch.backends.cudnn.benchmark = True
    torch.cuda.set_stream(torch.cuda.Stream(device, priority=-1))  # type: ignore[no-untyped-call]


def train(args: argparse.Namespace) -> None:
    """Run the recipe; see the module's docstring."""
    began, device = time.monotonic(), torch.device(args.device)
    seconds = args.until - time.time() if args.until else args.seconds
    args.out.mkdir(parents=True, exist_ok=True)
    journal = (args.out / "log.txt").open("a")

    def log(line: str) -> None:
        stamped = f"{time.monotonic() - began:6.1f} s  {line}"
        print(stamped, flush=True)  # noqa: T201
        print(stamped, file=journal, flush=True)

    torch.manual_seed(args.seed)
    reading = ThreadPoolExecutor(1).submit(lambda: (load_photographs(args.material), *load_footage(args.material)))
    cuda = device.type == "cuda"
    if cuda:
        prepare(device)
    config = RecurrentConfig(channels=args.channels, blocks=args.blocks, later_blocks=args.later_blocks)
    start = Start(args.resume, args.keep_blocks) if args.resume else None
    training = Training.begin(config, device, start, args.keep_damage, args.average)
    batches = {s: Batch(s, args.batch, args.frames, args.side, training.network) for s in SHARES}
    parts = (training.network, training.damage, training.updates)
    steps = {s: Step(*parts, batches[s], args.narrow) for s in SHARES}
    log(f"{sum(p.numel() for p in training.updates.parameters)} parameters on {device}")
    if cuda and not args.eager:
        capture(steps, training.updates, log)
        torch.backends.cudnn.benchmark = False
        log(f"memory: {torch.cuda.max_memory_allocated() / 2**30:.1f} GB")
    photographs, footage, held = reading.result()
    log(f"material: {photographs.count} photographs, {len(footage)} clips, {len(held)} held out")
    maker = Maker(photographs.to(device), [clip.to(device) for clip in footage], args.frames, args.workers)
    validation = Validation([clip.to(device) for clip in held], args.validation_frames, device)
    if cuda:
        torch.cuda.synchronize()
    log("bicubic: " + "  |  ".join(f"{case.name} {case.plain:.2f}" for case in validation.cases))
    if args.resume:
        log("before: " + validation.run(training.network.config, training.averaged()))
    feed = Feed(maker, SHARES, args.made, device)
    pools = {s: Pool(max(args.made, round(size * args.pool))) for s, size in POOLS.items()}
    while any(pool.filled < min(2 * args.made, pool.size) for pool in pools.values()):
        clips = feed.take(wait=True)
        assert clips is not None
        pools[clips.scale].add(clips)
    log("first clips: " + "  ".join(f"x{s} {pool.filled}" for s, pool in pools.items()))
    run = Run(args, training, batches, steps, pools, feed, validation, log, random.Random(args.seed))
    loop(run, began + seconds - RESERVE)
    feed.close()
    log("done")
    journal.close()


@dataclass
class Run:
    """What the loop works with."""

    args: argparse.Namespace
    training: Training
    batches: dict[int, Batch]
    steps: dict[int, Step]
    pools: dict[int, Pool]
    feed: Feed
    validation: Validation
    log: Callable[[str], None]
    rng: random.Random

    def restock(self, since: int) -> bool:
        """Take clips that are ready, no more of them than the steps since the last ones ask for; whether any came."""
        young = any(pool.filled < pool.size for pool in self.pools.values())
        if since * self.args.batch * (1 - GO_ON_SHARE) < self.args.made * (1 if young else self.args.reuse):
            return False
        clips = self.feed.take(wait=False)
        if clips is not None:
            self.pools[clips.scale].add(clips)
        return clips is not None

    def report(self, count: int, speed: float, gains: dict[int, list[Tensor]]) -> None:
        """A line on how the last steps went."""
        means = {s: float(torch.stack(g).mean()) for s, g in gains.items() if g}
        found = "  ".join(f"x{s} {mean:+.2f}" for s, mean in means.items())
        stock = " ".join(str(pool.filled) for pool in self.pools.values())
        self.log(f"step {count}  {speed * 1000:.1f} ms  {found}  clips {stock}")
        if not all(math.isfinite(mean) for mean in means.values()):
            self.log("some results were not finite and moved nothing")
        if self.feed.error is not None:
            self.log(f"clips could not be made: {self.feed.error!r}")
            self.feed.error = None

    def finish(self, count: int, seconds: float) -> None:
        """Validate the average and save everything."""
        begin = time.monotonic()
        notes = {"steps": str(count), "seconds": f"{seconds:.0f}"}
        self.training.save(self.args.out, notes)
        try:
            figures = self.validation.run(self.training.network.config, self.training.averaged())
            self.log(f"validation at {count}: {figures}  ({time.monotonic() - begin:.1f} s)")
        except Exception as error:  # noqa: BLE001  # training is worth more than its figures
            self.log(f"no validation: {error!r}")


def loop(run: Run, end: float) -> None:
    """Steps until the time is over."""
    args, cuda = run.args, run.args.device != "cpu"
    begin = saved = reported = time.monotonic()
    count = since = last = 0
    gains: dict[int, list[Tensor]] = {s: [] for s in run.steps}
    pending: list[torch.cuda.Event] = []
    while (now := time.monotonic()) < end:
        progress = (now - begin) / (end - begin)
        run.training.updates.rate.fill_(args.rate * rate_at(count, progress, WARM_UP))
        scale = run.rng.choices(list(SHARES), list(SHARES.values()))[0]
        since = 0 if run.restock(since) else since + 1
        pool = run.pools[scale]
        assert pool.clips is not None
        run.batches[scale].refill(pool.clips, pool.filled, run.rng, progress > ESTIMATE_FROM)
        run.steps[scale].run()
        gains[scale].append(run.batches[scale].gains.mean())
        count += 1
        if cuda:
            pending.append(torch.cuda.Event())  # type: ignore[no-untyped-call]
            pending[-1].record()
            if len(pending) > QUEUED:
                pending.pop(0).synchronize()
        if now - reported > args.report:
            run.report(count, (now - reported) / max(1, count - last), gains)
            gains = {s: [] for s in run.steps}
            reported, last = now, count
        if now - saved > args.save:
            run.finish(count, now - begin)
            saved = time.monotonic()
    run.report(count, (now - reported) / max(1, count - last), gains)
    run.finish(count, now - begin)


def main() -> None:
    """Parse and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--material", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=380.0, help="of everything, from the start of this program")
    parser.add_argument("--until", type=float, help="the same as a time, seconds since 1970")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--eager", action="store_true", help="no CUDA graphs")
    parser.add_argument("--narrow", action="store_true", default=None, help="bfloat16 on CPUs that have units for it")
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--keep-blocks", type=int, nargs="*", default=(), help="of --resume's larger network")
    parser.add_argument("--later-blocks", type=int, default=3, help="of the branch that runs backward in time")
    parser.add_argument("--keep-damage", action="store_true", help="the estimator of degradation stays as it is")
    parser.add_argument("--batch", type=int, default=16, help="clips a step")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--side", type=int, default=64, help="grid positions of what is learnt from")
    parser.add_argument("--made", type=int, default=16, help="clips that are made at once")
    parser.add_argument("--reuse", type=float, default=3.0, help="how often a clip is drawn, roughly")
    parser.add_argument("--pool", type=float, default=1.0, help="clips in memory, as a share of the usual number")
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--average", type=float, default=AVERAGE, help="of the running average; less for short runs")
    parser.add_argument("--save", type=float, default=60.0, help="seconds between saves")
    parser.add_argument("--report", type=float, default=10.0, help="seconds between lines")
    parser.add_argument("--validation-frames", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", type=Path, help="a state.pt, or a checkpoint, to start from with a fresh schedule")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
