"""From a scene's symptoms to what happened to it, and from there to the filter that undoes it best: small networks.

The first names the blur, the noise and the compression.  Where a blur is to be undone, the second revises that by the
zeros of the scene's spectrum (`zeros`), and the third, told by both, chooses the ratios of noise to signal and how much
each kind of blur counts.  It is trained on the error of the filtered pictures itself.  Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vrx.networks.embedded.deconvolution import Recipe
from vrx.networks.embedded.kernels import KINDS
from vrx.networks.embedded.reader import build_reader
from vrx.networks.embedded.symptoms import SYMPTOMS, gray, lively, tile_power
from vrx.networks.embedded.zeros import ZEROS, Zeros, find_zeros, quantization_power

HIDDEN = 96
DROPOUT = 0.15
FOUND = len(KINDS) + 5  # chances, width, cosine and sine of twice the angle, noise, compression
WIDTH_INPUTS = 2  # whether a width is given, and it
POINTS, CHROMA_POINTS = 10, 6  # frequencies of the ratios
WIDTH_OFFSET, NOISE_OFFSET = 0.2, 0.5  # pixels, levels; before logarithms
LEAST_RATIO, RATIO_RANGE = -5.0, 7.0  # log10
FARTHEST = 6.0  # deviations of the training's symptoms that are believed
WIDEST = 8.0  # pixels
TELLING = 0.5  # of a scene's tiles, the liveliest, whose spectrum shows its zeros
# of the logarithm of a width, and radians of a line's angle, up to which the zeros of a spectrum are believed: they
# tell both more exactly
WIDTH_AGREEMENT, ANGLE_AGREEMENT = 0.4, 0.35
FINEST_QUANTIZER, QUANTIZERS = 10.0, 25.0  # of H.264, at compression 0, and how many up to 1
UNIT_STEP, DOUBLING = 0.625, 6.0  # levels: the step of its quantizer 0, and after how many it is twice as wide


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


@dataclass(frozen=True)
class Evidence:
    """What a scene's first frames show of its blur: symptoms [SYMPTOMS] and the zeros of their spectrum."""

    symptoms: Tensor
    zeros: Zeros


