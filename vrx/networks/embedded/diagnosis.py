"""From a scene's symptoms to what happened to it, and from there to the filter that undoes it best: two small networks.

The first names the blur, the noise and the compression; the second, told by the first, chooses the ratios of noise
to signal and how much each kind of blur counts.  It is trained on the error of the filtered pictures itself.  Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vrx.networks.embedded.deconvolution import Recipe
from vrx.networks.embedded.kernels import KINDS
from vrx.networks.embedded.reader import build_reader
from vrx.networks.embedded.symptoms import SYMPTOMS

HIDDEN = 96
DROPOUT = 0.15
FOUND = len(KINDS) + 5  # chances, width, cosine and sine of twice the angle, noise, compression
GIVEN = 2  # whether a width is given, and it
POINTS, CHROMA_POINTS = 10, 6  # frequencies of the ratios
WIDTH_OFFSET, NOISE_OFFSET = 0.2, 0.5  # pixels, levels; before logarithms
LEAST_RATIO, RATIO_RANGE = -5.0, 7.0  # log10
FARTHEST = 6.0  # deviations of the training's symptoms that are believed
WIDEST = 8.0  # pixels


@dataclass(frozen=True)
class Diagnosis:
    """What happened to a scene: chances of `kernels.KINDS` [4], width in pixels, angle in radians, noise in levels
    of 255, compression (QP 10 of H.264 is 0, 35 is 1).
    """

    chances: Tensor
    width: float
    angle: float
    noise: float
    compression: float

    @property
    def kind(self) -> int:
        """The likeliest of `kernels.KINDS`."""
        return int(self.chances.argmax())


class BlurDiagnosis(nn.Module):
    """Both networks; `middle` and `spread` of the symptoms are those of the training."""

    middle: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.causes = build_reader(SYMPTOMS + GIVEN, HIDDEN, FOUND, DROPOUT)
        answers = POINTS + CHROMA_POINTS + len(KINDS)
        self.ratios = build_reader(SYMPTOMS + GIVEN + FOUND, HIDDEN, answers, DROPOUT)
        self.register_buffer("middle", torch.zeros(SYMPTOMS))
        self.register_buffer("spread", torch.ones(SYMPTOMS))

    def normalized(self, symptoms: Tensor) -> Tensor:
        """Symptoms [N, SYMPTOMS] in deviations."""
        return ((symptoms - self.middle) / self.spread).clamp(-FARTHEST, FARTHEST)

    def find(self, normal: Tensor, width: Tensor) -> Tensor:
        """The first network's numbers [N, FOUND]; `width` [N] in pixels, 0 where none is given."""
        found: Tensor = self.causes(torch.cat([normal, given(width)], 1))
        return found

    def choose(self, normal: Tensor, width: Tensor, found: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log10 ratios of luma [N, POINTS] and chroma [N, CHROMA_POINTS], and the shares of the kinds [N, 4]."""
        count = len(KINDS)
        size = torch.where(width > 0, torch.log(width + WIDTH_OFFSET), found[:, count])
        told = torch.cat([found[:, :count].softmax(1), size[:, None], found[:, count + 1 :]], 1)
        chosen = self.ratios(torch.cat([normal, given(width), told], 1))
        ratios = LEAST_RATIO + RATIO_RANGE * torch.sigmoid(chosen[:, : POINTS + CHROMA_POINTS])
        ratios[:, [0, POINTS]] = LEAST_RATIO  # no blur and no noise changes the mean
        shares = (chosen[:, -count:] + found[:, :count].log_softmax(1)).softmax(1)
        return ratios[:, :POINTS], ratios[:, POINTS:], shares


def given(width: Tensor) -> Tensor:
    """A given width [N] in pixels, 0 for none, as numbers [N, GIVEN]."""
    size = torch.log(width + WIDTH_OFFSET)
    return torch.stack([torch.sign(width) * 2 - 1, torch.where(width > 0, size, 0)], 1)


def diagnose(network: BlurDiagnosis, symptoms: Tensor, width: float | None) -> tuple[Diagnosis, Recipe]:
    """What happened to a scene of these symptoms [SYMPTOMS], and its filter.

    A given `width` in pixels is believed.
    """
    normal = network.normalized(symptoms.to(network.middle)[None])
    known = normal.new_tensor([width or 0.0])
    found = network.find(normal, known)
    luma, chroma, shares = (x[0].double().cpu() for x in network.choose(normal, known, found))
    size, cosine, sine, noise, compression = found[0, len(KINDS) :].tolist()
    diagnosis = Diagnosis(
        found[0, : len(KINDS)].softmax(0).double().cpu(),
        width or min(WIDEST, max(0.0, math.exp(min(size, 5.0)) - WIDTH_OFFSET)),
        math.atan2(sine, cosine) / 2,
        max(0.0, math.exp(min(noise, 5.0)) - NOISE_OFFSET),
        max(0.0, compression),
    )
    return diagnosis, Recipe(shares, diagnosis.width, diagnosis.angle, luma, chroma)
