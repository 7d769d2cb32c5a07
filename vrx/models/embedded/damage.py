"""What happened to a scene before it came here: one record, read from its first frames, for all tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass

import torch
from torch import Tensor

from vrx.events import DETAIL, INFO, Fact, Note
from vrx.models.optical_flow import Motion, to_luma
from vrx.networks.embedded.blur import BlurEstimator
from vrx.networks.embedded.degradation import LEVELS, NOISE_UNIT, DegradationEstimator, detail, estimate_damage
from vrx.networks.embedded.diagnosis import BlurDiagnosis, Diagnosis, recognize
from vrx.networks.embedded.kernels import KINDS, LINE, NONE
from vrx.networks.embedded.noise_level import NoiseLevel, measure_noise
from vrx.networks.embedded.resampling import rhythm
from vrx.networks.embedded.symptoms import BLOCKINESS, gray
from vrx.networks.embedded.symptoms import describe as describe_symptoms
from vrx.networks.embedded.temporal import WHITE

OPENING, WINDOW = 12, 4  # frames of a scene that its damage is read from, and of these those that are read at once
TELLING = 0.5  # of the detail of the liveliest frames, below which others tell little
LEAST_EXAMINED, EXAMINED = 48, 512  # pixels a side, from the middle, that noise is measured on; smaller show none
LEAST_NOISE = 1.0  # levels of 255, from which on noise is mentioned
COLOR_NOISE = 1.5  # times the noise of luma, from which on that of chroma is mentioned
LEAST_WIDTH = 0.3  # pixels; a narrower blur is none
LEAST_CHANCE = 0.6  # of a kind of blur, below which it is not believed
# levels: noise that an encoder hides from sight; times the seen noise, that is believed; of sight, its largest
UNSEEN_NOISE, MOST_MEASURED, MOST_SEEN = 2.0, 2.0, 24.0
UNMEASURED_NOISE, MEASURED_NOISE = 1.0, 1.5  # levels, and times the measured noise, that are believed of the seen
# times what else tells of compression, up to which it is believed: soft pictures and patterns look compressed, too
CONFIRMED, OF_BLOCKS = 3.0, 2.0
APART = 0.8  # of the noise of all colors, that luma has at most where these differ; content is gray, mostly
# mean quantizers on the scale of H.264 at which compression is 0 and 1, where the enlarging network gains most by it
FINEST, COARSEST = 14.0, 42.0
# how far that goes where pictures show less: fine lines on plain ground hardly suffer; all the way where noise, which
# hides what an encoder left, has these levels of luma
BELIEVED, HIDING = 0.6, (0.5, 1.5)
RHYTHMIC = 2.0  # log10 of power over its surroundings, from which on interpolation is said to have left a rhythm
COMPRESSED = ((0.75, "heavily compressed"), (0.5, "compressed"), (0.35, "lightly compressed"))


@dataclass(frozen=True)
class SceneDamage:
    """The damage of a scene.

    `noise`, `luma_noise`, `chroma_noise`: standard deviations in levels of 255, of red, green and blue, of luma, and
    of Cb and Cr, as measured.  `compression`, as pictures show it: 0 (none, or as weak as QP 17 of H.264) to 1 (QP 37)
    and a little more.
    `kind` of the blur, one of `kernels.KINDS`, its `width` in pixels (standard deviation along its longer axis) and,
    of a line, its `angle` in radians.  `softness`: how far the picture is as if shrunk and enlarged again, 0 to 1.
    `seen_noise`: the noise as the estimator of compression sees it, which the enlarging network was trained with.
    `coded`: the compression, 0 to 1, by the quantizers that the decoder told; 0 where it did not.
    `rhythm`: how far the grid of a smaller picture shows that it was enlarged from, log10 of power over that around.
    `luma_spread`, `chroma_spread`: of the noise, as of `temporal.Noise`.
    """

    noise: float = 0.0
    luma_noise: float = 0.0
    chroma_noise: float = 0.0
    compression: float = 0.0
    kind: int = NONE
    width: float = 0.0
    angle: float = 0.0
    softness: float = 0.0
    seen_noise: float = 0.0
    coded: float = 0.0
    rhythm: float = 0.0
    luma_spread: float = WHITE
    chroma_spread: float = WHITE

    @property
    def enlarged(self) -> bool:
        """Whether it was enlarged before, surely."""
        return self.rhythm >= RHYTHMIC

    def levels(self) -> Tensor:
        """The conditions of the enlarging network, [LEVELS]."""
        found = torch.tensor([self.seen_noise / (255 * NOISE_UNIT), self.compression, self.softness])
        assert len(found) == LEVELS
        return found

    def raised(self, seen: float) -> float:
        """The compression to act on, by what pictures show and what is known of their coding."""
        none, full = HIDING
        hidden = min(1.0, max(0.0, (self.luma_noise - none) / (full - none)))
        return seen + (BELIEVED + (1 - BELIEVED) * hidden) * max(0.0, self.coded - seen)

    def tensor(self) -> Tensor:
        """All numbers, float64."""
        return torch.tensor(astuple(self), dtype=torch.float64)

    @staticmethod
    def from_tensor(numbers: Tensor) -> SceneDamage:
        """The inverse of `tensor`."""
        noise, luma, chroma, compression, kind, *rest = numbers.tolist()
        return SceneDamage(noise, luma, chroma, compression, int(kind), *rest)


@dataclass(frozen=True)
class Examination:
    """What a scene's first frames showed: its damage, and the symptoms [SYMPTOMS] of the first that tell of it.

    `first`: where these begin, WINDOW of them at most.
    """

    damage: SceneDamage
    symptoms: Tensor
    first: int = 0


class DamageReader:
    """Reads the damage of scenes."""

    def __init__(self, degradation: DegradationEstimator, sharpness: BlurEstimator, diagnosis: BlurDiagnosis) -> None:
        self._degradation, self._sharpness, self._diagnosis = degradation, sharpness, diagnosis
        self._motion = Motion()

    def read(self, frames: Tensor, quantizer: float | None = None) -> Examination:
        """The damage of a scene by its first frames [T, 3, H, W] in 0..1, OPENING at most.

        `quantizer`: their mean on the scale of H.264, where the decoder tells.

        They are read in windows.  Those with little detail, as a scene is faded in or begins in the dark, are left out
        where others have more; of the rest, numbers are medians, and symptoms, which are logarithms mostly, means.  The
        examination has the symptoms of the first of them alone: what is decided by them was trained on single windows.
        """
        starts = window_starts(min(len(frames), OPENING))
        windows = [frames[start : start + WINDOW] for start in starts]
        details = [detail(central(window)) for window in windows]
        told = [number for number, shown in enumerate(details) if shown >= TELLING * max(details)]
        telling = [windows[number] for number in told]
        described = [describe_symptoms(window, self._sharpness) for window in telling]
        symptoms = torch.stack(described).mean(0)
        found = recognize(self._diagnosis, symptoms, None)
        levels = torch.stack([self.levels(window) for window in telling]).quantile(0.5, 0).tolist()
        colors, luma, chroma, compression, softness, seen, grid, *spreads = levels
        compression = min(compression, confirmed(found.compression, symptoms[BLOCKINESS].max().item()))
        coded = 0.0 if quantizer is None else compression_of(quantizer)
        kind, width, angle = believed(found)
        blur = (kind, width, angle)
        damage = SceneDamage(colors, luma, chroma, compression, *blur, softness, seen, coded, grid, *spreads)
        return Examination(damage, described[0], starts[told[0]])

    def levels(self, frames: Tensor) -> Tensor:
        """Of [T, 3, H, W]: noise of all colors, luma and chroma, compression, softness, seen noise, rhythm, spreads."""
        level, compression, softness = estimate_damage(self._degradation, frames).tolist()
        shown = min(frames.shape[-2:]) >= LEAST_EXAMINED
        sight = level * 255 * NOISE_UNIT
        measured = self.noise(frames, sight) if shown else NoiseLevel(0.0, 0.0, 0.0)
        noise, seen = agreed(measured, sight, len(frames) > 1 or not shown)
        grid = float(rhythm(gray(central(frames))[:, 0])[0])
        levels, spreads = (noise.colors, noise.luma, noise.chroma), (noise.luma_spread, noise.chroma_spread)
        return torch.tensor([*levels, compression, softness, seen, grid, *spreads], dtype=torch.float64)

    def noise(self, frames: Tensor, seen: float = 0.0) -> NoiseLevel:
        """Of the middle of [T, 3, H, W].

        Where all of it is detail that moves, noise that differs from color to color counts up to what is `seen` of it,
        in levels.
        """
        middle = central(frames)
        motion = self._motion.between(to_luma(middle))
        sure = measure_noise(middle, motion)
        most = measure_noise(middle, motion, trusting=True) if seen > sure.colors else sure
        if min(most.colors, seen) <= sure.colors or most.luma > APART * most.colors:
            return sure
        share = min(1.0, seen / most.colors)
        return most.times(share)


def central(frames: Tensor) -> Tensor:
    """The middle of [T, 3, H, W], EXAMINED pixels a side at most."""
    top, left = (max(0, (side - EXAMINED) // 2) for side in frames.shape[-2:])
    return frames[..., top : top + EXAMINED, left : left + EXAMINED]


def window_starts(count: int) -> list[int]:
    """Where windows begin that are spread evenly over `count` frames and do not overlap."""
    windows = max(1, count // WINDOW)
    return [round(number * (count - WINDOW) / max(1, windows - 1)) for number in range(windows)]


def agreed(measured: NoiseLevel, seen: float, moving: bool) -> tuple[NoiseLevel, float]:
    """Noise as measured and as seen, in levels, each no larger than the other makes likely.

    Where motion is not found (fine patterns, cuts), the measured is too large; where several frames show that
    nothing changes (texture, pixel art), the seen.
    """
    share = 1.0
    if seen < MOST_SEEN and measured.colors > 0:
        share = min(1.0, (UNSEEN_NOISE + MOST_MEASURED * seen) / measured.colors)
    noise = measured.times(share)
    return noise, min(seen, UNMEASURED_NOISE + MEASURED_NOISE * noise.colors) if moving else seen


def confirmed(diagnosed: float, blockiness: float) -> float:
    """The most compression that is believed, by what was diagnosed and how far blocks show, as a logarithm."""
    return CONFIRMED * (diagnosed + OF_BLOCKS * max(0.0, blockiness))


def compression_of(quantizer: float) -> float:
    """The compression, 0 to 1, of a mean quantizer on the scale of H.264."""
    return min(1.0, max(0.0, (quantizer - FINEST) / (COARSEST - FINEST)))


def believed(found: Diagnosis) -> tuple[int, float, float]:
    """Kind, width and angle of a blur that is likely, else those of none."""
    if found.kind == NONE or found.width < LEAST_WIDTH or float(found.chances.max()) < LEAST_CHANCE:
        return NONE, 0.0, 0.0
    return found.kind, found.width, found.angle


def describe(damage: SceneDamage) -> str:
    """Damage in words, empty for a clean and sharp picture."""
    compression = damage.raised(damage.compression)
    words = [word for least, word in COMPRESSED if compression >= least][:1]
    if damage.chroma_noise > max(LEAST_NOISE, COLOR_NOISE * damage.luma_noise):
        words.append(f"color noise {in_levels(damage.chroma_noise)}")
    elif damage.noise >= LEAST_NOISE:
        words.append(f"noise {in_levels(damage.noise)}")
    if damage.kind != NONE:
        words.append(f"blur {damage.width:.1f} px ({KINDS[damage.kind]})")
    if damage.enlarged:
        words.append("enlarged before")
    return ", ".join(words)


def in_levels(noise: float) -> str:
    """A deviation in words."""
    return f"{noise:.0f} {'level' if round(noise) == 1 else 'levels'}"


def damage_note(
    damage: SceneDamage, scene: int, done: str = "", facts: Mapping[str, Fact] | None = None
) -> tuple[Note, ...]:
    """The damage of a scene, counted from 1; `done` and `facts` say what was made of it."""
    words = describe(damage)
    own: dict[str, Fact] = {
        "scene": scene,
        "noise": round(damage.noise, 1),
        "luma_noise": round(damage.luma_noise, 1),
        "chroma_noise": round(damage.chroma_noise, 1),
        "compression": round(damage.raised(damage.compression), 2),
        "blur": KINDS[damage.kind],
        "sigma": round(damage.width, 2),
        "angle": round(math.degrees(damage.angle) % 180, 1) if damage.kind == LINE else None,
        "softness": round(damage.softness, 2),
        "enlarged": damage.enlarged,
    }
    text = f"scene {scene}: {words or 'clean'}{done}"
    return (Note("degradation-estimated", text, {**own, **(facts or {})}, INFO if words or done else DETAIL),)
