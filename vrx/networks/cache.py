"""Caches of causal networks: a rolling KV cache, and features of the previous frame.

Knows positions and slots; does not know what a token is, who attends, or what a chunk of video is.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor


@dataclass
class KVCache:
    """Keys and values of a scene's latest tokens, for every layer, in a ring that never moves.

    `keys`, `values`: [layers, B, heads, sink_tokens + slots, D], already rotated to absolute positions.
    A write sees itself and the `window` tokens before it; `chunk` is the usual size of a write.
    `sink_tokens` are stored before the ring and always seen (a reference frame, a prompt).
    `end` counts the tokens committed since the scene began.
    """

    keys: Tensor
    values: Tensor
    window: int
    chunk: int
    sink_tokens: int
    end: int = 0

    @classmethod
    def allocate(
        cls, shape: tuple[int, int, int, int], window: int, chunk: int, sink_tokens: int, like: Tensor
    ) -> KVCache:
        """An empty cache; `shape` is (layers, B, heads, D), device and type are those of `like`."""
        layers, batch, heads, width = shape
        size = (layers, batch, heads, sink_tokens + window + chunk, width)
        return cls(like.new_empty(size), like.new_empty(size), window, chunk, sink_tokens)

    @property
    def slots(self) -> int:
        """Tokens the ring holds."""
        return self.window + self.chunk

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values."""
        return self.keys.nbytes + self.values.nbytes

    @property
    def full(self) -> bool:
        """Whether the window is: a later write sees no more tokens than the next one."""
        return self.end >= self.window

    def set_sink(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Set a layer's sink tokens, [B, heads, sink_tokens, D]; they stay until set again."""
        self.keys[layer, :, :, : self.sink_tokens] = keys
        self.values[layer, :, :, : self.sink_tokens] = values

    def copy_sink(self, other: KVCache) -> None:
        """Take the sink tokens of another cache's first batch entry for all entries, in every layer."""
        seen = slice(0, self.sink_tokens)
        for own, given in ((self.keys, other.keys), (self.values, other.values)):
            own[:, :, :, seen] = given[:, :1, :, seen]

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store new tokens [B, heads, count, D]; return all they may attend to, sink tokens first.

        The ring follows in slot order (see `ages`), which attention does not mind; views, unless a short
        write leaves tokens in the ring that are older than the window: then a copy without them.
        Nothing counts before `advance`, so a chunk that failed half-way is simply run again.
        """
        count = keys.shape[2]
        if count > (self.slots if self.end == 0 else self.chunk):
            raise ValueError(f"a write takes {self.chunk} tokens, the first {self.slots}; got {count}")
        start = self.end % self.slots
        straight = min(count, self.slots - start)  # up to the end of the ring
        for store, new in ((self.keys[layer], keys), (self.values[layer], values)):
            store[:, :, self.sink_tokens + start : self.sink_tokens + start + straight] = new[:, :, :straight]
            store[:, :, self.sink_tokens : self.sink_tokens + count - straight] = new[:, :, straight:]
        oldest, newest = max(0, self.end - self.window), self.end + count
        if newest - oldest == min(newest, self.slots):
            seen = self.sink_tokens + min(newest, self.slots)
            return self.keys[layer, :, :, :seen], self.values[layer, :, :, :seen]
        wanted = torch.arange(oldest, newest, device=self.keys.device) % self.slots + self.sink_tokens
        places = torch.cat([torch.arange(self.sink_tokens, device=self.keys.device), wanted])
        return self.keys[layer].index_select(2, places), self.values[layer].index_select(2, places)

    def ages(self) -> list[int]:
        """Age in chunks of every ring slot that the next `write` of a whole chunk returns; 0 is the chunk itself.

        For windows of whole chunks, written a chunk at a time.
        """
        if self.window % self.chunk:
            raise ValueError(f"window of {self.window} tokens is not a multiple of the chunk of {self.chunk}")
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

    def to(self, device: torch.device) -> KVCache:
        """The same on a device; itself where it is there already."""
        keys, values = self.keys.to(device), self.values.to(device)
        return self if keys is self.keys else replace(self, keys=keys, values=values)

    def tensors(self) -> dict[str, Tensor]:
        """All there is to save, by name; slots never written are zeroed so that files are equal."""
        filled = self.sink_tokens + min(self.end, self.slots)
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


@dataclass
class FeatureCache:
    """What some layers saw of the frame before, each [B, C, H, W]; zeros before a scene's first frame."""

    features: list[Tensor]
    pending: dict[int, Tensor] = field(default_factory=dict)

    def swap(self, layer: int, x: Tensor) -> Tensor:
        """The layer's map of the frame before; `x` takes its place at the next `advance`."""
        self.pending[layer] = x
        return self.features[layer]

    def advance(self) -> None:
        """Commit a frame: after its last layer."""
        self.features = [self.pending.get(layer, old) for layer, old in enumerate(self.features)]
        self.pending = {}

    def copy(self) -> FeatureCache:
        """An independent copy; layers never write into a map they were given."""
        return FeatureCache(list(self.features))

    def tensors(self) -> dict[str, Tensor]:
        """All there is to save, by name."""
        return {f"features.{layer}": x.contiguous().clone() for layer, x in enumerate(self.features)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave; the shapes must agree."""
        saved = [tensors[f"features.{layer}"].to(x) for layer, x in enumerate(self.features)]
        for new, old in zip(saved, self.features, strict=True):
            if new.shape != old.shape:
                raise ValueError(f"saved features are {tuple(new.shape)}, these {tuple(old.shape)}")
        self.features = saved
