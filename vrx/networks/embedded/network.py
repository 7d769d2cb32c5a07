"""The embedded network for pictures that keep their size: a small causal one-step restorer, deblurring and inpainting.

Convolutions do the spatial work on a grid of one position per 4 x 4 output pixels; some of them also
see what their block was given one frame before (a causal convolution in time, streamed by a feature
cache as in Wan's video autoencoder).  Two window attention layers on half that grid look into a
rolling KV cache of earlier frames and at a few tokens of a reference frame (the streaming scheme of
InfVSR, section 3.2, at toy size).  It predicts a residual to a classical estimate.  Knows tensors; does
not know files, threads, chunks or scenes.

Legend: B batch, T frames, C channels, H and W grid positions, N windows x B, S tokens of a window,
L heads, D width of a head.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks.cache import FeatureCache, KVCache
from vrx.networks.published import Given, NetworkConfig, PublishedNetwork, Shapes, count_entries
from vrx.networks.windows import from_windows, to_windows, window_count, window_offsets

OfLayer = Callable[[int, Tensor], Tensor]  # a layer's index and its map to a map

LEVELS = 3  # conditions: blur sigma / 4, strength, whether the strength is known
SIGMA_UNIT = 4.0  # pixels; sigma enters as a fraction of this


@dataclass(frozen=True, kw_only=True)
class Mode:
    """What one use of the network takes and gives at a grid position: `inputs` channels and `outputs`, 3 x 4 x 4."""

    inputs: int
    outputs: int = 48


MODES: dict[str, Mode] = {
    "deblur": Mode(inputs=102),
    "inpaint": Mode(inputs=70),
}


@dataclass(frozen=True, kw_only=True)
class EmbeddedConfig(NetworkConfig):
    """Sizes of the network.

    `full`: channels on the grid, where every position holds 4 x 4 pixels to keep; `coarse`: on half the
    grid.  `before`, `middle`, `after`: residual blocks on the grid, on half of it (shared by all modes),
    and on the grid again (a set a mode).  `recall`: the blocks, counted in that order, that see the frame before.
    `heads` divide `coarse`; `window` is the side of an attention window on the half grid; `memory` the
    earlier frames kept; `reference` the side of the reference frame's token grid.
    """

    COUNTS = frozenset(("before", "middle", "after"))
    LIMITS: ClassVar[Mapping[str, int]] = {"window": 32, "reference": 32, "memory": 64}

    full: int
    coarse: int
    before: int
    middle: int
    after: int
    recall: tuple[int, ...]
    heads: int
    window: int
    memory: int
    reference: int

    def __post_init__(self) -> None:
        if self.coarse % self.heads:
            raise ValueError(f"{self.coarse} channels do not divide into {self.heads} heads")
        if self.window % 2:
            raise ValueError(f"window side {self.window} is odd, so it cannot be shifted by half")
        object.__setattr__(self, "recall", tuple(self.recall))  # JSON has lists only

    @property
    def widths(self) -> list[int]:
        """Channels of the blocks, in order."""
        return [self.full] * self.before + [self.coarse] * self.middle + [self.full] * self.after

    @property
    def tokens(self) -> int:
        """Tokens of one window of one frame."""
        return self.window**2

    @property
    def sink_tokens(self) -> int:
        """Tokens of the reference frame."""
        return self.reference**2

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> EmbeddedConfig:
        """See `NetworkConfig`."""
        mode = next(iter(MODES))
        before, middle, after = (
            count_entries(shapes, prefix)
            for prefix in (f"families.{mode}.before.", "middle.", f"families.{mode}.after.")
        )
        blocks = [f"families.{mode}.before.{i}" for i in range(before)]
        blocks += [f"middle.{i}" for i in range(middle)]
        blocks += [f"families.{mode}.after.{i}" for i in range(after)]
        heads, ages, offsets = shapes["attention.0.near"]
        found = {
            "full": shapes[f"heads.{mode}.weight"][1],
            "coarse": shapes["attention.0.out.weight"][0],
            "before": before,
            "middle": middle,
            "after": after,
            "recall": tuple(i for i, block in enumerate(blocks) if f"{block}.past.weight" in shapes),
            "heads": heads,
            "window": (math.isqrt(offsets) + 1) // 2,
            "memory": ages - 1,
            "reference": math.isqrt(shapes["attention.0.far"][1]),
        }
        return cls(**{**found, **given})


SMALL = EmbeddedConfig(
    full=64,
    coarse=96,
    before=2,
    middle=3,
    after=3,
    recall=(0, 1, 3, 5, 7),
    heads=1,
    window=8,
    memory=2,
    reference=4,
)


@dataclass
class Memory:
    """State of a scene: keys and values, and features of the latest frame."""

    cache: KVCache
    features: FeatureCache

    def copy(self) -> Memory:
        """An independent copy."""
        return Memory(self.cache.copy(), self.features.copy())

    def tensors(self) -> dict[str, Tensor]:
        """All state by name, to save."""
        return self.cache.tensors() | self.features.tensors()

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave; the shapes must agree."""
        self.cache.restore(tensors)
        self.features.restore(tensors)


