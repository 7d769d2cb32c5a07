"""What is undone in a scene: found from its first frames, tried on them, and taken back where it does harm."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.events import Note
from vrx.models.embedded.damage import LEAST_WIDTH, Examination, SceneDamage, damage_note
from vrx.networks.embedded.blur import FEATURES, FLOOR, LUMA, BlurEstimator, read_sigma
from vrx.networks.embedded.classical import filter_padded, wiener
from vrx.networks.embedded.deconvolution import Recipe, deconvolve
from vrx.networks.embedded.diagnosis import CHROMA_POINTS, POINTS, BlurDiagnosis, Diagnosis, diagnose
from vrx.networks.embedded.kernels import GAUSSIAN, KINDS, NONE, kernel, transfer
from vrx.networks.embedded.symptoms import OWN, mix

CLEANEST, NOISIEST, MOST_NOISE = 4e-4, 0.1, 10.0  # ratios of noise to signal at strengths 0 and 1; levels at 1
SURE = (0.8, 0.95)  # share of the Gaussian in the filter, from and up to which the network joins in
NOISE_LIMITS = (0.9, 1.8)  # levels of 255, from and up to which the network retires
COMPRESSION_LIMITS = (0.1, 0.3)  # the same for compression
STEPS = (1.0, 0.75, 0.5, 0.25)  # strengths that the guard tries
TRIED = 512  # pixels a side, from the middle, that it tries them on
MOST_RINGING = 0.65  # of the change that may go beyond what is around a pixel
# share of the change in which filter and plain inverse differ, from and up to which the network retires
AGREED = (0.35, 0.65)
# how far the result, blurred again, may be from the input, relative to the input blurred: at all, and further where
# the picture is compressed (from and up to) and where noise was taken away (up to how many levels)
MOST_MISFIT, COMPRESSED_MISFIT, NOISY_MISFIT = 0.6, (0.1, 0.2, 0.35), (3.0, 0.6)
LEAST_CHANGE = 0.3 / 255  # root mean square; less is not seen
AGREEMENT = 0.25  # of the logarithm of the width, up to which the readers of clean pictures are believed


@dataclass(frozen=True)
class Plan:
    """What is done to a scene's frames.

    `strength`: how much of the filter's change is made, 0 to 1; `network`: the share of the trained network, which
    is for clean pictures under a Gaussian.
    """

    recipe: Recipe
    strength: float
    network: float
    gains: dict[tuple[int, int], tuple[Tensor, Tensor]] = field(default_factory=dict, init=False, compare=False)

    def tensor(self) -> Tensor:
        """All numbers, float64."""
        r = self.recipe
        numbers = [r.width, r.angle, self.strength, self.network]
        return torch.cat([r.shares, r.luma, r.chroma, torch.tensor(numbers, dtype=torch.float64)])

    @staticmethod
    def from_tensor(numbers: Tensor) -> Plan:
        """The inverse of `tensor`."""
        shares, luma, chroma, rest = numbers.split((len(KINDS), POINTS, CHROMA_POINTS, 4))
        width, angle, strength, network = rest.tolist()
        return Plan(Recipe(shares, width, angle, luma, chroma), strength, network)

    def filtered(self, frames: Tensor) -> Tensor:
        """Frames [T, 3, H, W] after the filter, at the plan's strength."""

        def gains(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
            if size not in self.gains:
                self.gains[size] = self.recipe.gains(size, frames)
            return self.gains[size]

        restored = deconvolve(frames, gains)
        return restored if self.strength == 1 else torch.lerp(frames, restored, self.strength)


class Planner:
    """Makes plans.  `sigma`: the width of the blur in pixels, None to find it; `strength`: see `at_strength`."""

    def __init__(
        self, sharpness: BlurEstimator, diagnosis: BlurDiagnosis, sigma: float | None, strength: float | None
    ) -> None:
        self._sharpness, self._diagnosis, self._sigma, self._strength = sharpness, diagnosis, sigma, strength

    def plan(self, examined: Examination, frames: Tensor, scene: int) -> tuple[Plan, tuple[Note, ...]]:
        """What is done to a scene, counted from 0, and what the user should know.

        It begins with frames [T, 3, H, W].  A given width is believed, the kind of blur is found all the same.
        """
        symptoms = examined.symptoms
        found, recipe = diagnose(self._diagnosis, symptoms, self._sigma)
        if self._strength is not None:
            found, recipe = at_strength(found, recipe, self._strength)
        share = network_share(found, recipe)
        if share and self._sigma is None:
            found = replace(found, width=self.reread(found.width, symptoms))
            recipe = replace(recipe, width=found.width)
        plan = Plan(recipe, 1.0, share)
        if found.width < LEAST_WIDTH or (found.kind == NONE and self._sigma is None):
            plan = Plan(recipe, 0.0, 0.0)
        else:
            plan = guarded(plan, found, frames)
        return plan, note_of(examined.damage, found, plan, scene + 1)

    def reread(self, width: float, symptoms: Tensor) -> float:
        """The width that the readers of clean pictures find in pixels, where it is nearly this one."""
        read = read_sigma(self._sharpness, symptoms[OWN : OWN + FEATURES])
        return read if abs(math.log(max(read, FLOOR) / width)) < AGREEMENT else width


def at_strength(found: Diagnosis, recipe: Recipe, strength: float) -> tuple[Diagnosis, Recipe]:
    """Damage as stated, not as found: 0 is a clean picture, 1 one whose ratio of noise to signal is NOISIEST."""
    ratio = math.log10(CLEANEST) + strength * math.log10(NOISIEST / CLEANEST)
    luma, chroma = (torch.cat([x[:1], torch.full_like(x[1:], ratio)]) for x in (recipe.luma, recipe.chroma))
    same = replace(recipe, luma=luma, chroma=chroma)
    return replace(found, noise=strength * MOST_NOISE, compression=strength), same


def fade(value: float, full: float, none: float) -> float:
    """1 up to `full`, 0 from `none` on."""
    return min(1.0, max(0.0, (none - value) / (none - full)))


def network_share(found: Diagnosis, recipe: Recipe) -> float:
    """How far a picture is as those that the network was trained on: nearly clean, under a Gaussian."""
    sure = 1 - fade(float(recipe.shares[GAUSSIAN]), *SURE)
    return sure * fade(found.noise, *NOISE_LIMITS) * fade(found.compression, *COMPRESSION_LIMITS)


def most_misfit(found: Diagnosis) -> float:
    """How far a result, blurred again, may be from the input, relative to the input blurred."""
    full, none, further = COMPRESSED_MISFIT
    compressed = further * (1 - fade(found.compression, full, none))
    return MOST_MISFIT + compressed + NOISY_MISFIT[1] * min(1.0, found.noise / NOISY_MISFIT[0])


def guarded(plan: Plan, found: Diagnosis, frames: Tensor) -> Plan:
    """The plan with as much of the change as its first frame [T, 3, H, W] bears.

    Nothing is done where the change would not be seen, or where the result, blurred again, is not the input again but
    for its noise and compression.  Sharpening that goes too far beyond the brightest and darkest pixels
    around rings: it is taken back step by step.  The network retires where the plain inverse that it builds on
    differs from the filter.
    """
    top, left = (max(0, (side - TRIED) // 2) for side in frames.shape[-2:])
    frame = frames[:1, :, top : top + TRIED, left : left + TRIED]
    restored, luma = gray(plan.filtered(frame)), gray(frame)
    change, shape = restored - luma, kernel(found.kind, plan.recipe.width, plan.recipe.angle).to(luma)

    def misfit(x: Tensor) -> float:
        again = filter_padded(x, lambda spectrum, size: spectrum * transfer(shape, size))
        return float((again - luma).square().mean().sqrt())

    if change.square().mean().sqrt() < LEAST_CHANGE or misfit(restored) > most_misfit(found) * misfit(luma):
        return replace(plan, strength=0.0, network=0.0)
    reach = math.ceil(2 * plan.recipe.width) + 1
    network = plan.network
    if network:
        apart = (gray(wiener(frame, plan.recipe.width)) - restored).square().mean() / change.square().mean()
        network *= fade(float(apart.sqrt()), *AGREED)
    strength = next((s for s in STEPS if ringing(luma, s * change, reach) <= MOST_RINGING), 0.0)
    return replace(plan, strength=strength, network=network if strength == 1 else 0.0)


def gray(frames: Tensor) -> Tensor:
    """Luma [T, 1, H, W] of [T, 3, H, W]."""
    return mix(frames, (LUMA,))[0][:, None]


def ringing(luma: Tensor, change: Tensor, reach: int) -> float:
    """How much of a change of luma [T, 1, H, W] goes beyond the values within `reach` pixels, root mean square."""
    window = 2 * reach + 1
    above = F.relu(luma + change - F.max_pool2d(luma, window, 1, reach))
    below = F.relu(-F.max_pool2d(-luma, window, 1, reach) - luma - change)
    return float(((above + below).square().mean() / change.square().mean().clamp_min(FLOOR)).sqrt())


def note_of(damage: SceneDamage, found: Diagnosis, plan: Plan, scene: int) -> tuple[Note, ...]:
    """The damage of a scene, counted from 1, its blur as diagnosed, and what the guard decided."""
    done = f", {KINDS[NONE]}" if found.kind == NONE else ""
    if not plan.strength:
        done += "; left as it is"
    elif plan.strength < 1:
        done += f"; {plan.strength:.0%} of the sharpening, more would ring"
    width = found.width if found.kind or plan.strength else 0.0
    blurred = replace(damage, kind=found.kind, width=width, angle=found.angle)
    return damage_note(blurred, scene, done, {"strength": round(plan.strength, 2)})
