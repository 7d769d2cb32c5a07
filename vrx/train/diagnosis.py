"""Train the networks that name a scene's blur and damage and choose its filter.

    python -m vrx.train.diagnosis --photos DIR --footage DIR --sharpness FILE --out FILE [--samples 3000] [--seed 0]
        [--base FILE]

`--sharpness` is a packed checkpoint or what `vrx.train.sharpness` wrote.  The first two networks learn what was done to
a clip; the third, told by others of them that did not see the clip, learns from the error of the filtered clip itself.
`--base` is a packed checkpoint whose first network stays; the third begins as its own.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from vrx.models.embedded.checkpoint import SHARPNESS, load_networks
from vrx.networks.embedded import symptoms
from vrx.networks.embedded.blur import LUMA, BlurEstimator
from vrx.networks.embedded.deconvolution import interpolate
from vrx.networks.embedded.diagnosis import (
    NOISE_OFFSET,
    WIDEST,
    WIDTH_OFFSET,
    BlurDiagnosis,
    refine_by_zeros,
    zeros_of,
)
from vrx.networks.embedded.kernels import DISK, GAUSSIAN, KINDS, LINE, kernel, radius, transfer
from vrx.networks.embedded.zeros import Zeros
from vrx.train import sources
from vrx.train.blurred import Clip, Sample, draw_sample

EPOCHS, BATCH = 90, 128  # of the first two networks
STEPS, FEW, POINTS = 1800, 96, 1500  # of the third one; samples and frequencies a step
RATE, DECAY = 2e-3, 3e-2
JITTER, LESS_JITTER = 0.05, 0.03  # deviations added to the symptoms
GIVEN_SHARES = (0.2, 0.4)  # of pictures without and with a blur, for which a width is given,
WRONG_SHARE, WRONG = 0.08, 0.4  # some of them a wrong one, by so much of its logarithm
GIVEN_LIMITS = (0.6, 4.0)  # pixels, where there is no blur
MISREAD = 0.15  # deviation of the compression that zeros are looked for under
HARM = 2.0  # further times that a loss counts over a gain
CHROMA_WEIGHT = 0.25
QUIET = 1.4e-6  # added to both errors: what is less is not seen
SPREAD_FLOOR = 1e-2


@dataclass(frozen=True)
class Table:
    """Samples as numbers.

    `seen`: symptoms [N, SYMPTOMS]; `zeros`: N; `power`: of the clip, its product with the truth, and the truth's, for
    luma and chroma [N, 2, 3, GRID (GRID / 2 + 1)]; `kind`, `width`, `angle`, `noise`, `compression`: [N].
    """

    seen: Tensor
    zeros: tuple[Zeros, ...]
    power: Tensor
    kind: Tensor
    width: Tensor
    angle: Tensor
    noise: Tensor
    compression: Tensor


def to_tensor(clip: Clip) -> Tensor:
    """[T, 3, H, W] in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(clip)).permute(0, 3, 1, 2).float() / 255


def powers(low: Tensor, truth: Tensor) -> Tensor:
    """See `Table`: [2, 3, GRID (GRID / 2 + 1)]."""
    found = []
    for rows in ((LUMA,), symptoms.CHROMA):
        total = torch.zeros(())
        for a, b in zip(symptoms.mix(low, rows), symptoms.mix(truth, rows), strict=True):
            (x, energy), (y, _) = symptoms.tile_spectrum(a), symptoms.tile_spectrum(b)
            parts = [x.abs().square().mean(0), (y * x.conj()).real.mean(0), y.abs().square().mean(0)]
            total = total + torch.stack(parts) / energy
        found.append(total.flatten(1))
    return torch.stack(found)


def tabulate(samples: list[Sample], sharpness: BlurEstimator) -> Table:
    """Samples as numbers."""
    clips = [(to_tensor(s.low), to_tensor(s.truth)) for s in samples]
    with torch.no_grad():
        seen = torch.stack([symptoms.describe(low, sharpness) for low, _ in clips])
        power = torch.stack([powers(*clip) for clip in clips])
    read = [s.compression + MISREAD * float(torch.randn(())) for s in samples]
    zeros = tuple(zeros_of(low, max(0.0, c)) for (low, _), c in zip(clips, read, strict=True))
    rows = torch.tensor([[s.width, s.angle, s.noise, s.compression] for s in samples])
    return Table(seen, zeros, power, torch.tensor([s.kind for s in samples]), *rows.unbind(1))


