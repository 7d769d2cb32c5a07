"""RelayVSR's small video transformer (arXiv 2609.37850): every frame enlarged by four, with two memories.

The latents of the two key frames around a frame are one, the frames just before it the other.  The network writes the
difference from a bicubic enlargement.  A token is 4 x 4 pixels of the source, as one of the latent.

Legend: B batch, H x W pixels of the source, h x w latents and tokens (a quarter of that), N = h w, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks.grouped_attention import (
    EPSILON,
    HEAD_WIDTH,
    ROPE_BASE,
    ROPE_WIDTHS,
    FrameMemory,
    GroupedAttention,
    GroupedBlock,
    View,
    backbone_sizes,
    run_blocks,
)
from vrx.networks.norms import RMSNorm
from vrx.networks.published import Given, NetworkConfig, PublishedNetwork, Shapes, check_required
from vrx.networks.window_attention import Window, Windows

SCALE = 4
TOKEN = 4  # pixels of the source a side
OUTPUT = TOKEN * SCALE  # pixels of the result a side
COLORS = 3
Sides = tuple[int, int]
REQUIRED: Mapping[str, Any] = {  # what the configuration may say, and the only value that is known
    "condition_mode": "endpoints",
    "upscale_factor": SCALE,
    "rope": list(ROPE_WIDTHS),
    "rope_theta": ROPE_BASE,
}


@dataclass(frozen=True, kw_only=True)
class SmallConfig(NetworkConfig):
    """Sizes; the defaults are those of variant S.

    `window_size`: frames that a frame sees, itself among them.  `start`, `end`, `video` and `condition_self`: rows and
    columns of the windows onto either latent, onto video frames, and of a latent onto itself.
    """

    COUNTS = frozenset(("depth",))

    dim: int = 512
    depth: int = 10
    num_heads: int = 8
    num_kv_groups: int = 2
    ffn_dim: int = 1408
    condition_channels: int = 48
    encoder_channels: tuple[int, int, int] = (64, 128, 128)
    spatial_head_dim: int = 1024
    window_size: int = 2
    start: Sides = (48, 48)
    end: Sides = (48, 48)
    video: Sides = (24, 24)
    condition_self: Sides = (48, 48)

    def __post_init__(self) -> None:
        for name in ("encoder_channels", "start", "end", "video", "condition_self"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.window_size < 1 or min(*self.start, *self.end, *self.video, *self.condition_self) < 1:
            raise ValueError("a window of no tokens or no frames")
        if self.num_heads % self.num_kv_groups:
            raise ValueError(f"{self.num_heads} heads do not divide into {self.num_kv_groups} groups")

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> SmallConfig:
        """See `NetworkConfig`; `given` is the published configuration, of which windows count.

        Raises ValueError where it asks for what is not known here.
        """
        check_required(given, REQUIRED)
        found: dict[str, Any] = {
            "dim": shapes["video_type_embedding"][-1],
            **backbone_sizes(shapes),
            "condition_channels": shapes["condition_encoder.projection.weight"][1],
            "encoder_channels": tuple(shapes[f"lr_encoder.layers.{layer}.weight"][0] for layer in (0, 2, 4)),
            "spatial_head_dim": shapes["spatial_head.0.weight"][0],
        }
        windows = {name: given["spatial_attention"][name] for name in given.get("spatial_attention") or ()}
        if "window_size" in given:
            windows["window_size"] = given["window_size"]
        return cls(**found, **windows)

    def windows(self, latents: Sequence[Sides], frames: int) -> Windows:
        """Those onto some latents, then onto so many video frames."""
        return tuple(Window(*sides) for sides in (*latents, *[self.video] * frames))


class RelayAttention(GroupedAttention):
    """Latents have keys and values of their own."""

    def __init__(self, dim: int, heads: int, groups: int) -> None:
        super().__init__(dim, heads, groups)
        self.condition_key, self.condition_value = (nn.Linear(dim, groups * HEAD_WIDTH) for _ in range(2))

    def condition_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, g, N, 64] of a latent's tokens [B, N, D]."""
        return self.normalize(self.condition_key(x), self.condition_value(x))


class FeedForward(nn.Module):
    """SiLU of one half of a projection times the other half, projected back."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate_up_proj = nn.Linear(dim, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] to the same."""
        gate, up = self.gate_up_proj(x).chunk(2, -1)
        out: Tensor = self.down(F.silu(gate) * up)
        return out


