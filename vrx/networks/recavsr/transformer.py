"""ReCaVSR's transformer (arXiv 2609.37831): Wan 2.2 TI2V 5B in one step, block after block.

The enlarged source enters as tokens of a causal projection, the last latents of the block before by another one.  All
latent frames of a block see each other, and what their layer keeps of earlier ones, in a window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks.causal_conv import ConvCache
from vrx.networks.flashvsr.projection import convolve_by_products
from vrx.networks.norms import ChannelRMSNorm
from vrx.networks.published import Given, Shapes
from vrx.networks.recavsr.history import RELEASED, Anchors, History, check_actions
from vrx.networks.wan.guided import COLORS, FOLD, GuidedConfig, GuidedTransformer, guided_sizes
from vrx.networks.wan.rope import rope
from vrx.networks.wan.transformer import Conditions
from vrx.networks.window_attention import Window, attend

TIMESTEP = 1000.0  # of its only step: pure noise, sigma 1
SPATIAL_WINDOW = (22, 40)  # rows and columns of tokens
KERNEL, STRIDE = 4, 2  # frames of a convolution, and between two of them
RECYCLED = 2  # latent frames of the block before that come in again
SPLIT = 8  # frames that are projected at once


@dataclass(frozen=True, kw_only=True)
class RecycledConfig(GuidedConfig):
    """Sizes; the defaults are the published ones.

    `actions`: what each layer keeps of earlier latent frames.  `spatial_window`: rows and columns of tokens around a
    token, moved inward at borders.
    """

    actions: tuple[str, ...] = RELEASED
    anchors: Anchors = Anchors()  # noqa: RUF009  # frozen
    spatial_window: tuple[int, int] = SPATIAL_WINDOW

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> RecycledConfig:
        """See `NetworkConfig`; `given` is the published configuration, of which heads, eps and the table count.

        Raises ValueError where it asks for what is not known here.
        """
        found = guided_sizes(shapes, given)
        router: dict[str, Any] = given.get("static_kv_router") or {}
        stated: dict[str, int] = router.get("anchor") or {}
        usual = Anchors()
        anchors = Anchors(
            stated.get("initial_index", usual.first),
            stated.get("stride_latents", usual.stride),
            stated.get("capacity_latents", usual.most),
        )
        return cls(
            **found,
            actions=check_actions(router.get("layer_actions") or RELEASED, found["num_layers"]),
            anchors=anchors,
            spatial_window=tuple(given.get("spatial_window") or SPATIAL_WINDOW),
        )


class SourceProjection(nn.Module):
    """The enlarged source to tokens, one for 32 x 32 pixels of four frames; a scene's first frame alone gives one."""

    def __init__(self, dims: tuple[int, int], out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(COLORS * FOLD**2, dims[0], (KERNEL, 3, 3), (STRIDE, 1, 1))
        self.norm1 = ChannelRMSNorm(dims[0], 3)
        self.conv2 = nn.Conv3d(*dims, (KERNEL, 3, 3), (STRIDE, 2, 2))
        self.norm2 = ChannelRMSNorm(dims[1], 3)
        self.out_proj = nn.Linear(dims[1], out)

    def forward(self, video: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
        """The next frames [1, 3, T, H, W] in -1..1, sides multiples of 32, to [1, D, F, rows, columns]; any T.

        What the convolutions wait for is in the cache, so the tokens are those of all frames at once.
        """
        cache, found = cache.fork(), []
        for part in video.split(SPLIT, 2):
            x = F.pixel_unshuffle(part.transpose(1, 2), FOLD).transpose(1, 2)  # color, row, column
            for name in ("1", "2"):
                x = self.convolve(name, x, cache)
            found.append(self.out_proj(x.movedim(1, -1)).movedim(-1, 1))
        return torch.cat(found, 2), cache

    def convolve(self, name: str, x: Tensor, cache: ConvCache) -> Tensor:
        """One convolution in time and space, its norm and SiLU; as many frames as there is an input for."""
        conv, norm = getattr(self, f"conv{name}"), getattr(self, f"norm{name}")
        waiting = cache.store.get(name)
        if waiting is None and x.shape[2]:
            waiting = x[:, :, :1].repeat(1, 1, KERNEL - 1, 1, 1)
        if waiting is not None:
            x = torch.cat([waiting, x], 2)
        count = max(0, (x.shape[2] - KERNEL) // STRIDE + 1)
        if waiting is not None:
            cache.store[name] = x[:, :, STRIDE * count :].clone()
        padded = F.pad(x, (1, 1, 1, 1))
        if not count:
            sides = (side // step for side, step in zip(x.shape[-2:], conv.stride[1:], strict=True))
            return x.new_zeros(x.shape[0], conv.out_channels, 0, *sides)
        y = convolve_by_products(conv, padded) if x.is_cuda else conv(padded)
        return F.silu(norm(y))


class RecycledTransformer(GuidedTransformer):
    """Noise, the source's tokens and the last result to the next latents; see the module.

    Only differences in time enter its attention, so positions grow with the scene, where the release holds them in an
    interval of 22: the same numbers, and keys are rotated once.
    """

    CONFIG = RecycledConfig
    SIGNATURE = "sr_proj.weight"
    config: RecycledConfig

    def __init__(self, config: RecycledConfig) -> None:
        super().__init__(config)
        self.lq_proj = SourceProjection(config.lq_dims, config.dim)
        self.sr_proj = nn.Linear(config.dim, config.dim)

    def project(self, video: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
        """The source's next frames [1, 3, T, H, W] in -1..1 to [1, D, F, rows, columns]: see `SourceProjection`."""
        found: tuple[Tensor, ConvCache] = self.lq_proj(video.to(self.patch_embedding.weight.dtype), cache)
        return found

    def recycle(self, latents: Tensor) -> Tensor:
        """Tokens [1, N, D] of latents [1, C, F, h, w] that come in again."""
        out: Tensor = self.sr_proj(self.tokens(latents).to(self.sr_proj.weight.dtype))
        return out.float()

    def allocate_history(self) -> History:
        """Nothing kept yet."""
        return History(self.config.actions, self.config.anchors)

    def predict(
        self, noise: Tensor, source: Tensor, before: Tensor | None, conditions: Conditions, history: History
    ) -> Tensor:
        """What is to be taken off the noise [1, C, F, h, w] of the next block, float32; the history moves on.

        `source`: its tokens [1, D, F, rows, columns]; `before`: the last latents [1, C, 2, h, w], None where a scene
        begins.
        """
        grid = self.grid(noise)
        frames, count = grid[0], grid[1] * grid[2]
        freqs = rope(grid, history.count, self.config.head_dim, noise.device)
        window = Window(*self.config.spatial_window, inward=True)
        recycled = self.recycle(torch.zeros_like(noise) if before is None else before)

        def attended(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys, values = history.write(layer, k, v, frames)
            return attend(q, keys, values, grid[1:], (window,) * (keys.shape[2] // count))

        tokens = source.flatten(2).transpose(1, 2).float() + recycled
        prediction = self.run(noise, conditions, freqs, attended, [tokens])
        history.advance(frames)
        return prediction
