"""Caches of causal networks: rolling KV caches, and features of the previous frame.

Knows positions and slots; does not know what a token is, who attends, or what a chunk of video is.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

# chunks of a window, up to which it is copied beside every new one rather than kept in a ring with room for it
SHORT = 3


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
        require_whole_chunks(self.window, self.chunk)
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
        """All there is to save, by name."""
        return filled_slots(self.keys, self.values, self.sink_tokens + min(self.end, self.slots), self.end)

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave; the shapes must agree."""
        self.end = take_back(self.keys, self.values, tensors)


@dataclass
class WindowCache:
    """Keys and values of exactly the window, for every layer: without the room for a chunk that every ring has.

    `states`: [2, layers, B, heads, window, D], keys and values in a ring; `desk`, [2, B, heads, window + chunk, D], is
    where a layer's window and its new tokens lie side by side, the same memory for all layers.
    Of a window as long as the chunk that is half of a `KVCache`, for a copy of the window in every layer.  A write
    takes the place of what no later one sees: a chunk that failed half-way cannot be run again.
    """

    states: Tensor
    desk: Tensor
    end: int = 0

    @classmethod
    def allocate(cls, shape: tuple[int, int, int, int], window: int, chunk: int, like: Tensor) -> WindowCache:
        """An empty cache; see `KVCache.allocate`."""
        layers, batch, heads, width = shape
        states = like.new_empty(2, layers, batch, heads, window, width)
        return cls(states, like.new_empty(2, batch, heads, window + chunk, width))

    @property
    def keys(self) -> Tensor:
        """[layers, B, heads, window, D]."""
        return self.states[0]

    @property
    def values(self) -> Tensor:
        """[layers, B, heads, window, D]."""
        return self.states[1]

    @property
    def window(self) -> int:
        """Tokens before a write that it sees."""
        return self.states.shape[4]

    @property
    def chunk(self) -> int:
        """The usual size of a write."""
        return self.desk.shape[3] - self.window

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values."""
        return self.states.nbytes + self.desk.nbytes

    @property
    def full(self) -> bool:
        """See `KVCache`."""
        return self.end >= self.window

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store new tokens [B, heads, count, D]; return all they may attend to, in slot order, the new ones last.

        Views, which the next write of any layer changes.
        """
        count, before = keys.shape[2], min(self.end, self.window)
        if count > (self.desk.shape[3] if self.end == 0 else self.chunk):
            raise ValueError(f"a write takes {self.chunk} tokens, the first {self.desk.shape[3]}; got {count}")
        store, seen = self.states[:, layer], self.desk[:, :, :, : before + count]
        if before:
            seen[:, :, :, :before] = store[:, :, :, :before]
        seen[0, :, :, before:], seen[1, :, :, before:] = keys, values
        fresh = min(count, self.window)  # of the new tokens, those that a later write may see
        new, start = seen[:, :, :, before + count - fresh :], (self.end + count - fresh) % max(1, self.window)
        straight = min(fresh, self.window - start)  # up to the end of the ring
        store[:, :, :, start : start + straight] = new[:, :, :, :straight]
        if straight < fresh:
            store[:, :, :, : fresh - straight] = new[:, :, :, straight:]
        return seen[0], seen[1]

    def ages(self) -> list[int]:
        """See `KVCache`."""
        require_whole_chunks(self.window, self.chunk)
        now, capacity = self.end // self.chunk, self.window // self.chunk
        return [(now - 1 - slot) % capacity + 1 for slot in range(min(now, capacity))] + [0]

    def advance(self, count: int) -> None:
        """Commit `count` tokens: once a chunk, after the last layer."""
        self.end += count

    def to(self, device: torch.device) -> WindowCache:
        """The same on a device; itself where it is there already."""
        states = self.states.to(device)
        return self if states is self.states else WindowCache(states, self.desk.to(device), self.end)

    def tensors(self) -> dict[str, Tensor]:
        """All there is to save, by name."""
        return filled_slots(self.keys, self.values, min(self.end, self.window), self.end)

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave; the shapes must agree."""
        self.end = take_back(self.keys, self.values, tensors)


def require_whole_chunks(window: int, chunk: int) -> None:
    """Raises ValueError for a window of something else."""
    if window % chunk:
        raise ValueError(f"window of {window} tokens is not a multiple of the chunk of {chunk}")


def filled_slots(keys: Tensor, values: Tensor, filled: int, end: int) -> dict[str, Tensor]:
    """A cache to save, by name; slots never written are zeroed so that files are equal."""
    keys, values = keys.clone(), values.clone()
    keys[:, :, :, filled:] = 0
    values[:, :, :, filled:] = 0
    return {"keys": keys, "values": values, "end": torch.tensor(end)}


def take_back(keys: Tensor, values: Tensor, tensors: dict[str, Tensor]) -> int:
    """Fill a cache with what `filled_slots` gave, and return its end."""
    if tensors["keys"].shape != keys.shape:
        raise ValueError(f"saved cache is {tuple(tensors['keys'].shape)}, this one {tuple(keys.shape)}")
    keys.copy_(tensors["keys"])
    values.copy_(tensors["values"])
    return int(tensors["end"])


Rolling = KVCache | WindowCache


def allocate_rolling(shape: tuple[int, int, int, int], window: int, chunk: int, like: Tensor) -> Rolling:
    """An empty cache that takes little memory for a short window, and copies nothing of a long one."""
    if window <= SHORT * chunk:
        return WindowCache.allocate(shape, window, chunk, like)
    return KVCache.allocate(shape, window, chunk, 0, like)


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
