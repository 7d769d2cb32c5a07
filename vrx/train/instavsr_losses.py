"""What InstaVSR's training makes small: distance and temporal term, the adversarial ones, and the critics' own.

Distance and temporal term are relative to those of bicubic.  Knows losses and their gradients; does not know steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vrx.networks.instavsr.network import SCALE, InstaVsr, InstaVsrConfig, enlarge
from vrx.train.critics import (
    LatentCritic,
    LatentEncoder,
    PixelCritic,
    critic_loss,
    deceive_loss,
    feature_distance,
)
from vrx.train.prepared import Batch
from vrx.train.recurrence import Restored, moved_change, visible

FLOOR = 0.03  # the least distance of bicubic, values in 0..1, that a clip counts by: smooth ones would drown the others
EPSILON = 1e-3  # of the Charbonnier distance
ENCODER_PULL = 0.05  # weight of the encoder's distance from the restorer's latents


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Of the temporal term beside the distance, and the adversarial terms' shares.

    A share is the length of a term's gradient where it acts, at frames or latents, of that of the two first.
    """

    temporal: float
    pixel: float = 0.0
    features: float = 0.0
    latent: float = 0.0


PRETRAIN = Weights(temporal=0.15)
ADVERSARIAL = Weights(temporal=0.3, pixel=0.4, features=0.4, latent=0.05)


def charbonnier(error: Tensor) -> Tensor:
    """Mean distance a clip, [B]."""
    return (error.square() + EPSILON**2).sqrt().mean((1, 2, 3, 4))


def enlarged(low: Tensor) -> Tensor:
    """Bicubic enlargement of clips."""
    pictures = enlarge(low.flatten(0, 1))
    return pictures.view(*low.shape[:3], *pictures.shape[-2:])


def bicubic_losses(batch: Batch, change: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Distance and change's error of bicubic in the first two frames, [B] each: what the terms are relative to."""
    base, truth = enlarged(batch.low[:, :2]) / 2, batch.truth[:, :2] / 2
    error = (moved_change(base, batch.motion[:, :1]) - change[:, :1]) * seen[:, :1]
    return charbonnier(base - truth).clamp_min(FLOOR), charbonnier(error).clamp_min(FLOOR)


def paired_losses(frames: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Distance, and error of the change between adjacent frames, each relative to that of bicubic."""
    out, truth = frames / 2, batch.truth / 2
    with torch.no_grad():
        change = moved_change(truth, batch.motion)
        seen = visible(change)
        usual, usual_change = bicubic_losses(batch, change, seen)
    distance = charbonnier(out - truth) / usual
    error = charbonnier((moved_change(out, batch.motion) - change) * seen) / usual_change
    return distance.mean(), error.mean()


class Judges(nn.Module):
    """What only the adversarial phase has: critics, and the encoder of the truth."""

    def __init__(self, config: InstaVsrConfig) -> None:
        super().__init__()
        self.pixel, self.latent = PixelCritic(), LatentCritic(config.features)
        self.encoder = LatentEncoder(config.features, SCALE * config.cell)
        self.eval()

    def renew_norms(self) -> None:
        """One power iteration of every spectral norm; none happens while they judge."""
        self.train()
        for module in self.modules():
            if hasattr(module, "parametrizations"):
                module.weight  # noqa: B018  # reading it is what iterates
        self.eval()


def flat(clips: Tensor) -> Tensor:
    """[B, T, ...] to [B T, ...]."""
    return clips.flatten(0, 1)


def judge_loss(judges: Judges, network: InstaVsr, real: Tensor, low: Tensor, made: Restored) -> dict[str, Tensor]:
    """What the judges make small: of pictures [N, 3, 4 h, 4 w] and what was made in their stead, cut from its past."""
    frames, latents = flat(made.frames).detach(), flat(made.latents).detach()
    true_latents = judges.encoder(real)
    again = network.decode(true_latents, low).float()
    return {
        "critic": critic_loss(judges.pixel(real)[0], judges.pixel(frames)[0]),
        "latent critic": critic_loss(judges.latent(true_latents.detach()), judges.latent(latents)),
        "encoder": (again - real).abs().mean() + ENCODER_PULL * (true_latents - latents).float().abs().mean(),
    }


def deceptions(judges: Judges, real: Tensor, made: Restored) -> dict[str, Tensor]:
    """The restorer's adversarial terms."""
    with torch.no_grad():
        wanted = judges.pixel(real)[1]
    logits, found = judges.pixel(flat(made.frames))
    return {
        "pixel": deceive_loss(logits),
        "features": feature_distance(found, wanted),
        "latent": deceive_loss(judges.latent(flat(made.latents))),
    }


def scaled(gradient: Tensor, length: Tensor) -> Tensor:
    """A gradient made that long."""
    factor: Tensor = length / gradient.norm().clamp_min(1e-12)
    return gradient * factor


def pull(terms: dict[str, Tensor], made: Restored, weights: Weights) -> tuple[Tensor, Tensor]:
    """Gradients at frames and latents (leaves of the terms)."""
    loss = terms["fidelity"] + weights.temporal * terms["temporal"]
    (frames,) = torch.autograd.grad(loss, made.frames)
    latents, length = torch.zeros_like(made.latents), frames.norm()
    for name in ("pixel", "features"):
        if name in terms:
            (more,) = torch.autograd.grad(terms[name], made.frames, retain_graph=True)
            frames = frames + scaled(more, getattr(weights, name) * length)
    if "latent" in terms:
        (latents,) = torch.autograd.grad(terms["latent"], made.latents)
        latents = scaled(latents, weights.latent * length)
    return frames, latents


def values(terms: dict[str, Tensor]) -> dict[str, float]:
    """As numbers."""
    return {name: float(term.detach()) for name, term in terms.items()}
