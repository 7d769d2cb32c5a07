"""The embedded network over a batch of clips, frame after frame, with gradients through all of them.

The same layers as `EmbeddedNetwork.step`, but what earlier frames left is kept in lists instead of rings
that are written over.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vrx.networks.embedded.grid import to_pixels
from vrx.networks.embedded.network import EmbeddedNetwork, attend
from vrx.train.batches import Batch


class Rollout:
    """Clips under way; conditions [B, LEVELS]."""

    def __init__(self, network: EmbeddedNetwork, mode: str, levels: Tensor) -> None:
        self._network, self._mode = network, mode
        self._shifts = network.shifts(mode, levels)
        self._sinks: list[tuple[Tensor, Tensor]] = []
        self._seen: list[list[tuple[Tensor, Tensor]]] = [[] for _ in network.attention]
        self._features: dict[int, Tensor] = {}

    def step(self, x: Tensor) -> Tensor:
        """The next frame of every clip [B, inputs, H, W] to its residual [B, outputs, H, W]."""
        return self._network.walk(self._mode, x, self._shifts, self._look, self._recall)

    def _look(self, layer: int, y: Tensor) -> Tensor:
        attention = self._network.attention_layer(layer)
        if len(self._sinks) == layer:  # a clip's first frame is its reference
            self._sinks.append(attention.sink(y))
        query, keys, values = attention.project(y)
        seen = self._seen[layer][-self._network.config.memory :]
        ages = range(len(seen), -1, -1)
        pairs = [self._sinks[layer], *seen, (keys, values)]
        all_keys, all_values = (torch.cat(parts, 2) for parts in zip(*pairs, strict=True))
        self._seen[layer] = [*seen, (keys, values)]
        return attention.merge(y, attend(query, all_keys, all_values, attention.bias(ages).to(query.dtype)))

    def _recall(self, index: int, y: Tensor) -> Tensor:
        before = self._features.get(index)
        self._features[index] = y
        return torch.zeros_like(y) if before is None else before


def restored(network: EmbeddedNetwork, batch: Batch, precision: torch.dtype) -> Tensor:
    """All frames of a batch [B, T, 3, H, W]."""
    with torch.autocast(batch.truth.device.type, precision, enabled=precision != torch.float32):
        rollout = Rollout(network, batch.mode, batch.levels)
        residuals = [rollout.step(x) for x in batch.inputs.unbind(1)]
    pixels = torch.stack([to_pixels(residual.float()) for residual in residuals], 1)
    return batch.base + (pixels if batch.mask is None else pixels * batch.mask)
