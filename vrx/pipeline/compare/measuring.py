"""Figures of every frame of the videos that are compared, and their means."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.metrics import appearance, fidelity, steadiness
from vrx.models.optical_flow import Motion
from vrx.networks.embedded.noise_level import measure_noise

FLOOR = 10 ** (-fidelity.EQUAL / 10)  # mean squared error, peak 1, of pictures that count as equal


@dataclass(frozen=True)
class FigureInfo:
    """How a figure is given: its title, its unit, the digits of tables, and what it is, with its source.

    `better`: 1 where more is better, -1 where less is, 0 where neither is.
    """

    title: str
    unit: str
    digits: int
    better: int
    meaning: str


MEASURES = {  # by the names of `Figures`, in the order of tables
    "psnr": FigureInfo("PSNR", "dB, luma", 2, 1, "Mean of the frames' PSNR of luma, peak 255 (10 bits: 1023)."),
    "psnr_overall": FigureInfo(
        "PSNR overall", "dB, luma, of the mean error", 2, 1,
        "Of the mean squared error of all frames, as in ffmpeg's closing line (y)."
    ),
    "psnr_rgb": FigureInfo("PSNR RGB", "dB, colors", 2, 1, "Of red, green and blue in 0 to 1."),
    "ssim": FigureInfo(
        "SSIM", "luma, 1 is equal", 4, 1,
        "Wang et al., 2004, at full size: Gaussian windows of 11 pixels, sigma 1.5, none over the edge, as "
        "scikit-image's gaussian_weights; torchmetrics adds mirrored edges, ffmpeg's filter has squares of 8.",
    ),
    "vmaf": FigureInfo("VMAF", "0 to 100", 1, 1, "Mean of libvmaf, its default model (for 1080 rows)."),
    "lpips": FigureInfo("LPIPS", "0 is equal", 4, -1, "Zhang et al., 2018: version 0.1 on AlexNet, at full size."),
    "dists": FigureInfo("DISTS", "0 is equal", 4, -1, "Ding et al., 2020: on VGG-16, at full size."),
    "warp": FigureInfo(
        "Warp error", "change that motion does not explain, x 1e-3", 3, -1,
        "Lai et al., 2018: mean squared change of colors along the optical flow (dense inverse search; of the "
        "reference, if there is one) where content was visible before; theirs leaves out edges of motion, too.",
    ),
    "warp_ratio": FigureInfo("Warp ratio", "that of the reference is 1", 2, 0, "Warp error over the first video's."),
    "tof": FigureInfo(
        "tOF", "difference of motion, pixels", 3, -1,
        "Chu et al., 2020: mean length of the difference of the optical flows; by dense inverse search, where "
        "theirs are Farneback's, so that figures are for comparisons here.",
    ),
    "flicker": FigureInfo("Flicker", "change of brightness, levels", 2, 0, "Change of mean luma from frame to frame."),
    "sharpness": FigureInfo("Sharpness", "gradient, levels a pixel", 2, 0, "Mean gradient of luma; noise raises it."),
    "noise": FigureInfo("Noise", "luma, levels", 1, 0, "Deviation of what does not move along, in smooth areas."),
}  # fmt: skip
OVERALL_ONLY = ("psnr_overall", "warp_ratio")  # figures that a single frame does not have


Apply = Callable[..., Iterable[Any]]  # `map`, or what works on several items at once


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """Of one frame, or means; None where there is nothing to measure it against.  `MEASURES` has their units."""

    psnr: float | None = None
    psnr_overall: float | None = None
    psnr_rgb: float | None = None
    ssim: float | None = None
    vmaf: float | None = None
    lpips: float | None = None
    dists: float | None = None
    warp: float | None = None
    warp_ratio: float | None = None
    tof: float | None = None
    flicker: float | None = None
    sharpness: float | None = None
    noise: float | None = None


FRAME_FIGURES = tuple(name for name in MEASURES if name not in OVERALL_ONLY)


class Means:
    """Means over frames, one after the other, of those that have each figure."""

    def __init__(self) -> None:
        self._sums, self._counts = dict.fromkeys(FRAME_FIGURES, 0.0), dict.fromkeys(FRAME_FIGURES, 0)
        self._error = 0.0

    def add(self, figures: Figures) -> None:
        """One frame's."""
        for name in FRAME_FIGURES:
            value = getattr(figures, name)
            if value is not None:
                self._sums[name] += value
                self._counts[name] += 1
        if figures.psnr is not None and figures.psnr < fidelity.EQUAL:
            self._error += 10 ** (-figures.psnr / 10)

    def result(self, reference: Figures | None = None) -> Figures:
        """The means so far; with those of a reference, the ratio of the warp errors.

        By frame that ratio would be ruled by still ones.
        """
        found = {name: self._sums[name] / count for name, count in self._counts.items() if count}
        if self._counts["psnr"]:
            error = max(self._error / self._counts["psnr"], FLOOR)
            found["psnr_overall"] = -10 * math.log10(error)
        warp = found.get("warp")
        if warp is not None:
            base = warp if reference is None else reference.warp
            if base:
                found["warp_ratio"] = warp / base
        return Figures(**found)


