"""What is undone in a scene: found from its first frames, tried on them, and taken back where it does harm."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from vrx.events import Note
from vrx.models.embedded.damage import LEAST_WIDTH, Examination, SceneDamage, damage_note
from vrx.networks.embedded.blur import FEATURES, LEAST, BlurEstimator, read_sigma
from vrx.networks.embedded.deconvolution import Recipe, deconvolve
from vrx.networks.embedded.diagnosis import (
    CHROMA_POINTS,
    POINTS,
    BlurDiagnosis,
    Diagnosis,
    Evidence,
    diagnose,
    gather,
)
from vrx.networks.embedded.guard import DeblurGuard, Trial, measure
from vrx.networks.embedded.kernels import GAUSSIAN, KINDS, NONE
from vrx.networks.embedded.symptoms import OWN, gray

CLEANEST, NOISIEST, MOST_NOISE = 4e-4, 0.1, 10.0  # ratios of noise to signal at strengths 0 and 1; levels at 1
SURE = (0.8, 0.95)  # share of the Gaussian in the filter, from and up to which the network joins in
NOISE_LIMITS = (0.9, 1.8)  # levels of 255, from and up to which the network retires
COMPRESSION_LIMITS = (0.1, 0.3)  # the same for compression
TRIED = 512  # pixels a side, from the middle, on which a deblurring is tried first
LEAST_SIDE = 64  # pixels; smaller pictures show too little to find a blur in
AGREEMENT = 0.25  # of the logarithm of the width, up to which the readers of clean pictures are believed
UNCHANGED, DENOISED = "left as it is", "its noise is taken out, nothing is sharpened"
FULL = 0.95  # of the change, from which on there is no need to say that it is not all


@dataclass(frozen=True)
class Plan:
    """What is done to a scene's frames.

    `strength`: how much of the change is made, 0 to 1; `network`: how much of it is the trained network's, which is
    for clean pictures under a Gaussian.
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
        """Frames [T, 3, H, W] after the filter, all of its change made."""

        def gains(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
            if size not in self.gains:
                self.gains[size] = self.recipe.gains(size, frames)
            return self.gains[size]

        return deconvolve(frames, gains)

    def base(self, frames: Tensor, sharp: Tensor | None) -> Tensor:
        """What the network's share of the residual is added to; `sharp`: the plain inverse that it builds on."""
        if not self.strength:
            return frames.clone()
        if sharp is None:
            changed = self.filtered(frames)
        else:
            changed = torch.lerp(self.filtered(frames), sharp, self.network) if self.network < 1 else sharp
        return torch.lerp(frames, changed, self.strength) if self.strength < 1 else changed


class Planner:
    """Makes plans.  `sigma`: the width of the blur in pixels, None to find it; `strength`: see `at_strength`."""

    def __init__(
        self,
        sharpness: BlurEstimator,
        diagnosis: BlurDiagnosis,
        guard: DeblurGuard,
        sigma: float | None,
        strength: float | None,
    ) -> None:
        self._sharpness, self._diagnosis, self._guard = sharpness, diagnosis, guard
        self._sigma, self._strength = sigma, strength

    def plan(
        self, examined: Examination, frames: Tensor, scene: int, otherwise: str = UNCHANGED
    ) -> tuple[Plan, tuple[Note, ...]]:
        """What is done to a scene, counted from 0, and what the user should know.

        It begins with frames [T, 3, H, W].  A given width is believed, the kind of blur is found all the same.
        `otherwise`: what is said of a scene that is not sharpened.
        """
        seen = self.evidence(examined.symptoms, frames)
        found, plan = self.draft(seen)
        unsure = found.kind == NONE or min(frames.shape[-2:]) < LEAST_SIDE
        if found.width < LEAST_WIDTH or (unsure and self._sigma is None):
            plan = replace(plan, strength=0.0, network=0.0)
        else:
            measures = measure(self.tried(found, plan, seen, frames))
            strength, network = (float(x) for x in self._guard(measures[None].to(self._guard.middle)))
            plan = replace(plan, strength=strength, network=strength and plan.network * network)
        return plan, note_of(examined.damage, found, plan, scene + 1, otherwise)

    def evidence(self, symptoms: Tensor, frames: Tensor) -> Evidence:
        """What frames [T, 3, H, W] with these symptoms [SYMPTOMS] show."""
        return gather(self._diagnosis, symptoms, frames, self._sigma)

    def draft(self, seen: Evidence) -> tuple[Diagnosis, Plan]:
        """What the evidence is found to mean, and how it would be undone were that so."""
        found, recipe = diagnose(self._diagnosis, seen, self._sigma)
        if self._strength is not None:
            found, recipe = at_strength(found, recipe, self._strength)
        share = network_share(found, recipe)
        if share and self._sigma is None:
            found = replace(found, width=self.reread(found.width, seen.symptoms))
            recipe = replace(recipe, width=found.width)
        return found, Plan(recipe, 1.0, share)

    def tried(self, found: Diagnosis, plan: Plan, seen: Evidence, frames: Tensor) -> Trial:
        """A plan's filter on the middle of frames [T, 3, H, W] that show this."""
        top, left = (max(0, (side - TRIED) // 2) for side in frames.shape[-2:])
        middle = frames[..., top : top + TRIED, left : left + TRIED]
        return Trial(gray(middle), gray(plan.filtered(middle)), found, plan.recipe, seen, self._sigma is not None)

    def reread(self, width: float, symptoms: Tensor) -> float:
        """The width that the readers of clean pictures find in pixels, where it is nearly this one."""
        read = read_sigma(self._sharpness, symptoms[OWN : OWN + FEATURES])
        return read if abs(math.log(max(read, LEAST) / max(width, LEAST))) < AGREEMENT else width


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


def note_of(damage: SceneDamage, found: Diagnosis, plan: Plan, scene: int, otherwise: str) -> tuple[Note, ...]:
    """The damage of a scene, counted from 1, its blur as diagnosed, and what the guard decided."""
    done = f", {KINDS[NONE]}" if found.kind == NONE else ""
    if not plan.strength:
        done += f"; {otherwise}"
    elif plan.strength < FULL:
        done += f"; {plan.strength:.0%} of the sharpening, more might do harm"
    width = found.width if found.kind or plan.strength else 0.0
    blurred = replace(damage, kind=found.kind, width=width, angle=found.angle)
    return damage_note(blurred, scene, done, {"strength": round(plan.strength, 2)})
