"""What training of the sharp look makes small: distances, change along the motion, and the critic's own.

Knows pictures, critics and their gradients; does not know networks that enlarge, steps or files.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.networks.embedded.recurrent import fetch
from vrx.train.critics import PixelCritic

INVENTED = {4: 1.0, 3: 0.8, 2: 0.6}  # of the critic's term: the less was lost, the less is to be invented
VISIBLE = 50.0  # how fast trust falls with the squared error of the moved truth (Lai et al., 2018)
LEAST_TRUST = 0.2  # share of the critic's terms that the most degraded clips keep
LOOKED_AT = 2  # adjacent frames of each clip that the critic sees
REPEATED = 4  # pixels of the source a side over which patterns are looked for
WINDOW = 128  # pixels a side of what it sees


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Of the terms of `losses`."""

    distance: float = 2.0
    invention: float = 6.0
    shrunk: float = 5.0
    pattern: float = 30.0
    temporal: float = 3.0
    critic: float = 0.025

    def shares(self, scale: int) -> dict[str, float]:
        """By name, for a scale."""
        return vars(self) | {"critic": self.critic * INVENTED[scale]}


@dataclass(frozen=True)
class Enlarged:
    """Clips enlarged by `scale`, as the faithful look has them (`plain`) and the `truth`, [B, T, 3, S, S] in 0..1.

    `motion` [B, T, 2, G, G], in positions, to each frame's previous one; `trust` [B] in what the critic says of a clip.
    """

    scale: int
    out: Tensor
    plain: Tensor
    truth: Tensor
    motion: Tensor
    trust: Tensor


@dataclass(frozen=True)
class Shown:
    """What the critic sees: pictures `made` and `real` [N, 3, h, w] in -1..1, and `trust` [N]."""

    made: Tensor
    real: Tensor
    trust: Tensor

    @staticmethod
    def of(clips: Enlarged, rng: random.Random) -> Shown:
        """A window of adjacent frames of each clip, not of its first one."""
        frames, side = clips.out.shape[1], clips.out.shape[-1]
        window, first = min(side, WINDOW), rng.randint(1, frames - LOOKED_AT)
        top, left = (rng.randint(0, side - window) for _ in range(2))
        seen = slice(first, first + LOOKED_AT)
        made, real = (
            x[:, seen, :, top : top + window, left : left + window].flatten(0, 1) * 2 - 1
            for x in (clips.out, clips.truth)
        )
        return Shown(made, real, clips.trust.repeat_interleave(LOOKED_AT))


def trust_of(levels: Tensor) -> Tensor:
    """How far a critic is to be heard on clips of these conditions [B, LEVELS], [B]: noise is not to be sharpened."""
    return (1 - levels.amax(1)).clamp(LEAST_TRUST, 1)


def renew_norms(critic: PixelCritic) -> None:
    """One power iteration of every spectral norm; none happens while the critic judges."""
    critic.train()
    for module in critic.modules():
        if hasattr(module, "parametrizations"):
            module.weight  # noqa: B018  # reading it is what iterates
    critic.eval()


def relativistic(ahead: Tensor, behind: Tensor, trust: Tensor) -> Tensor:
    """Small where the first, place by place, is judged truer than the second (Jolicoeur-Martineau, 2018).

    Logits [N, 1, h, w]; `trust` [N] weighs pictures.
    """
    return (F.softplus(behind.float() - ahead.float()).mean((1, 2, 3)) * trust).mean()


def moved_change(clips: Tensor, motion: Tensor) -> Tensor:
    """How frames [B, T, 3, S, S] differ from the one before, moved along `motion` [B, T, 2, G, G]: T - 1 frames."""
    unit = clips.shape[-1] // motion.shape[-1]
    moved = fetch(clips[:, :-1].flatten(0, 1), motion[:, 1:].flatten(0, 1), unit)
    return clips[:, 1:] - moved.view_as(clips[:, 1:])


def temporal(out: Tensor, truth: Tensor, motion: Tensor) -> Tensor:
    """How far results change along the motion beyond what the truth does, where the motion holds."""
    with torch.no_grad():
        wanted = moved_change(truth, motion)
        seen = torch.exp(-VISIBLE * wanted.square().sum(2, keepdim=True))
    return ((moved_change(out, motion).abs() - wanted.abs()).clamp_min(0) * seen).mean()


def pattern(error: Tensor, scale: int) -> Tensor:
    """How far an error [N, 3, S, S] repeats itself from a pixel of the source to the next, as checkerboards do."""
    return F.avg_pool2d(F.pixel_unshuffle(error, scale), REPEATED, REPEATED // 2).abs().mean()


def critic_loss(critic: PixelCritic, shown: Shown) -> Tensor:
    """What the critic makes small."""
    return relativistic(critic(shown.real)[0], critic(shown.made.detach())[0], shown.trust)


def losses(critic: PixelCritic, clips: Enlarged, shown: Shown) -> dict[str, Tensor]:
    """What the network makes small."""
    with torch.no_grad():
        wanted = critic(shown.real)[0]
    error = (clips.out - clips.truth).flatten(0, 1)
    return {
        "distance": error.abs().mean(),
        "invention": (error.abs() - (clips.plain - clips.truth).flatten(0, 1).abs()).clamp_min(0).mean(),
        "shrunk": F.avg_pool2d(error, clips.scale).abs().mean(),
        "pattern": pattern(error, clips.scale),
        "temporal": temporal(clips.out, clips.truth, clips.motion),
        "critic": relativistic(critic(shown.made)[0], wanted, shown.trust),
    }


def pull(
    terms: dict[str, Tensor], made: Tensor, shares: dict[str, float], measure: bool
) -> tuple[Tensor, dict[str, float]]:
    """The gradient at the pictures of the terms together, and their values; `measure`: also each one's length."""
    values = {name: float(term.detach()) for name, term in terms.items()}
    if measure:
        for name, term in terms.items():
            (own,) = torch.autograd.grad(shares[name] * term, made, retain_graph=True)
            values[f"|{name}|"] = float(own.norm())
    (whole,) = torch.autograd.grad(torch.stack([shares[name] * term for name, term in terms.items()]).sum(), made)
    return whole, values
