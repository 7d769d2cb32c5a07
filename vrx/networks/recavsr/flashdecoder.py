"""ReCaVSR's FlashDecoder (arXiv 2609.37831): latents to pixels, the enlarged source beside them, a latent at a time.

A latent frame becomes four frames, a scene's first one only the last of them.  Attention sees the latent before, then
the four frames before, in windows that are cut at borders.

Legend: B = 1, h x w latents and tokens, N = h w, D width, T frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks.constants import constant_like
from vrx.networks.grouped_attention import (
    ROPE_BASE,
    ROPE_WIDTHS,
    FrameMemory,
    GroupedAttention,
    GroupedBlock,
    View,
    backbone_sizes,
    run_blocks,
)
from vrx.networks.published import Given, NetworkConfig, PublishedNetwork, Shapes, check_required, count_entries
from vrx.networks.wan.residual_decoder import DEVIATION, MEAN
from vrx.networks.window_attention import Window

FRAMES = 4  # of a latent
FOLD = 16  # pixels a side of a latent
COLORS = 3
REQUIRED = {
    "rope": list(ROPE_WIDTHS),
    "rope_theta": ROPE_BASE,
    "temporal_factor": FRAMES,
    "spatial_factor": FOLD,
}


@dataclass(frozen=True, kw_only=True)
class FlashDecoderConfig(NetworkConfig):
    """Sizes; the defaults are those of variant S.

    `window_size`: latents that a latent sees, itself among them.  `spatial_window_size`: rows and columns of tokens.
    """

    COUNTS = frozenset(("depth", "refinement_depth"))

    dim: int = 512
    depth: int = 12
    refinement_depth: int = 2
    num_heads: int = 8
    num_kv_groups: int = 2
    ffn_dim: int = 2048
    channels: int = 48
    lr_dim: int = 48
    spatial_head_dim: int = 2048
    window_size: int = 2
    spatial_window_size: tuple[int, int] = (24, 24)

    def __post_init__(self) -> None:
        object.__setattr__(self, "spatial_window_size", tuple(self.spatial_window_size))
        if self.window_size < 1 or min(self.spatial_window_size) < 1 or self.num_heads % self.num_kv_groups:
            raise ValueError("a window of no tokens or no frames, or heads that do not divide into groups")

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> FlashDecoderConfig:
        """See `NetworkConfig`; `given` is the published configuration, of which windows count.

        Raises ValueError where it asks for what is not known here.
        """
        check_required(given, REQUIRED)
        found: dict[str, Any] = {
            "dim": shapes["latent_projection.weight"][0],
            "channels": shapes["latent_projection.weight"][1],
            **backbone_sizes(shapes),
            "refinement_depth": count_entries(shapes, "temporal_refinement.blocks."),
            "lr_dim": shapes["lr_stem.weight"][0],
            "spatial_head_dim": shapes["spatial_projection.0.weight"][0],
        }
        return cls(**found, **{name: given[name] for name in ("window_size", "spatial_window_size") if name in given})


class FeedForward(nn.Module):
    """SiLU of one projection times another, projected back."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(dim, hidden), nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] to the same."""
        out: Tensor = self.down(F.silu(self.gate(x)) * self.up(x))
        return out


class Blocks(nn.Module):
    """Layers that see some kept frames and their own."""

    def __init__(self, config: FlashDecoderConfig, depth: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            GroupedBlock(
                config.dim,
                GroupedAttention(config.dim, config.num_heads, config.num_kv_groups),
                FeedForward(config.dim, config.ffn_dim),
            )
            for _ in range(depth)
        )

    def forward(self, x: Tensor, kept: Sequence[FrameMemory], view: View) -> tuple[Tensor, FrameMemory]:
        """Tokens [B, frames N, D] to the same, and their own keys and values."""
        return run_blocks(self.blocks, x, kept, view)


