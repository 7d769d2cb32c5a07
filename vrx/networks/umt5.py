"""The UMT5 text encoder under its published names (Chung et al., arXiv 2304.09151; Wan's native file).

A T5 encoder with a relative position bias in every layer.  Takes token ids; knows no tokenizer.

Legend: B prompts, L tokens, D width, h heads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from vrx.networks.norms import RMSNorm
from vrx.networks.published import Given, NetworkConfig, PublishedNetwork, Shapes, count_entries

FARTHEST = 128  # tokens; all distances beyond share the last bucket


@dataclass(frozen=True, kw_only=True)
class Umt5Config(NetworkConfig):
    """Sizes under their published names; the defaults are those of UMT5-XXL."""

    COUNTS = frozenset(("num_layers",))
    LIMITS: ClassVar[Mapping[str, int]] = {"num_buckets": 4096}

    vocab: int = 256384
    dim: int = 4096
    dim_attn: int = 4096
    dim_ffn: int = 10240
    num_heads: int = 64
    num_layers: int = 24
    num_buckets: int = 32
    shared_position_bias: bool = False

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> Umt5Config:
        """See `NetworkConfig`."""
        vocabulary, dim = shapes["token_embedding.weight"]
        shared = "pos_embedding.embedding.weight" in shapes
        bias = shapes["pos_embedding.embedding.weight" if shared else "blocks.0.pos_embedding.embedding.weight"]
        found = {
            "vocab": vocabulary,
            "dim": dim,
            "dim_attn": shapes["blocks.0.attn.q.weight"][0],
            "dim_ffn": shapes["blocks.0.ffn.fc1.weight"][0],
            "num_heads": bias[1],
            "num_buckets": bias[0],
            "num_layers": count_entries(shapes, "blocks."),
            "shared_position_bias": shared,
        }
        return cls(**{**found, **given})


class PositionBias(nn.Module):
    """What the distance of two tokens adds to their logit."""

    def __init__(self, buckets: int, heads: int) -> None:
        super().__init__()
        self.buckets = buckets
        self.embedding = nn.Embedding(buckets, heads)

    def forward(self, length: int) -> Tensor:
        """[1, h, L, L]."""
        place = torch.arange(length, device=self.embedding.weight.device)
        bias: Tensor = self.embedding(self.bucket(place[None] - place[:, None]))
        return bias.permute(2, 0, 1)[None]

    def bucket(self, distance: Tensor) -> Tensor:
        """Half of the buckets for either side: near distances one each, far ones in logarithmic steps."""
        half = self.buckets // 2
        exact = half // 2
        size = distance.abs()
        steps = torch.log(size.float().clamp_min(1) / exact) / math.log(FARTHEST / exact) * (half - exact)
        far = (exact + steps.long()).clamp_max(half - 1)
        return (distance > 0).long() * half + torch.where(size < exact, size, far)


class SelfAttention(nn.Module):
    """Attention without scaling of its logits; softmax in float32."""

    def __init__(self, config: Umt5Config) -> None:
        super().__init__()
        self.heads = config.num_heads
        self.q, self.k, self.v = (nn.Linear(config.dim, config.dim_attn, bias=False) for _ in range(3))
        self.o = nn.Linear(config.dim_attn, config.dim, bias=False)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """[B, L, D]; `bias` [B, h, L, L] holds the mask too."""
        q, k, v = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        logits = q @ k.transpose(-1, -2) + bias
        attended = logits.float().softmax(-1).to(v.dtype) @ v
        out: Tensor = self.o(attended.transpose(1, 2).flatten(2))
        return out


class GatedFeedForward(nn.Module):
    """fc2(fc1(x) * gelu(gate(x)))."""

    def __init__(self, config: Umt5Config) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(config.dim, config.dim_ffn, bias=False), nn.GELU(approximate="tanh"))
        self.fc1 = nn.Linear(config.dim, config.dim_ffn, bias=False)
        self.fc2 = nn.Linear(config.dim_ffn, config.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D]."""
        out: Tensor = self.fc2(self.fc1(x) * self.gate(x))
        return out


class Umt5Block(nn.Module):
    """Attention and feed-forward, each normalized before and added."""

    def __init__(self, config: Umt5Config) -> None:
        super().__init__()
        self.norm1, self.norm2 = RMSNorm(config.dim), RMSNorm(config.dim)
        self.attn, self.ffn = SelfAttention(config), GatedFeedForward(config)
        own = not config.shared_position_bias
        self.pos_embedding = PositionBias(config.num_buckets, config.num_heads) if own else None

    def forward(self, x: Tensor, mask: Tensor, shared: Tensor | None) -> Tensor:
        """[B, L, D]; `mask` [B, 1, 1, L] is added to logits."""
        bias = shared if self.pos_embedding is None else self.pos_embedding(x.shape[1])
        assert bias is not None
        x = x + self.attn(self.norm1(x), (bias + mask).to(x.dtype))
        x = x + self.ffn(self.norm2(x))
        return x


class Umt5Encoder(PublishedNetwork):
    """Token ids to rows of text guidance."""

    CONFIG = Umt5Config
    SIGNATURE = "token_embedding.weight"

    def __init__(self, config: Umt5Config) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab, config.dim)
        shared = config.shared_position_bias
        self.pos_embedding = PositionBias(config.num_buckets, config.num_heads) if shared else None
        self.blocks = nn.ModuleList(Umt5Block(config) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.dim)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Ids and mask [B, L] (1 for a token, 0 for padding) to every row [B, L, D]."""
        x = self.token_embedding(ids)
        lowest = torch.finfo(x.dtype).min
        hidden = torch.zeros_like(mask, dtype=x.dtype).masked_fill(mask == 0, lowest)[:, None, None]
        shared = None if self.pos_embedding is None else self.pos_embedding(ids.shape[1])
        for block in self.blocks:
            x = block(x, hidden, shared)
        out: Tensor = self.norm(x)
        return out

    def embed(self, ids: Tensor, mask: Tensor) -> Tensor:
        """As `forward`, rows of padding set to zero: what Wan's transformer takes as text."""
        return self(ids, mask) * mask[..., None].to(self.norm.weight.dtype)
