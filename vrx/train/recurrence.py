"""InstaVSR over whole clips with gradients: finished frames go back into the window, moved along the flow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vrx.networks.embedded.recurrent import fetch
from vrx.networks.instavsr.network import BEFORE, SCALE, InstaVsr, enlarge
from vrx.train.prepared import OFFSETS

VISIBLE = 50.0  # how fast trust falls with the squared error of the moved truth (Lai et al., 2018)


@dataclass(frozen=True)
class Restored:
    """Frames [B, T, 3, 4 h, 4 w] in -1..1, not clamped, and the latents [B, T, C, h / 2, w / 2] they came from."""

    frames: Tensor
    latents: Tensor

    def at(self, places: list[int]) -> Restored:
        """Some of the frames."""
        return Restored(self.frames[:, places], self.latents[:, places])


def window(low: Tensor, flow: Tensor, done: list[Tensor], first: Tensor) -> tuple[Tensor, Tensor]:
    """Past [B, 2, 3, 4 h, 4 w] and future [B, 2, 3, h, w] of frame number `len(done)`, moved to it.

    `first`: the first frame enlarged, which stands for what is before it.
    """
    t, last = len(done), low.shape[1] - 1
    past = [
        fetch(done[t + offset] if t + offset >= 0 else first, flow[:, t, n], SCALE)
        for n, offset in enumerate(OFFSETS[:BEFORE])
    ]
    future = [fetch(low[:, min(t + offset, last)], flow[:, t, n], 1) for n, offset in enumerate(OFFSETS) if offset > 0]
    return torch.stack(past, 1), torch.stack(future, 1)


def restore(network: InstaVsr, low: Tensor, flow: Tensor, reach: int) -> Restored:
    """Clips [B, T, 3, h, w] in -1..1 with flows [B, T, 4, 2, h, w]; gradients go back through `reach` frames."""
    first = enlarge(low[:, 0])
    done: list[Tensor] = []
    frames, latents = [], []
    for t, now in enumerate(low.unbind(1)):
        past, future = window(low, flow, done, first)
        base = enlarge(now) if t else first
        latents.append(network.latent(past, now, future, base))
        frames.append(network.decode(latents[-1], now, base).float())
        done.append(frames[-1].detach() if (t + 1) % reach == 0 else frames[-1])
    return Restored(torch.stack(frames, 1), torch.stack(latents, 1))


def moved_change(frames: Tensor, motion: Tensor) -> Tensor:
    """What motion does not explain, [B, T - 1, 3, H, W]: each frame less the one before, moved to it.

    `motion` [B, T - 1, 2, H / 2, W / 2] in its own pixels.
    """
    before = fetch(frames[:, :-1].flatten(0, 1), motion.flatten(0, 1), SCALE // 2).view_as(frames[:, 1:])
    return frames[:, 1:] - before


def visible(change: Tensor) -> Tensor:
    """How far a place of the truth, of such a change (values in 0..1), was seen before, [B, T - 1, 1, H, W]."""
    return torch.exp(-VISIBLE * change.square().sum(2, keepdim=True))
