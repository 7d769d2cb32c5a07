"""How much of a deblurring a scene bears: told by what it does to the scene's first frames.

Numbers that a trial gives (how far it goes beyond the values around, whether it fits the input when blurred again, what
it should gain were the diagnosis right and were it wrong) go through a few small networks, which were trained on the
gain itself and against every loss; the most careful of them decides.  Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks.embedded.blur import FEATURES, FLOOR, READERS
from vrx.networks.embedded.classical import filter_padded
from vrx.networks.embedded.deconvolution import Recipe, interpolate
from vrx.networks.embedded.diagnosis import NOISE_OFFSET, POINTS, WIDTH_OFFSET, Diagnosis, Evidence
from vrx.networks.embedded.kernels import KINDS, kernel, radius, transfer
from vrx.networks.embedded.resampling import RHYTHM, rhythm
from vrx.networks.embedded.symptoms import GRID, OWN, blockiness, tile_power
from vrx.networks.embedded.templates import WIDTHS
from vrx.networks.embedded.zeros import ZEROS

MEMBERS, HIDDEN = 5, 32
TILES = 4  # a side, over which misfit and ringing are compared
SCALES = (3, 9)  # pixels; the change is divided into what is finer, between, and coarser
CLIPPED = (1.5 / 255, 253.5 / 255)
FARTHEST = 4.0  # deviations of the training's numbers that are believed
SURE = (0.2, 0.7)  # what the most careful says: up to it nothing is done, and all from it on
LAW = (0.03, 0.06, 0.11, 0.18, 0.27, 0.38)  # cycles a pixel, between which the power of a picture falls steadily
SUMMARY = 2 * len(WIDTHS) + 2  # numbers at the end of what `templates.fit_templates` gives
MEASURES = (
    2 * len(KINDS)
    + 4
    + POINTS  # diagnosis and recipe
    + 2 * (len(SCALES) + 1)
    + 2 * 2  # energies, tails
    + 2
    + 2 * 3  # consistency
    + len(KINDS)
    + 3
    + len(LAW)
    - 1  # forecast
    + 2 * READERS
    + SUMMARY  # symptoms
    + ZEROS
    + 2  # zeros
    + 2
    + 3
    + 1  # blocks, sizes, clipping
    + RHYTHM
)


@dataclass(frozen=True)
class Trial:
    """A deblurring tried on a scene: luma [T, 1, H, W] before and after the filter, and what the filter is made of."""

    before: Tensor
    after: Tensor
    found: Diagnosis
    recipe: Recipe
    seen: Evidence
    told: bool


class DeblurGuard(nn.Module):
    """Measures [N, MEASURES] to how much of the change is made and how much of it is the network's: [N] each, 0 to 1.

    `middle` and `spread` of the measures are those of the training.
    """

    middle: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.members = nn.ModuleList(
            nn.Sequential(
                nn.Linear(MEASURES, HIDDEN),
                nn.SiLU(),
                nn.Dropout(0.1),
                nn.Linear(HIDDEN, HIDDEN),
                nn.SiLU(),
                nn.Linear(HIDDEN, 2),
            )
            for _ in range(MEMBERS)
        )
        self.register_buffer("middle", torch.zeros(MEASURES))
        self.register_buffer("spread", torch.ones(MEASURES))

    def normalized(self, measures: Tensor) -> Tensor:
        """Measures in deviations."""
        return ((measures - self.middle) / self.spread).clamp(-FARTHEST, FARTHEST)

    def forward(self, measures: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        x = self.normalized(measures)
        chosen = torch.stack([member(x) for member in self.members]).sigmoid().amin(0)
        nothing, everything = SURE
        strength, network = ((chosen - nothing) / (everything - nothing)).clamp(0, 1).unbind(1)
        return strength, network


def measure(trial: Trial) -> Tensor:
    """A trial as numbers [MEASURES]."""
    found, recipe, before = trial.found, trial.recipe, trial.before
    width, noise = math.log(found.width + WIDTH_OFFSET), math.log(found.noise + NOISE_OFFSET)
    readings = trial.seen.symptoms[OWN + FEATURES : OWN + FEATURES + 2 * READERS] - width
    low, high = CLIPPED
    parts = [
        found.chances,
        recipe.shares,
        torch.tensor([width, noise, found.compression, float(trial.told)]),
        recipe.luma,
        energies(trial.after - before),
        energies(before - before.mean((-1, -2), keepdim=True)),
        tails(trial.after),
        tails(before),
        consistency(trial),
        forecast(trial),
        readings,
        trial.seen.symptoms[-SUMMARY:],
        trial.seen.zeros.numbers(),
        fitting(trial),
        blockiness(before[:, 0]),
        torch.tensor([math.log10(before.shape[-2]), math.log10(before.shape[-1]), float(len(before) > 1)]),
        ((before < low) | (before > high)).float().mean()[None],
        rhythm(before[:, 0]),
    ]
    return torch.cat([part.float().cpu() for part in parts])


def fitting(trial: Trial) -> Tensor:
    """How the zeros of the diagnosed kind fit: what they leave unexplained, and how far their width is off [2]."""
    match = trial.seen.zeros.of(trial.found.kind)
    if match is None:
        return torch.tensor([1.0, 0.0])
    width = math.log((match.width + WIDTH_OFFSET) / (trial.found.width + WIDTH_OFFSET))
    return torch.tensor([match.misfit, width])


def consistency(trial: Trial) -> Tensor:
    """Whether the filter fits the picture: [2 + 2 x 3], log10.

    How far its result, blurred again, is from the input, relative to the input blurred; and how much of its change goes
    beyond the values around.  Both as a whole, then the least, the middle and the largest of the tiles.
    """
    change, recipe = trial.after - trial.before, trial.recipe
    shape = kernel(trial.found.kind, recipe.width, recipe.angle).to(change)

    def blurred(x: Tensor) -> Tensor:
        return filter_padded(x, lambda spectrum, size: spectrum * transfer(shape, size))

    beyond = excess(trial.before, change, math.ceil(2 * recipe.width) + 1)
    pairs = ((blurred(trial.after) - trial.before, blurred(trial.before) - trial.before), (beyond, change))
    whole = [log_ratio(a.square().mean(), b.square().mean()) for a, b in pairs]
    return torch.cat([torch.stack(whole), *(spread_of(log_ratio(by_tile(a), by_tile(b))) for a, b in pairs)])


def log_ratio(a: Tensor, b: Tensor) -> Tensor:
    """Base 10, of powers."""
    return ((a + FLOOR) / (b + FLOOR)).log10()


def by_tile(x: Tensor) -> Tensor:
    """Mean power of [T, 1, H, W] by tile, over time: [TILES^2]."""
    return F.adaptive_avg_pool2d(x.square().mean(0), TILES).flatten()


def spread_of(values: Tensor) -> Tensor:
    """Least, middle and largest."""
    return torch.stack([values.amin(), values.median(), values.amax()])


def excess(luma: Tensor, change: Tensor, reach: int) -> Tensor:
    """What of a change of luma [T, 1, H, W] goes beyond the values within `reach` pixels."""
    above = F.relu(luma + change - largest_around(luma, reach))
    return above + F.relu(-largest_around(-luma, reach) - luma - change)


def largest_around(x: Tensor, reach: int) -> Tensor:
    """The largest of [T, 1, H, W] in the square within `reach` pixels: by columns, then by rows, which is quicker."""
    size = 2 * reach + 1
    return F.max_pool2d(F.max_pool2d(x, (size, 1), 1, (reach, 0)), (1, size), 1, (0, reach))


def energies(x: Tensor) -> Tensor:
    """Log power of [T, 1, H, W] by scale, from fine to coarse: [len(SCALES) + 1]."""
    found = []
    for size in SCALES:
        smooth = F.avg_pool2d(F.pad(x, (size // 2,) * 4, mode="replicate"), size, 1)
        found.append((x - smooth).square().mean())
        x = smooth
    return torch.stack([*found, x.square().mean()]).clamp_min(FLOOR).log10()


def forecast(trial: Trial) -> Tensor:
    """What the filter should win, by what it takes for noise: [len(KINDS) + 3 + len(LAW) - 1].

    For each kind of blur, were it that kind, and for their mixture by chance: which part of the change d leads to the
    truth x from the input y, <d, x - y> / |d|^2 (more than a half gains).  Then the error before and after, log10, and
    how the power of the picture falls from band to band, were the likeliest kind undone.
    """
    size, recipe = (GRID, GRID), trial.recipe
    power = tile_power(trial.before[:, 0]).mean(0)
    gains, _ = recipe.gains(size, power)
    ratio = 10 ** interpolate(recipe.luma.to(power), radius(size, power))
    weight = torch.full_like(power, 2.0)
    weight[:, 0] = weight[:, -1] = 1
    weight /= weight.sum()
    won, energy, errors = [], [], []
    for kind in range(len(KINDS)):
        h = transfer(kernel(kind, recipe.width, recipe.angle).to(power), size)
        signal = power / (h * h + ratio)
        noise = ratio * signal
        won.append(((gains - 1) * (h * (1 - h) * signal - noise) * weight).sum())
        energy.append(((gains - 1).square() * power * weight).sum())
        errors.append((((1 - h).square() * signal + noise) * weight).sum())
    chances = trial.found.chances.to(power)
    top, bottom = torch.stack(won), torch.stack(energy).clamp_min(FLOOR)
    before = (torch.stack(errors) * chances).sum()
    after = before + ((bottom - 2 * top) * chances).sum()
    likely = by_band(
        power / (transfer(kernel(trial.found.kind, recipe.width, recipe.angle).to(power), size) ** 2 + ratio)
    )
    ratios = torch.cat([top / bottom, ((top * chances).sum() / (bottom * chances).sum())[None]]).clamp(-2, 2)
    return torch.cat([ratios, torch.stack([before, after]).clamp_min(FLOOR).log10(), likely.diff()])


def by_band(power: Tensor) -> Tensor:
    """Log power [GRID, GRID / 2 + 1] between the frequencies of LAW, and beyond the last: [len(LAW)]."""
    ring = radius((GRID, GRID), power)
    limits = (*LAW, 0.5)
    found = [power[(ring >= low) & (ring < high)].mean() for low, high in pairwise(limits)]
    return torch.stack(found).clamp_min(FLOOR).log10()


def tails(x: Tensor) -> Tensor:
    """How rare and large the finest details of [T, 1, H, W] are, and those of the next scale: log10 of kurtosis [2]."""
    found = []
    for size in SCALES:
        smooth = F.avg_pool2d(F.pad(x, (size // 2,) * 4, mode="replicate"), size, 1)
        squared = (x - smooth).square()
        found.append((squared.square().mean() + FLOOR**2) / (squared.mean() + FLOOR).square())
        x = smooth
    return torch.stack(found).log10()