class BlurDiagnosis(nn.Module):
    """The three networks; `middle` and `spread` of the symptoms are those of the training."""

    middle: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.causes = build_reader(SYMPTOMS + WIDTH_INPUTS, HIDDEN, FOUND, DROPOUT)
        self.revision = build_reader(SYMPTOMS + WIDTH_INPUTS + FOUND + ZEROS, HIDDEN, FOUND, DROPOUT)
        answers = POINTS + CHROMA_POINTS + len(KINDS)
        self.ratios = build_reader(SYMPTOMS + WIDTH_INPUTS + FOUND, HIDDEN, answers, DROPOUT)
        self.register_buffer("middle", torch.zeros(SYMPTOMS))
        self.register_buffer("spread", torch.ones(SYMPTOMS))

    def normalized(self, symptoms: Tensor) -> Tensor:
        """Symptoms [N, SYMPTOMS] in deviations."""
        return ((symptoms - self.middle) / self.spread).clamp(-FARTHEST, FARTHEST)

    def find(self, normal: Tensor, width: Tensor) -> Tensor:
        """The first network's numbers [N, FOUND]; `width` [N] in pixels, 0 where none is given."""
        found: Tensor = self.causes(torch.cat([normal, width_inputs(width)], 1))
        return found

    def revise(self, normal: Tensor, width: Tensor, found: Tensor, zeros: Tensor) -> Tensor:
        """The first network's numbers [N, FOUND] by the second one, which knows the spectra's zeros [N, ZEROS]."""
        change: Tensor = self.revision(torch.cat([normal, width_inputs(width), found, zeros], 1))
        return found + change

    def choose(self, normal: Tensor, width: Tensor, found: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log10 ratios of luma [N, POINTS] and chroma [N, CHROMA_POINTS], and the shares of the kinds [N, 4]."""
        count = len(KINDS)
        size = torch.where(width > 0, torch.log(width + WIDTH_OFFSET), found[:, count])
        told = torch.cat([found[:, :count].softmax(1), size[:, None], found[:, count + 1 :]], 1)
        chosen = self.ratios(torch.cat([normal, width_inputs(width), told], 1))
        ratios = LEAST_RATIO + RATIO_RANGE * torch.sigmoid(chosen[:, : POINTS + CHROMA_POINTS])
        ratios[:, [0, POINTS]] = LEAST_RATIO  # no blur and no noise changes the mean
        shares = (chosen[:, -count:] + found[:, :count].log_softmax(1)).softmax(1)
        return ratios[:, :POINTS], ratios[:, POINTS:], shares


def width_inputs(width: Tensor) -> Tensor:
    """A given width [N] in pixels, 0 for none, as numbers [N, WIDTH_INPUTS]."""
    size = torch.log(width + WIDTH_OFFSET)
    return torch.stack([torch.sign(width) * 2 - 1, torch.where(width > 0, size, 0)], 1)


def to_diagnosis(found: Tensor, width: float | None) -> Diagnosis:
    """What a network's numbers [FOUND] say; a given `width` in pixels is believed."""
    size, cosine, sine, noise, compression = found[len(KINDS) :].tolist()
    return Diagnosis(
        found[: len(KINDS)].softmax(0).cpu().double(),  # in this order: Apple's GPUs have no float64
        width or min(WIDEST, max(0.0, math.exp(min(size, 5.0)) - WIDTH_OFFSET)),
        math.atan2(sine, cosine) / 2,
        max(0.0, math.exp(min(noise, 5.0)) - NOISE_OFFSET),
        max(0.0, compression),
    )


def recognize(network: BlurDiagnosis, symptoms: Tensor, width: float | None) -> Diagnosis:
    """What happened to a scene of these symptoms [SYMPTOMS], as the first network has it.

    A given `width` in pixels is believed.
    """
    normal = network.normalized(symptoms.to(network.middle)[None])
    return to_diagnosis(network.find(normal, normal.new_tensor([width or 0.0]))[0], width)


def gather(network: BlurDiagnosis, symptoms: Tensor, frames: Tensor, width: float | None) -> Evidence:
    """The evidence of frames [T, 3, H, W] in 0..1 with these symptoms [SYMPTOMS]; `width`: one that is given."""
    return Evidence(symptoms, zeros_of(frames, recognize(network, symptoms, width).compression))


def diagnose(network: BlurDiagnosis, seen: Evidence, width: float | None) -> tuple[Diagnosis, Recipe]:
    """What happened to a scene, and its filter; a given `width` in pixels is believed."""
    normal = network.normalized(seen.symptoms.to(network.middle)[None])
    known = normal.new_tensor([width or 0.0])
    found = network.find(normal, known)
    found = network.revise(normal, known, found, seen.zeros.numbers().to(normal)[None])
    found = refine_by_zeros(found, [seen.zeros], known)
    luma, chroma, shares = (x[0].cpu().double() for x in network.choose(normal, known, found))
    diagnosis = to_diagnosis(found[0], width)
    return diagnosis, Recipe(shares, diagnosis.width, diagnosis.angle, luma, chroma)


def refine_by_zeros(found: Tensor, zeros: Sequence[Zeros], known: Tensor) -> Tensor:
    """Numbers [N, FOUND] with widths and angles as the zeros of the likeliest kind have them, where these agree.

    `known`: the given widths [N], 0 for none.
    """
    found, count = found.clone(), len(KINDS)
    for row, seen, told in zip(found, zeros, known.tolist(), strict=True):
        match = seen.of(int(row[:count].argmax()))
        width = math.log(told + WIDTH_OFFSET) if told else float(row[count])
        if match is None or abs(math.log(match.width + WIDTH_OFFSET) - width) > WIDTH_AGREEMENT:
            continue
        angle = math.atan2(float(row[count + 2]), float(row[count + 1])) / 2
        if match is seen.line:
            if abs(math.remainder(match.angle - angle, math.pi)) > ANGLE_AGREEMENT:
                continue
            row[count + 1 : count + 3] = row.new_tensor([math.cos(2 * match.angle), math.sin(2 * match.angle)])
        row[count] = math.log(match.width + WIDTH_OFFSET)
    return found


def zeros_of(frames: Tensor, compression: float) -> Zeros:
    """The zeros in the spectrum of frames [T, 3, H, W] in 0..1 of a compression as in `Diagnosis`."""
    return find_zeros(lively(tile_power(gray(frames)[:, 0]), TELLING), hidden_power(compression))


def hidden_power(compression: float) -> float:
    """The power a sample that an encoder covers with what it rounds away, at a compression as in `Diagnosis`."""
    quantizer = FINEST_QUANTIZER + QUANTIZERS * compression
    return quantization_power(UNIT_STEP * 2 ** (quantizer / DOUBLING) / 255)