def draw_given(table: Table, index: Tensor) -> Tensor:
    """Widths as users give them for some of the samples [n], 0 for the others."""
    width, blurred = table.width[index], table.kind[index] > 0
    anything = torch.empty_like(width).uniform_(*map(math.log, GIVEN_LIMITS)).exp()
    said = torch.where(blurred, width * torch.exp(JITTER * torch.randn_like(width)), anything)
    wrong = torch.rand_like(width) < WRONG_SHARE
    said = torch.where(wrong, said * torch.exp(WRONG * torch.randn_like(width)), said)
    share = torch.where(blurred, GIVEN_SHARES[1], GIVEN_SHARES[0])
    return torch.where(torch.rand_like(width) < share, said, 0)


def error(found: Tensor, table: Table, index: Tensor, said: Tensor) -> Tensor:
    """How wrong numbers [n, FOUND] of the first networks are."""
    count = len(KINDS)
    kind, width, angle = table.kind[index], table.width[index], table.angle[index]
    unknown = ((kind > 0) & (said == 0)).float()
    size = (found[:, count] - torch.log(width + WIDTH_OFFSET)).abs()
    lines = (kind == LINE).float()
    heading = F.normalize(found[:, count + 1 : count + 3], dim=1)
    turned = 1 - heading[:, 0] * torch.cos(2 * angle) - heading[:, 1] * torch.sin(2 * angle)
    noise = (found[:, count + 3] - torch.log(table.noise[index] + NOISE_OFFSET)).abs().mean()
    return (
        F.cross_entropy(found[:, :count], kind, label_smoothing=0.02)
        + 1.5 * (size * unknown).sum() / unknown.sum().clamp_min(1)
        + 2 * (turned * lines * (width / 2).clamp_max(1)).sum() / lines.sum().clamp_min(1)
        + 0.3 * noise
        + 0.5 * (found[:, count + 4] - table.compression[index]).abs().mean()
    )