def attend(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """softmax(Q K^T + bias) V; query [N, L, S, D], keys and values [N, L, K, D], bias [1, L, S, K].

    Written out on a CPU, where the fused kernel takes twice the time for windows this small.
    """
    if query.is_cuda:
        return F.scaled_dot_product_attention(query, keys, values, bias, scale=1.0)
    logits = torch.matmul(query, keys.transpose(-1, -2))
    return torch.matmul((logits + bias).softmax(-1), values)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions around one activation, added to their input.

    With `recalls` the first one also spans what the block was given one frame before.
    """

    def __init__(self, channels: int, recalls: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.past = nn.Conv2d(channels, channels, 3, padding=1, bias=False) if recalls else None
        nn.init.kaiming_normal_(self.first.weight, a=0.1, nonlinearity="leaky_relu")
        nn.init.normal_(self.second.weight, std=0.3 / (9 * channels) ** 0.5)
        nn.init.zeros_(self.first.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]
        if self.past is not None:
            nn.init.zeros_(self.past.weight)

    def forward(self, x: Tensor, shift: Tensor, before: Tensor | None) -> Tensor:
        """[N, C, H, W] and the same of the frame before to the same; `shift` [N, C, 1, 1] carries the conditions."""
        if len(shift) == 1:  # one scene: the shift is part of the bias, which costs nothing
            assert self.first.bias is not None
            hidden = F.conv2d(x, self.first.weight, self.first.bias + shift.flatten(), padding=1)
        else:
            hidden = self.first(x) + shift
        if self.past is not None and before is not None:
            hidden = hidden.add_(self.past(before))
        out: Tensor = self.second(F.leaky_relu(hidden, 0.1, inplace=True))
        return out.add_(x)


class WindowAttention(nn.Module):
    """Attention of a frame's windows to the same windows of this and earlier frames, and to the reference.

    Keys and queries are normalized over a head's width (query-key normalization); a learned bias knows
    the offset inside the window and the age of the frame.
    """

    def __init__(self, config: EmbeddedConfig, shift: int) -> None:
        super().__init__()
        self.config, self.shift = config, shift
        width = config.coarse
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.sharpness = nn.Parameter(torch.full((config.heads,), 2 * (width // config.heads) ** -0.5))
        span = 2 * config.window - 1
        self.near = nn.Parameter(torch.zeros(config.heads, config.memory + 1, span * span))
        self.far = nn.Parameter(torch.full((config.heads, config.sink_tokens), -2.0))
        nn.init.normal_(self.out.weight, std=0.02)
        nn.init.zeros_(self.out.bias)
        self.register_buffer("offsets", window_offsets(config.window), persistent=False)
        self._biases: dict[tuple[int, ...], Tensor] = {}  # by ages
        self._bias_weights: tuple[tuple[int, int], ...] = ()  # where those are that they were made from

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [N, L, S, D] of a map [B, C, H, W]."""
        tokens = to_windows(x, self.config.window, self.shift)  # [N, S, C]
        return self.split(self.qkv(tokens))

    def split(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[N, S, 3C] to normalized queries and keys, and values, each [N, L, S, D]."""
        count, length, _ = qkv.shape
        q, k, v = qkv.view(count, length, 3, self.config.heads, -1).unbind(2)
        width = q.shape[-1:]
        q = F.layer_norm(q, width) * self.sharpness.view(-1, 1).to(q.dtype)
        return q.transpose(1, 2), F.layer_norm(k, width).transpose(1, 2), v.transpose(1, 2)

    def sink(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [N, L, sink_tokens, D] of a reference map [B, C, H, W], for every window."""
        windows = window_count(x.shape[-2:], self.config.window)
        pooled = F.adaptive_avg_pool2d(x.float(), self.config.reference).to(x.dtype)
        _, k, v = self.split(self.qkv(pooled.flatten(2).transpose(1, 2)))
        return k.repeat_interleave(windows, 0), v.repeat_interleave(windows, 0)

    def bias(self, ages: Sequence[int]) -> Tensor:
        """What is added to the logits [1, L, S, sink_tokens + S x len(ages)]; kept while only inference goes on."""
        if not torch.is_inference_mode_enabled():
            self._biases.clear()
            return self.make_bias(ages)
        weights = tuple((x.data_ptr(), 0 if x.is_inference() else x._version) for x in (self.near, self.far))
        if weights != self._bias_weights:  # others were loaded
            self._biases.clear()
            self._bias_weights = weights
        key = tuple(ages)
        if key not in self._biases:
            self._biases[key] = self.make_bias(ages)
        return self._biases[key]

    def make_bias(self, ages: Sequence[int]) -> Tensor:
        """As `bias`, from the weights."""
        near = self.near[:, list(ages)][:, :, cast(Tensor, self.offsets)]  # [L, ages, S, S]
        near = near.permute(0, 2, 1, 3).flatten(2)
        far = self.far[:, None].expand(-1, self.config.tokens, -1)
        return torch.cat([far, near], -1)[None]

    def merge(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add the attended windows [N, L, S, D] to the map they came from."""
        tokens = self.out(attended.transpose(1, 2).flatten(2))
        return x + from_windows(tokens, x.shape, self.config.window, self.shift)

    def step(self, x: Tensor, layer: int, cache: KVCache, is_reference: bool) -> Tensor:
        """One frame [B, C, H, W]; `is_reference` makes it the reference frame."""
        if is_reference:
            cache.set_sink(layer, *self.sink(x))
        q, k, v = self.project(x)
        ages = cache.ages()
        keys, values = cache.write(layer, k, v)
        mask = self.bias(ages).to(q.dtype)
        return self.merge(x, attend(q, keys, values, mask))


class FineBlocks(nn.Module):
    """What a mode does on the grid itself: blocks before and after the shared middle."""

    def __init__(self, config: EmbeddedConfig) -> None:
        super().__init__()
        width, after, recall = config.full, config.before + config.middle, config.recall
        self.before = nn.ModuleList(ResidualBlock(width, i in recall) for i in range(config.before))
        self.down = nn.Conv2d(width, config.coarse, 2, stride=2)
        self.up = nn.Conv2d(config.coarse, 4 * width, 1)
        self.after = nn.ModuleList(ResidualBlock(width, after + i in recall) for i in range(config.after))


class EmbeddedNetwork(PublishedNetwork):
    """The whole network; `step` walks one frame at a time over a memory."""

    CONFIG = EmbeddedConfig
    SIGNATURE = "attention.0.near"

    def __init__(self, config: EmbeddedConfig) -> None:
        super().__init__()
        self.config = config
        coarse, width = config.coarse, config.full
        self.stems = nn.ModuleDict({name: nn.Conv2d(mode.inputs, width, 3, padding=1) for name, mode in MODES.items()})
        self.families = nn.ModuleDict({name: FineBlocks(config) for name in MODES})
        self.middle = nn.ModuleList(
            ResidualBlock(coarse, config.before + i in config.recall) for i in range(config.middle)
        )
        self.attention = nn.ModuleList(WindowAttention(config, shift) for shift in (0, config.window // 2))
        self.heads = nn.ModuleDict({name: nn.Conv2d(width, mode.outputs, 3, padding=1) for name, mode in MODES.items()})
        self.conditions = nn.ModuleDict({name: nn.Linear(LEVELS, sum(config.widths)) for name in MODES})
        for layer in (*self.conditions.values(), *self.heads.values()):
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def attention_layer(self, layer: int) -> WindowAttention:
        """An attention layer."""
        return cast(WindowAttention, self.attention[layer])

    @property
    def weight(self) -> Tensor:
        """Some weight: its device and type are the network's."""
        return self.attention_layer(0).qkv.weight

    def shifts(self, mode: str, levels: Tensor) -> list[Tensor]:
        """The blocks' shifts [B, C, 1, 1] under conditions `levels` [B, LEVELS]."""
        return [s[..., None, None] for s in self.conditions[mode](levels).split(self.config.widths, -1)]

    def allocate(self, height: int, width: int, batch: int = 1) -> Memory:
        """An empty memory for a grid of height x width positions (half of it is attended on)."""
        config = self.config
        half = ((height + 1) // 2, (width + 1) // 2)
        windows = batch * window_count(half, config.window)
        shape = (len(self.attention), windows, config.heads, config.coarse // config.heads)
        cache = KVCache.allocate(shape, config.memory * config.tokens, config.tokens, config.sink_tokens, self.weight)
        features = []
        for index, channels in enumerate(config.widths):
            if index in config.recall:
                size = half if config.before <= index < config.before + config.middle else [2 * side for side in half]
                features.append(self.weight.new_zeros(batch, channels, *size))
        return Memory(cache, FeatureCache(features))

    def step(self, mode: str, x: Tensor, levels: Tensor, memory: Memory, is_reference: bool) -> Tensor:
        """One frame [B, inputs, H, W] to its residual [B, outputs, H, W]; `memory` moves on by a frame.

        `levels` [B, LEVELS]; `is_reference` makes this frame the reference: always for a scene's first.
        """

        def attend_layer(index: int, y: Tensor) -> Tensor:
            return self.attention_layer(index).step(y, index, memory.cache, is_reference)

        out = self.walk(mode, x, self.shifts(mode, levels), attend_layer, memory.features.swap)
        memory.cache.advance(self.config.tokens)
        memory.features.advance()
        return out

    def walk(self, mode: str, x: Tensor, shifts: list[Tensor], attend: OfLayer, previous: OfLayer) -> Tensor:
        """The layers in order; only `attend` and `previous` (features of the frame before) look beyond a frame."""
        height, width = x.shape[-2:]
        x = F.pad(x, (0, width % 2, 0, height % 2), mode="replicate")
        x = self.stems[mode](x)
        fine = cast(FineBlocks, self.families[mode])
        remaining = iter(shifts)
        places = count()

        def run(block: nn.Module, x: Tensor) -> Tensor:
            before = None if cast(ResidualBlock, block).past is None else previous(next(places), x)
            return cast(Tensor, block(x, next(remaining), before))

        for block in fine.before:
            x = run(block, x)
        y = fine.down(x)
        for index, block in enumerate(self.middle):
            y = run(block, y)
            if index < len(self.attention):
                y = attend(index, y)
        x = x + F.pixel_shuffle(fine.up(y), 2)
        for block in fine.after:
            x = run(block, x)
        out: Tensor = self.heads[mode](x)
        return out[..., :height, :width]