class FrameEncoder(nn.Module):
    """Frames to tokens."""

    def __init__(self, channels: tuple[int, int, int], dim: int) -> None:
        super().__init__()
        a, b, c = channels
        self.layers = nn.Sequential(
            nn.Conv2d(COLORS, a, 3, 2, 1),
            nn.SiLU(),
            nn.Conv2d(a, b, 3, 2, 1),
            nn.SiLU(),
            nn.Conv2d(b, c, 3, 1, 1),
            nn.SiLU(),
            nn.Conv2d(c, dim, 1),
        )
        self.norm = RMSNorm(dim, EPSILON)

    def forward(self, frame: Tensor) -> Tensor:
        """[B, 3, H, W] to [B, N, D]."""
        out: Tensor = self.norm(self.layers(frame).flatten(2).transpose(1, 2))
        return out


class LatentEncoder(nn.Module):
    """Latents to tokens."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.projection, self.norm = nn.Conv2d(channels, dim, 1), RMSNorm(dim, EPSILON)

    def forward(self, latent: Tensor) -> Tensor:
        """[B, C, h, w] to [B, N, D]."""
        out: Tensor = self.norm(self.projection(latent).flatten(2).transpose(1, 2))
        return out


class Backbone(nn.Module):
    """The blocks."""

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            GroupedBlock(
                config.dim,
                RelayAttention(config.dim, config.num_heads, config.num_kv_groups),
                FeedForward(config.dim, config.ffn_dim),
            )
            for _ in range(config.depth)
        )


class SmallTransformer(PublishedNetwork):
    """Frames and the latents of key frames to enlarged frames; see the module."""

    CONFIG = SmallConfig
    SIGNATURE = "condition_rgb_projection.weight"

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        self.config, dim = config, config.dim
        self.video_type_embedding, self.condition_type_embedding = (
            nn.Parameter(torch.zeros(1, 1, dim)) for _ in range(2)
        )
        self.lr_encoder = FrameEncoder(config.encoder_channels, dim)
        self.condition_encoder = LatentEncoder(config.condition_channels, dim)
        self.backbone = Backbone(config)
        self.spatial_head = nn.Sequential(nn.Linear(dim, config.spatial_head_dim), nn.SiLU())
        self.residual_projection, self.condition_rgb_projection = (  # the second served training only
            nn.Linear(config.spatial_head_dim, COLORS * OUTPUT**2) for _ in range(2)
        )

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return self.video_type_embedding.dtype

    def remember(self, latent: Tensor) -> FrameMemory:
        """A key frame's memory, of its normalized latent [B, C, h, w]: made once, whatever frames it serves."""
        x = self.condition_encoder(latent.to(self.dtype)) + self.condition_type_embedding
        grid = (latent.shape[-2], latent.shape[-1])
        view = View(grid, (0,), (0,), self.config.windows([self.config.condition_self], 0))
        made = []
        for block in cast("list[GroupedBlock]", list(self.backbone.blocks)):
            attention = cast(RelayAttention, block.attention)
            x, own = block(x, (), view, attention.condition_keys_values)
            made.append(own)
        return FrameMemory.of_layers(made)

    def forward(
        self, frame: Tensor, start: FrameMemory, end: FrameMemory | None, recent: Sequence[FrameMemory]
    ) -> tuple[Tensor, FrameMemory]:
        """A frame [B, 3, H, W] in -1..1 to [B, 3, 4 H, 4 W], float32, about -1..1; and its own memory.

        `start` and `end`: those of the key frames around it, the second None where it is not known; `recent`: those of
        the `window_size` - 1 frames before it, oldest first, of which there may be fewer.
        """
        config = self.config
        grid = (frame.shape[-2] // TOKEN, frame.shape[-1] // TOKEN)
        latents = [config.start] if end is None else [config.start, config.end]
        kept = [start, *([] if end is None else [end]), *recent]
        times = (*[0] * len(latents), *range(-len(recent), 1))
        view = View(grid, (0,), times, config.windows(latents, len(recent) + 1))
        x = self.lr_encoder(frame.to(self.dtype)) + self.video_type_embedding
        x, own = run_blocks(self.backbone.blocks, x, kept, view)
        return self.paint(x, grid) + enlarge(frame), own

    def paint(self, x: Tensor, grid: Sides) -> Tensor:
        """Tokens [B, N, D] to pixels [B, 3, 16 h, 16 w], float32."""
        values = self.residual_projection(self.spatial_head(x)).float()
        return F.pixel_shuffle(values.transpose(1, 2).unflatten(2, grid), OUTPUT)


def enlarge(frame: Tensor) -> Tensor:
    """Four times the size, bicubic (a = -0.75), float32."""
    return F.interpolate(frame.float(), scale_factor=SCALE, mode="bicubic")
