"""Figures of every frame of the videos that are compared, and their means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.metrics import appearance, fidelity, steadiness
from vrx.models.optical_flow import Motion
from vrx.networks.embedded.noise_level import measure_noise

UNITS = {  # how each figure is given, in the order of tables
    "psnr": "dB, luma",
    "psnr_rgb": "dB, colors",
    "ssim": "luma, 1 is equal",
    "vmaf": "0 to 100",
    "warp": "change that motion does not explain, x 1e-3",
    "warp_ratio": "that of the reference is 1",
    "tof": "difference of motion, pixels",
    "flicker": "change of brightness, levels",
    "sharpness": "gradient, levels a pixel",
    "noise": "luma, levels",
}


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one frame, or means; None where there is nothing to measure it against.  `UNITS` has their units."""

    psnr: float | None = None
    psnr_rgb: float | None = None
    ssim: float | None = None
    vmaf: float | None = None
    warp: float | None = None
    warp_ratio: float | None = None
    tof: float | None = None
    flicker: float | None = None
    sharpness: float | None = None
    noise: float | None = None


def mean(figures: Iterable[Figures]) -> Figures:
    """The means of those that have each figure; the ratio is that of the sums."""
    found = list(figures)
    values = {}
    for field in fields(Figures):
        known = [value for f in found if (value := getattr(f, field.name)) is not None]
        values[field.name] = sum(known) / len(known) if known else None
    return Figures(**values)


def with_ratio(figures: Figures, reference: Figures) -> Figures:
    """Means with the ratio of the warp errors, which frame by frame would be ruled by still ones."""
    if figures.warp is None or not reference.warp:
        return figures
    return Figures(**{**vars(figures), "warp_ratio": figures.warp / reference.warp})


@dataclass(frozen=True)
class Look:
    """A frame of one video: colors [3, H, W] in 0..1, not clamped, and luma [H, W] in video levels."""

    colors: Tensor
    luma: Tensor

    @classmethod
    def of(cls, colors: Tensor, weights: tuple[float, float]) -> Look:
        """With luma by these weights."""
        return cls(colors, fidelity.to_luma(colors, weights))

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


class Meter:
    """Measures a frame of every video after the other; the first video is the truth if `referenced`."""

    def __init__(self, referenced: bool) -> None:
        self._referenced = referenced
        self._motion = Motion()
        self._before: Sequence[Look] = ()

    def cut(self) -> None:
        """A scene begins: nothing is compared with the frame before."""
        self._before = ()

    def measure(self, looks: Sequence[Look]) -> list[Figures]:
        """Figures of a frame of every video, the first one's beside itself left out."""
        steps = [self.step(before, look) for before, look in zip(self._before, looks, strict=False)]
        self._before = tuple(looks)
        found = []
        for number, look in enumerate(looks):
            values = self.alone(look) | (self.beside(look, looks[0]) if number else {})
            if steps:
                guide = steps[0] if self._referenced else steps[number]
                values |= self.in_time(look, steps[number], guide)
                values |= {"tof": steadiness.flow_distance(steps[number].flow, steps[0].flow)} if number else {}
            found.append(Figures(**values))
        return found

    def step(self, before: Look, now: Look) -> Step:
        """How a video went on."""
        flow, back = (self._motion.between(torch.stack(pair))[0] for pair in ordered(before.levels, now.levels))
        return Step(before, flow, steadiness.visible(flow, back))

    def alone(self, look: Look) -> dict[str, float | None]:
        """What needs no other picture."""
        return {"sharpness": appearance.sharpness(look.luma)}

    def beside(self, look: Look, first: Look) -> dict[str, float | None]:
        """What is measured against the first video."""
        colors = fidelity.psnr(look.colors.clamp(0, 1), first.colors.clamp(0, 1), 1.0)
        luma = fidelity.psnr(look.luma, first.luma)
        return {"psnr": luma, "psnr_rgb": colors, "ssim": fidelity.ssim(look.luma, first.luma)}

    def in_time(self, look: Look, own: Step, guide: Step) -> dict[str, float | None]:
        """What needs the frame before; the `guide` says what moved where."""
        before = own.before
        pair = torch.stack([before.colors, look.colors]).clamp(0, 1)
        return {
            "warp": steadiness.warp_error(look.colors, before.colors, guide.flow, guide.seen),
            "flicker": steadiness.flicker(look.luma, before.luma),
            "noise": measure_noise(pair, own.flow[None]).luma,
        }


def ordered(before: Tensor, now: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Pictures for the flow to the frame before, and for the flow back from there."""
    return (before, now), (now, before)


def difference(a: Look, b: Look) -> float:
    """How differently two frames look: mean absolute luma of small areas, in levels."""
    apart = (a.luma - b.luma)[None, None]
    return float(F.avg_pool2d(apart, min(4, *a.luma.shape)).abs().mean())
