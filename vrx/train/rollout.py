"""The embedded network over a batch of clips, frame after frame, with gradients through all of them.

The same layers as `EmbeddedNetwork.step`, but what earlier frames left is kept in lists instead of rings
that are written over.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.models.embedded import MODES, EmbeddedNetwork, attend
from vrx.models.feedback import hint, luma
from vrx.models.grids import to_pixels
from vrx.train.batches import Batch


class Rollout:
    """Clips under way; conditions [B, LEVELS]."""

    def __init__(self, network: EmbeddedNetwork, mode: str, levels: Tensor) -> None:
        self._network, self._mode = network, mode
        self._shifts = network.shifts(mode, levels)
        self._anchors: list[tuple[Tensor, Tensor]] = []
        self._seen: list[list[tuple[Tensor, Tensor]]] = [[] for _ in network.attention]
        self._features: dict[int, Tensor] = {}

    def step(self, x: Tensor) -> Tensor:
        """The next frame of every clip [B, inputs + hints, H, W] to its residual [B, outputs, H, W]."""
        return self._network.walk(self._mode, x, self._shifts, self._look, self._recall)

    def _look(self, layer: int, y: Tensor) -> Tensor:
        attention = self._network.looking(layer)
        if len(self._anchors) == layer:  # a clip's first frame is its reference
            self._anchors.append(attention.anchor(y))
        query, keys, values = attention.project(y)
        seen = self._seen[layer][-self._network.config.memory :]
        ages = range(len(seen), -1, -1)
        pairs = [self._anchors[layer], *seen, (keys, values)]
        all_keys, all_values = (torch.cat(parts, 2) for parts in zip(*pairs, strict=True))
        self._seen[layer] = [*seen, (keys, values)]
        return attention.merge(y, attend(query, all_keys, all_values, attention.bias(ages).to(query.dtype)))

    def _recall(self, index: int, y: Tensor) -> Tensor:
        before = self._features.get(index)
        self._features[index] = y
        return torch.zeros_like(y) if before is None else before


def restored(network: EmbeddedNetwork, batch: Batch, precision: torch.dtype) -> Tensor:
    """All frames of a batch [B, T, 3, H, W], each told of the one before; gradients leave out its lead."""
    narrow = torch.autocast(batch.truth.device.type, precision, enabled=precision != torch.float32)
    with narrow:
        rollout = Rollout(network, batch.mode, batch.levels)
    frames: list[Tensor] = []
    for t, (x, base) in enumerate(zip(batch.inputs.unbind(1), batch.base.unbind(1), strict=True)):
        with torch.set_grad_enabled(torch.is_grad_enabled() and t >= batch.lead):
            told = before(batch, frames, base)
            with narrow:
                residual = rollout.step(x if told is None else torch.cat([x, told], 1))
            pixels = to_pixels(residual.float())
            frames.append(base + (pixels if batch.mask is None else pixels * batch.mask[:, t]))
    return torch.stack(frames, 1)


def before(batch: Batch, frames: list[Tensor], base: Tensor) -> Tensor | None:
    """The hint of the latest of `frames` for the next estimate, None where the mode takes none."""
    hints = MODES[batch.mode].hints
    if not hints:
        return None
    side = round(hints**0.5)
    now = luma(F.pixel_unshuffle(base, side))
    if not frames:
        return torch.zeros_like(now)
    assert batch.motion is not None
    shown = luma(F.pixel_unshuffle(frames[-1], side)).clamp(0, 1)
    return hint(shown, now, batch.motion[:, len(frames) - 1])