@dataclass(frozen=True)
class Look:
    """A frame of one video: colors [3, H, W] in 0..1, not clamped, and luma [H, W] in levels, up to `peak`."""

    colors: Tensor
    luma: Tensor
    peak: float

    @classmethod
    def of(cls, colors: Tensor, scale: fidelity.LumaScale) -> Look:
        """With luma on a scale."""
        return cls(colors, fidelity.to_luma(colors, scale), scale.peak)

    @property
    def levels(self) -> Tensor:
        """Luma as uint8, for optical flow."""
        return self.luma.round().clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True)
class Step:
    """From a video's frame before to the present one: its flow [2, H, W], and where content was in both, [H, W]."""

    before: Look
    flow: Tensor
    seen: Tensor


class Perceptual(Protocol):
    """A network that measures how differently two pictures look; `name` is one of `MEASURES`."""

    @property
    def name(self) -> str: ...
    def distance(self, one: Tensor, other: Tensor) -> float | None:
        """Between colors [3, H, W] in 0..1; None where their size is not for it."""


class Meter:
    """Measures a frame of every video after the other; the first video is the truth if `referenced`."""

    def __init__(self, videos: int, referenced: bool, perceptual: Sequence[Perceptual] = ()) -> None:
        self._referenced, self._perceptual = referenced, perceptual
        self._motions = [Motion() for _ in range(videos)]  # one search is for one thread
        self._alone = Lock()  # perceptual measures take much memory: one at a time
        self._before: Sequence[Look] = ()

    def cut(self) -> None:
        """A scene begins: nothing is compared with the frame before."""
        self._before = ()

    def measure(self, looks: Sequence[Look], apply: Apply) -> list[Figures]:
        """Figures of a frame of every video, the first one's beside itself left out; `apply` works on all at once."""
        steps = list(apply(self.step, self._motions, self._before, looks)) if self._before else []
        self._before = tuple(looks)

        def figures(number: int) -> Figures:
            look = looks[number]
            values = self.alone(look) | (self.beside(look, looks[0]) if number else {})
            if steps:
                guide = steps[0] if self._referenced else steps[number]
                values |= self.in_time(look, steps[number], guide)
                values |= {"tof": steadiness.flow_distance(steps[number].flow, steps[0].flow)} if number else {}
            return Figures(**values)

        return list(apply(figures, range(len(looks))))

    def step(self, motion: Motion, before: Look, now: Look) -> Step:
        """How a video went on."""
        flow, back = (motion.between(torch.stack(pair))[0] for pair in ordered(before.levels, now.levels))
        return Step(before, flow, steadiness.visible(flow, back))

    def alone(self, look: Look) -> dict[str, float | None]:
        """What needs no other picture."""
        return {"sharpness": appearance.sharpness(look.luma)}

    def beside(self, look: Look, first: Look) -> dict[str, float | None]:
        """What is measured against the first video."""
        colors = fidelity.psnr(look.colors.clamp(0, 1), first.colors.clamp(0, 1), 1.0)
        luma = fidelity.psnr(look.luma, first.luma, first.peak)
        own = {"psnr": luma, "psnr_rgb": colors, "ssim": fidelity.ssim(look.luma, first.luma, first.peak)}
        both = torch.stack([look.colors, first.colors]).clamp(0, 1)
        with self._alone:
            return {**own, **{network.name: network.distance(both[0], both[1]) for network in self._perceptual}}

    def in_time(self, look: Look, own: Step, guide: Step) -> dict[str, float | None]:
        """What needs the frame before; the `guide` says what moved where."""
        before = own.before
        pair = torch.stack([before.colors, look.colors]).clamp(0, 1)
        return {
            "warp": steadiness.warp_error(look.colors, before.colors, guide.flow, guide.seen),
            "flicker": steadiness.flicker(look.luma, before.luma),
            "noise": measure_noise(pair, own.flow[None], trusting=True).luma,
        }


def ordered(before: Tensor, now: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Pictures for the flow to the frame before, and for the flow back from there."""
    return (before, now), (now, before)


def difference(a: Look, b: Look) -> float:
    """How differently two frames look: mean absolute luma of small areas, in levels."""
    apart = (a.luma - b.luma)[None, None]
    return float(F.avg_pool2d(apart, min(4, *a.luma.shape)).abs().mean())
