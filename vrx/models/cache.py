"""The rolling KV cache of a causal network.

Knows positions and slots; does not know what a token is, who attends, or what a chunk of video is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass
class KVCache:
    """Keys and values of a scene's latest tokens, for every layer, in a ring that never moves.

    `keys`, `values`: [layers, B, heads, anchors + slots, D], already rotated to absolute positions.
    `slots` is window + chunk, in tokens, and a multiple of the chunk: a write never wraps.
    `anchors` tokens stand before the ring and are always seen (a reference frame, a prompt).
    `end` counts the tokens committed since the scene began.
    """

    keys: Tensor
    values: Tensor
    window: int
    chunk: int
    anchors: int
    end: int = 0

    @classmethod
    def allocate(cls, shape: tuple[int, int, int, int], window: int, chunk: int, anchors: int, like: Tensor) -> KVCache:
        """An empty cache; `shape` is (layers, B, heads, D), device and type are those of `like`."""
        if window % chunk:
            raise ValueError(f"window of {window} tokens is not a multiple of the chunk of {chunk}")
        layers, batch, heads, width = shape
        size = (layers, batch, heads, anchors + window + chunk, width)
        return cls(like.new_empty(size), like.new_empty(size), window, chunk, anchors)

    @property
    def slots(self) -> int:
        """Tokens the ring holds."""
        return self.window + self.chunk

    def pin(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Set a layer's anchor tokens, [B, heads, anchors, D]; they stay until pinned again."""
        self.keys[layer, :, :, : self.anchors] = keys
        self.values[layer, :, :, : self.anchors] = values

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store one chunk [B, heads, chunk, D]; return all it may attend to, anchors first.

        The ring follows in slot order, see `ages`.  Nothing counts before `advance`, so a chunk that
        failed half-way is simply run again.
        """
        if keys.shape[2] != self.chunk:
            raise ValueError(f"a write takes {self.chunk} tokens, got {keys.shape[2]}")
        start = self.anchors + self.end % self.slots
        self.keys[layer, :, :, start : start + self.chunk] = keys
        self.values[layer, :, :, start : start + self.chunk] = values
        seen = self.anchors + min(self.end + self.chunk, self.slots)
        return self.keys[layer, :, :, :seen], self.values[layer, :, :, :seen]

    def ages(self) -> list[int]:
        """Age in chunks of every ring slot that the next `write` returns; 0 is the chunk itself."""
        capacity = self.slots // self.chunk
        now = self.end // self.chunk
        filled = min(now + 1, capacity)
        return [(now - slot) % capacity for slot in range(filled)]

    def advance(self, count: int) -> None:
        """Commit `count` tokens: once a chunk, after the last layer."""
        self.end += count

    def copy(self) -> KVCache:
        """An independent copy; writing into one leaves the other as it is."""
        return replace(self, keys=self.keys.clone(), values=self.values.clone())

    def tensors(self) -> dict[str, Tensor]:
        """All there is to save, by name; slots never written are zeroed so that files are equal."""
        filled = self.anchors + min(self.end, self.slots)
        keys, values = self.keys.clone(), self.values.clone()
        keys[:, :, :, filled:] = 0
        values[:, :, :, filled:] = 0
        return {"keys": keys, "values": values, "end": torch.tensor(self.end)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave; the shapes must agree."""
        if tensors["keys"].shape != self.keys.shape:
            raise ValueError(f"saved cache is {tuple(tensors['keys'].shape)}, this one {tuple(self.keys.shape)}")
        self.keys.copy_(tensors["keys"])
        self.values.copy_(tensors["values"])
        self.end = int(tensors["end"])
