"""RelayVSR's key-frame network (arXiv 2609.37850): Wan 2.2 TI2V 5B in one step, a frame at a time.

The enlarged key frame enters as tokens of a projection; self-attention sees the frame itself and the latest key frames
before it, in a window.  The prompt's rows are among the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks.cache import Rolling
from vrx.networks.norms import ChannelRMSNorm
from vrx.networks.published import Given, Shapes, check_required
from vrx.networks.wan.guided import COLORS, FOLD, GuidedConfig, GuidedTransformer, guided_sizes
from vrx.networks.wan.rope import rope
from vrx.networks.wan.transformer import Conditions
from vrx.networks.window_attention import Window, attend

TIMESTEP = 1000.0  # of its only step: pure noise, sigma 1
POLICY = "fixed_end"  # of positions in time


@dataclass(frozen=True, kw_only=True)
class KeyFrameConfig(GuidedConfig):
    """Sizes; the defaults are the published ones.

    `context_frames`: key frames that one sees, itself among them.  `spatial_window`: rows and columns of tokens around
    a token, moved inward at borders; None for all.  `prompt_rows`: those of the prompt.
    """

    context_frames: int = 4
    spatial_window: tuple[int, int] | None = None
    prompt_rows: int = 512

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> KeyFrameConfig:
        """See `NetworkConfig`; `given` is the published configuration, of which heads, eps and windows count.

        Raises ValueError where it asks for what is not known here.
        """
        found = guided_sizes(shapes, given)
        context = given.get("temporal_context_frames") or cls.context_frames
        check_positions(given.get("temporal_rope") or {}, context)
        window = given.get("spatial_window_size")
        return cls(
            **found,
            context_frames=context,
            spatial_window=None if window is None else tuple(window),
            prompt_rows=shapes["prompt_embeds"][1],
        )


def check_positions(stated: Mapping[str, Any], context: int) -> None:
    """Refuse positions in time that are not known, or that the key frames do not fit.  Raises ValueError."""
    check_required(stated, {"policy": POLICY})
    most = stated.get("training_frames", 8)
    if not 1 <= context <= most:
        raise ValueError(f"temporal_context_frames is {context}; positions were trained for 1 to {most}")


class FrameProjection(nn.Module):
    """A frame to tokens, one for 32 x 32 pixels."""

    def __init__(self, dims: tuple[int, int], out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(COLORS * FOLD**2, dims[0], 1)
        self.norm1 = ChannelRMSNorm(dims[0], 2)
        self.conv2 = nn.Conv2d(*dims, 3, 2, 1)
        self.norm2 = ChannelRMSNorm(dims[1], 2)
        self.out_proj = nn.Linear(dims[1], out)

    def forward(self, frame: Tensor) -> Tensor:
        """[B, 3, H, W] in -1..1, sides multiples of 32, to [B, N, D]."""
        x = F.pixel_unshuffle(frame, FOLD)  # channels in the order color, row, column
        x = F.silu(self.norm1(self.conv1(x)))
        x = F.silu(self.norm2(self.conv2(x)))
        out: Tensor = self.out_proj(x.flatten(2).transpose(1, 2))
        return out


class KeyFrameTransformer(GuidedTransformer):
    """Noise and an enlarged key frame to its latent; see the module.

    Only differences in time enter its attention, so positions grow with the key frames, where the release holds them at
    the length that was trained: the same numbers, and keys are rotated once.
    """

    CONFIG = KeyFrameConfig
    SIGNATURE = "prompt_embeds"
    config: KeyFrameConfig

    def __init__(self, config: KeyFrameConfig) -> None:
        super().__init__(config)
        self.lq_proj = FrameProjection(config.lq_dims, config.dim)
        self.prompt_embeds = nn.Parameter(torch.zeros(1, config.prompt_rows, config.text_dim))

    def prompt_conditions(self) -> Conditions:
        """The timestep and the prompt: the same for every key frame."""
        return self.conditions(TIMESTEP, self.prompt_embeds, pad=False)

    def project(self, frame: Tensor) -> Tensor:
        """Tokens [1, N, D] of an enlarged frame [1, 3, H, W] in -1..1."""
        return self.lq_proj(frame.to(self.patch_embedding.weight.dtype)).float()

    def allocate_ring(self, rows: int, columns: int) -> Rolling:
        """An empty memory of key frames, for so many tokens."""
        _, height, width = self.config.patch_size
        return self.allocate(rows * height, columns * width, self.config.context_frames - 1, 1)

    def predict(self, noise: Tensor, frame: Tensor, conditions: Conditions, cache: Rolling) -> Tensor:
        """What is to be taken off the noise [1, C, 1, h, w] of the next key frame, float32; the cache moves on.

        `frame`: it, enlarged, [1, 3, 16 h, 16 w] in -1..1.
        """
        grid = self.grid(noise)
        count = grid[1] * grid[2]
        freqs = rope(grid, cache.end // count, self.config.head_dim, noise.device)
        sides = self.config.spatial_window or grid[1:]

        def attended(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys, values = cache.write(layer, k, v)
            windows = (Window(*sides, inward=True),) * (keys.shape[2] // count)
            return attend(q, keys, values, grid[1:], windows)

        prediction = self.run(noise, conditions, freqs, attended, [self.project(frame)])
        cache.advance(count)
        return prediction