@dataclass(frozen=True)
class DecoderMemory:
    """Keys and values of the latents before, oldest first, and of the four frames before; none at a scene's start."""

    latents: tuple[FrameMemory, ...] = field(default=())
    frames: tuple[FrameMemory, ...] = field(default=())

    @property
    def nbytes(self) -> int:
        """Bytes of all of them."""
        return sum(memory.nbytes for memory in (*self.latents, *self.frames))


class FlashDecoder(PublishedNetwork):
    """Latents and the enlarged source to pixels; see the module."""

    CONFIG = FlashDecoderConfig
    SIGNATURE = "lr_early_projection.weight"

    def __init__(self, config: FlashDecoderConfig) -> None:
        super().__init__()
        self.config, dim = config, config.dim
        self.latent_projection = nn.Linear(config.channels, dim)
        self.backbone = Blocks(config, config.depth)
        self.temporal_projection = nn.Linear(dim, FRAMES * dim)
        self.temporal_refinement = Blocks(config, config.refinement_depth)
        self.spatial_projection = nn.Sequential(
            nn.Linear(dim, config.spatial_head_dim), nn.SiLU(), nn.Linear(config.spatial_head_dim, COLORS * FOLD**2)
        )
        self.lr_stem = nn.Linear(COLORS * FOLD**2, config.lr_dim)
        self.lr_early_projection = nn.Linear(FRAMES * config.lr_dim, dim, bias=False)
        self.lr_late_projection = nn.Linear(config.lr_dim, dim, bias=False)

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return self.latent_projection.weight.dtype

    def forward(self, latent: Tensor, source: Tensor, memory: DecoderMemory) -> tuple[Tensor, DecoderMemory]:
        """A normalized latent frame [1, C, h, w] to frames [1, 3, T, 16 h, 16 w], float32, about -1..1.

        `source`: the enlarged frames [1, 3, T, 16 h, 16 w] in -1..1, one at a scene's start, four after it.
        """
        grid = (latent.shape[-2], latent.shape[-1])
        features = self.features(source)
        x = self.latent_projection(self.denormalize(latent).flatten(2).transpose(1, 2).to(self.dtype))
        x = x + self.lr_early_projection(torch.cat(features, -1))
        view = self.view(grid, 1, len(memory.latents))
        x, own = self.backbone(x, memory.latents, view)
        frames = self.temporal_projection(x).chunk(FRAMES, -1)
        y = torch.cat([x + self.lr_late_projection(seen) for x, seen in zip(frames, features, strict=True)], 1)
        y, refined = self.temporal_refinement(y, memory.frames, self.view(grid, FRAMES, FRAMES * len(memory.frames)))
        shown = self.paint(y[:, -source.shape[2] * grid[0] * grid[1] :], grid)
        most = self.config.window_size - 1
        latents = (*memory.latents, own)[-most:] if most else ()
        return shown, replace(memory, latents=latents, frames=(refined,))

    def denormalize(self, latent: Tensor) -> Tensor:
        """A latent times the deviation of its channels, plus their mean; float32."""
        mean, deviation = (constant_like(part, latent).float()[:, None, None] for part in (MEAN, DEVIATION))
        return latent.float() * deviation + mean

    def features(self, source: Tensor) -> list[Tensor]:
        """What four frames say to every token, [1, N, C] each; that of a single one counts for all."""
        folded = F.pixel_unshuffle(source.transpose(1, 2).to(self.dtype), FOLD)  # color, row, column
        found = list(self.lr_stem(folded.flatten(3).transpose(2, 3)).unbind(1))
        return [*found[:1] * (FRAMES - len(found)), *found]

    def view(self, grid: tuple[int, int], own: int, before: int) -> View:
        """What so many frames see: so many before them, and each other."""
        times = tuple(range(-before, own))
        return View(grid, times[before:], times, (Window(*self.config.spatial_window_size),) * len(times))

    def paint(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Tokens [1, T N, D] to pixels [1, 3, T, 16 h, 16 w], float32."""
        values = self.spatial_projection(x).float().unflatten(1, (-1, *grid))  # [1, T, h, w, 768]
        return F.pixel_shuffle(values.movedim(-1, 2), FOLD).transpose(1, 2)
