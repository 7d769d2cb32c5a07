"""Wan's transformer as FlashVSR runs it: noise in, one step at sigma 1, sparse attention over a rolling KV cache.

Weights and names are Wan's own (arXiv 2510.12747, section 3); see `vrx.networks.wan.transformer`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vrx.networks.cache import Rolling, allocate_rolling
from vrx.networks.flashvsr import attention as sparse
from vrx.networks.wan.rope import rope
from vrx.networks.wan.transformer import Conditions, WanTransformer

TIMESTEP = 1000.0  # of its only step: pure noise
FIRST_PAIRS = 3  # frame pairs of a scene's first step; later ones take one
PIXELS = 768 * 1280  # of output, at which the released scripts state their ratio
Observe = Callable[[int, Tensor], None]


@dataclass(frozen=True, kw_only=True)
class SparseOptions:
    """Sparsity: `ratio` of the windows' square attended to, `reach` windows around, `pairs` of frames cached."""

    ratio: float
    reach: int = 11
    pairs: int = 3


def released_ratio(height: int, width: int, share: float = 2.0) -> float:
    """The ratio of the released scripts for an output of height x width pixels; a share of 1.5 is faster."""
    return share * PIXELS / (height * width)


class FlashTransformer:
    """A Wan transformer with the options of its sparse attention."""

    def __init__(self, network: WanTransformer, options: SparseOptions) -> None:
        self.network, self.options = network, options

    def allocate(self, height: int, width: int) -> Rolling:
        """An empty cache for latents of height x width; it holds windows, a frame pair at a time."""
        config = self.network.config
        pair = sparse.WINDOW[0] * (height // config.patch_size[1]) * (width // config.patch_size[2])
        pairs = max(FIRST_PAIRS - 1, self.options.pairs)
        shape = (config.num_layers, 1, config.num_heads, config.head_dim)
        return allocate_rolling(shape, pairs * pair, pair, self.network.patch_embedding.weight)

    def step(
        self,
        noise: Tensor,
        features: list[Tensor],
        conditions: Conditions,
        cache: Rolling,
        observe: Observe | None = None,
    ) -> Tensor:
        """The next latents of a scene: noise [1, C, F, H, W] to the network's prediction, float32.

        F is 6 at first, then 2.  `features[i]` [1, tokens, D] of the LQ projection enter before block i.
        `observe(layer, keep)` sees which windows were kept, key windows oldest first.
        """
        grid = self.network.grid(noise)
        freqs = rope(grid, cache.end // (grid[1] * grid[2]), self.network.config.head_dim, noise.device)
        rows, columns = grid[1] // sparse.WINDOW[1], grid[2] // sparse.WINDOW[2]
        local = sparse.local_range(rows, columns, self.options.reach, noise.device)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            q, k, v = (sparse.to_windows(x, grid) for x in (q, k, v))
            keys, values = cache.write(layer, k, v)
            keep = sparse.select(q, keys, local, self.options.ratio)
            if observe is not None:
                observe(layer, keep[:, :, order_by_age(cache, grid[0] // sparse.WINDOW[0], rows * columns)])
            return sparse.from_windows(sparse.attend(q, keys, values, keep), grid)

        prediction = self.network.run(noise, conditions, freqs, attend, features)
        cache.advance(grid[0] * grid[1] * grid[2])
        return prediction


def order_by_age(cache: Rolling, pairs: int, windows: int) -> Tensor:
    """Key windows in the order of time, as places in the ring."""
    if pairs > 1:
        return torch.arange(pairs * windows)  # a scene's first step
    ages = torch.tensor(cache.ages())
    order = ages.argsort(descending=True)
    return (order[:, None] * windows + torch.arange(windows)).flatten()