def fit_causes(network: BlurDiagnosis, table: Table, chosen: Tensor, epochs: int, *, known: bool = False) -> None:
    """Train the first two networks on some of the samples; the first stays where it is `known`."""
    normal, zeros = network.normalized(table.seen), numbers(table)
    network.train()
    network.causes.train(not known).requires_grad_(not known)
    steps = max(1, epochs * len(chosen) // BATCH)
    trained = [*network.revision.parameters(), *(() if known else network.causes.parameters())]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
    for _ in range(steps):
        index = chosen[torch.randint(len(chosen), (BATCH,))]
        said, x = draw_given(table, index), normal[index]
        x = x + JITTER * torch.randn_like(x)
        found = network.find(x, said)
        loss = error(network.revise(x, said, found.detach(), zeros[index]), table, index, said)
        loss = loss if known else loss + error(found, table, index, said)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    network.eval().requires_grad_(True)


def numbers(table: Table) -> Tensor:
    """The zeros as numbers [N, ZEROS]."""
    return torch.stack([zeros.numbers() for zeros in table.zeros])


def fresh(table: Table, base: BlurDiagnosis | None) -> BlurDiagnosis:
    """An untrained network for such samples; its filters begin in the middle, its revision with little.

    With the first and the third network of a `base`, where there is one.
    """
    network = BlurDiagnosis()
    if base is None:
        network.middle.copy_(table.seen.mean(0))
        network.spread.copy_(table.seen.std(0) + SPREAD_FLOOR)
    else:
        network.middle.copy_(base.middle)
        network.spread.copy_(base.spread)
        network.causes.load_state_dict(base.causes.state_dict())
        network.ratios.load_state_dict(base.ratios.state_dict())
    with torch.no_grad():
        for last in (network.revision[-1], *(() if base else (network.ratios[-1],))):
            assert isinstance(last, torch.nn.Linear)
            last.weight.mul_(0.1)
            last.bias.zero_()
    return network


def transfers(found: Tensor, said: Tensor) -> Tensor:
    """Transfer functions of the three blurs at the widths and angles of a diagnosis: [N, 3, GRID (GRID / 2 + 1)]."""
    count, size = len(KINDS), (symptoms.GRID, symptoms.GRID)
    width = torch.where(said > 0, said, (found[:, count].clamp_max(5).exp() - WIDTH_OFFSET).clamp(0, WIDEST))
    angle = torch.atan2(found[:, count + 2], found[:, count + 1]) / 2
    rows = zip(width.tolist(), angle.tolist(), strict=True)
    all_kinds = [[transfer(kernel(k, w, a), size).flatten() for k in (GAUSSIAN, DISK, LINE)] for w, a in rows]
    return torch.stack([torch.stack(kinds) for kinds in all_kinds])


def gain(filtered: Tensor, power: Tensor, weight: Tensor) -> Tensor:
    """dB that gains [n, F] win on powers [n, 3, F]."""
    after = ((filtered.square() * power[:, 0] - 2 * filtered * power[:, 1] + power[:, 2]) * weight).sum(1)
    before = ((power[:, 0] - 2 * power[:, 1] + power[:, 2]) * weight).sum(1)
    return 10 * torch.log10((before.clamp_min(0) + QUIET) / (after.clamp_min(0) + QUIET))


def fit_ratios(network: BlurDiagnosis, table: Table, found: Tensor, said: Tensor, steps: int) -> None:
    """Train the third network on the error of the filtered samples; `found` are diagnoses, `said` given widths."""
    normal, transfer_functions = network.normalized(table.seen), transfers(found, said).half()
    ring = radius((symptoms.GRID, symptoms.GRID), normal).flatten()
    sides = torch.full((symptoms.GRID, symptoms.GRID // 2 + 1), 2.0)
    sides[:, 0] = sides[:, -1] = 1
    optimizer = torch.optim.AdamW(network.ratios.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
    network.ratios.train()
    for _ in range(steps):
        index, at = torch.randint(len(normal), (FEW,)), torch.randint(len(ring), (POINTS,))
        x, weight = normal[index], sides.flatten()[at]
        chosen = network.choose(x + LESS_JITTER * torch.randn_like(x), said[index], found[index])
        h = transfer_functions[index][:, :, at].float()
        loss = torch.zeros(())
        for plane, (points, share) in enumerate(zip(chosen[:2], (1.0, CHROMA_WEIGHT), strict=True)):
            ratio = 10 ** interpolate(points, ring[at])
            blurs = (chosen[2][:, 1:, None] * h / (h * h + ratio[:, None])).sum(1)
            filtered = chosen[2][:, :1] / (1 + ratio) + blurs
            won = gain(filtered, table.power[index, plane][..., at], weight / weight.sum())
            loss = loss + share * (HARM * F.relu(-won) - won).clamp(-30, 60).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.ratios.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    network.eval()


def fitted(table: Table, base: BlurDiagnosis | None = None, epochs: int = EPOCHS, steps: int = STEPS) -> BlurDiagnosis:
    """The networks, trained; the first one is that of a `base`, where there is one."""
    count, known = len(table.seen), base is not None
    said, zeros = draw_given(table, torch.arange(count)), numbers(table)
    order, revised = torch.randperm(count), []
    halves = order.tensor_split(2)
    for half, other in (halves, halves[::-1]):
        network = fresh(table, base)
        fit_causes(network, table, other, epochs, known=known)
        with torch.no_grad():
            normal = network.normalized(table.seen[half])
            found = network.find(normal, said[half])
            revised.append(network.revise(normal, said[half], found, zeros[half]))
    told = torch.cat(revised)[torch.cat(halves).argsort()]
    network = fresh(table, base)
    fit_causes(network, table, order, epochs, known=known)
    fit_ratios(network, table, refine_by_zeros(told, table.zeros, said), said, steps)
    return network


def load_sharpness(path: Path) -> BlurEstimator:
    """The readers of widths, from a file of their own or a packed one."""
    tensors = {name.removeprefix(SHARPNESS): tensor.float() for name, tensor in load_file(path).items()}
    network = BlurEstimator()
    network.load_state_dict({name: tensors[name] for name in network.state_dict()})
    return network.eval()


def main() -> None:
    """Make samples, fit, write the weights."""
    parser = sources.arguments(__doc__.splitlines()[0])
    parser.add_argument("--sharpness", type=Path, required=True)
    parser.add_argument("--base", type=Path)
    args = parser.parse_args()
    base = None if args.base is None else load_networks(args.base).diagnosis
    rng = random.Random(args.seed)
    torch.manual_seed(args.seed)
    photos, runs = sources.pictures(args, rng)
    arrays = [[x.movedim(-3, -1).contiguous().numpy() for x in group] for group in (photos, runs)]
    samples = [
        draw_sample(lambda: rng.choice(arrays[0]), lambda: rng.choice(arrays[1]), rng) for _ in range(args.samples)
    ]
    save_file(fitted(tabulate(samples, load_sharpness(args.sharpness)), base).state_dict(), args.out)


if __name__ == "__main__":
    main()
