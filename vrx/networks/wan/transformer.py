"""The diffusion transformer of Wan 2.1 and of Wan 2.2 TI2V: bidirectional, and block-causal over a rolling KV cache.

Names and shapes of the published text-to-video checkpoints (Wan Team, arXiv 2503.20314); streaming as
in InstantViR (arXiv 2511.14208) and InfVSR (arXiv 2510.00948, section 3.2): a block sees itself and the
latest latent frames before it, one forward a block, which also writes the cache.

Legend: B batch, F latent frames, H x W latent rows x columns, N tokens, D width, h heads, d head width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks import dense_attention
from vrx.networks.cache import Rolling, allocate_rolling
from vrx.networks.fusion import Compiled
from vrx.networks.in_parts import feed_forward
from vrx.networks.norms import RMSNorm
from vrx.networks.published import Given, NetworkConfig, PublishedNetwork, Shapes, count_entries
from vrx.networks.quantized import WeightFormat, fixed_weights, quantize
from vrx.networks.wan.rope import apply_real_rope, apply_rope, rope

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]  # layer, q, k, v -> attended, all [B, h, N, d]
Context = tuple[Tensor, Tensor]  # keys and values of a block's cross-attention, [B, h, L, d]
SINUSOID_BASE = 10000.0
HEAD_WIDTH = 128  # of every published size
FP32_PARAMETERS = ("time_embedding", "time_projection", "head", "norm3", "modulation", "norm_q", "norm_k")


@dataclass(frozen=True, kw_only=True)
class WanConfig(NetworkConfig):
    """Sizes under their published names; the defaults are those of Wan2.1-T2V-1.3B."""

    COUNTS = frozenset(("num_layers",))

    dim: int = 1536
    ffn_dim: int = 8960
    num_heads: int = 12
    num_layers: int = 30
    freq_dim: int = 256
    text_dim: int = 4096
    text_len: int = 512
    in_dim: int = 16
    out_dim: int = 16
    patch_size: tuple[int, int, int] = (1, 2, 2)
    qk_norm: bool = True
    cross_attn_norm: bool = True
    eps: float = 1e-6

    def __post_init__(self) -> None:
        object.__setattr__(self, "patch_size", tuple(self.patch_size))
        if self.dim % self.num_heads or (self.dim // self.num_heads) % 2:
            raise ValueError(f"width {self.dim} does not divide into {self.num_heads} heads of even width")

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.dim // self.num_heads

    @property
    def context_shape(self) -> tuple[int, int]:
        """See `NetworkConfig`."""
        return self.text_len, self.text_dim

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> WanConfig:
        """See `NetworkConfig`; a head is 128 wide unless `num_heads` is given."""
        dim, in_dim, *patch = shapes["patch_embedding.weight"]
        found = {
            "dim": dim,
            "in_dim": in_dim,
            "patch_size": tuple(patch),
            "num_heads": max(1, dim // HEAD_WIDTH),
            "ffn_dim": shapes["blocks.0.ffn.0.weight"][0],
            "num_layers": count_entries(shapes, "blocks."),
            "freq_dim": shapes["time_embedding.0.weight"][1],
            "text_dim": shapes["text_embedding.0.weight"][1],
            "out_dim": shapes["head.head.weight"][0] // (patch[0] * patch[1] * patch[2]),
        }
        return cls(**{**found, **given})


TI2V_5B = WanConfig(dim=3072, ffn_dim=14336, num_heads=24, in_dim=48, out_dim=48)  # Wan2.2-TI2V-5B


@dataclass(frozen=True)
class CrossAttentionKV:
    """Cross-attention keys and values of every block, [layers, B, h, L, d]; the same for a whole scene."""

    keys: Tensor
    values: Tensor


@dataclass(frozen=True)
class TimeVectors:
    """What a timestep adds everywhere: `embedding` [B, D] and its `projection` [B, 6, D], float32."""

    embedding: Tensor
    projection: Tensor


@dataclass(frozen=True)
class Conditions:
    """The inputs of a forward besides the latent; made once a scene."""

    time: TimeVectors
    context: CrossAttentionKV


def modulate(x: Tensor, scale: Tensor, shift: Tensor, eps: float) -> Tensor:
    """LayerNorm of [B, N, D], times 1 + scale, plus shift ([B, 1, D] or [1, 1, D]); all in float32."""
    x, width = x.float(), x.shape[-1:]
    if len(scale) == 1:  # one pass over the tokens
        return F.layer_norm(x, width, 1 + scale.flatten(), shift.flatten(), eps)
    return F.layer_norm(x, width, eps=eps) * (1 + scale) + shift


class Attention(nn.Module):
    """Projections of one attention layer; who attends to whom is the caller's matter."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        dim = config.dim
        self.heads = config.num_heads
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.norm_q: nn.Module = RMSNorm(dim, config.eps) if config.qk_norm else nn.Identity()
        self.norm_k: nn.Module = RMSNorm(dim, config.eps) if config.qk_norm else nn.Identity()

    def split(self, x: Tensor) -> Tensor:
        """[B, N, D] to [B, h, N, d]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def queries(self, x: Tensor) -> Tensor:
        """Normalized queries [B, h, N, d] of tokens [B, N, D]."""
        return self.split(self.norm_q(self.q(x)))

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Normalized keys, and values, [B, h, N, d] each."""
        return self.split(self.norm_k(self.k(x))), self.split(self.v(x))

    def merge(self, attended: Tensor) -> Tensor:
        """[B, h, N, d] to [B, N, D]."""
        out: Tensor = self.o(attended.transpose(1, 2).flatten(2))
        return out


class WanBlock(nn.Module):
    """Self-attention, cross-attention and feed-forward around one residual stream in float32."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        dim, self.eps = config.dim, config.eps
        self.self_attn, self.cross_attn = Attention(config), Attention(config)
        self.norm3: nn.Module = nn.LayerNorm(dim, eps=config.eps) if config.cross_attn_norm else nn.Identity()
        self.ffn = nn.Sequential(
            nn.Linear(dim, config.ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(config.ffn_dim, dim)
        )
        self.modulation = nn.Parameter(torch.randn(1, 6, dim) / dim**0.5)
        self.compiled = False  # see `WanTransformer.compile_layers`

    def forward(
        self, x: Tensor, time: Tensor, context: Context, freqs: Tensor, attend: Callable[..., Tensor]
    ) -> Tensor:
        """Tokens [B, N, D] float32 to the same; `time` [B, 6, D]; `attend(q, k, v)` is the self-attention."""
        if self.compiled:
            q, k, v = BEFORE(self, x, time, torch.view_as_real(freqs))
            out: Tensor = AFTER(self, x, attend(q, k, v), time, context)
            return out
        q, k, v = self.before(x, time, lambda states: apply_rope(states, freqs))
        return self.after(x, attend(q, k, v), time, context)

    def before(self, x: Tensor, time: Tensor, rotate: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens to what the self-attention takes: queries, keys and values [B, h, N, d]."""
        shift, scale = (self.modulation.float() + time)[:, :2].split(1, 1)
        y = modulate(x, scale, shift, self.eps).to(self.self_attn.q.bias.dtype)
        q = rotate(self.self_attn.queries(y))
        k, v = self.self_attn.keys_values(y)
        return q, rotate(k), v

    def after(self, x: Tensor, attended: Tensor, time: Tensor, context: Context) -> Tensor:
        """Tokens and their self-attention [B, h, N, d] to tokens."""
        dtype = self.self_attn.q.bias.dtype
        gate1, shift, scale, gate2 = (self.modulation.float() + time)[:, 2:].split(1, 1)
        x = torch.addcmul(x, gate1, self.self_attn.merge(attended))
        y = self.norm3(x).to(dtype)
        crossed = dense_attention.attend(self.cross_attn.queries(y), *context)
        x = x + self.cross_attn.merge(crossed)
        y = modulate(x, scale, shift, self.eps).to(dtype)
        return torch.addcmul(x, gate2, feed_forward(self.ffn, y))


def before_attention(block: WanBlock, x: Tensor, time: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`WanBlock.before` in real numbers, which compilers fuse; `table` is that of `apply_real_rope`."""
    return block.before(x, time, lambda states: apply_real_rope(states, table))


def after_attention(block: WanBlock, x: Tensor, attended: Tensor, time: Tensor, context: Context) -> Tensor:
    """`WanBlock.after`."""
    return block.after(x, attended, time, context)


BEFORE = Compiled(before_attention, rows=(None, 1, None, 0))
AFTER = Compiled(after_attention, rows=(None, 1, 2, None, None))


class Head(nn.Module):
    """The last modulation and projection."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.eps = config.eps
        self.head = nn.Linear(config.dim, config.out_dim * math.prod(config.patch_size))
        self.modulation = nn.Parameter(torch.randn(1, 2, config.dim) / config.dim**0.5)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """[B, N, D] to [B, N, patch values]; `embedding` [B, D]."""
        shift, scale = (self.modulation.float() + embedding[:, None]).split(1, 1)
        out: Tensor = self.head(modulate(x, scale, shift, self.eps))
        return out


class WanTransformer(PublishedNetwork):
    """Latents and a timestep to the flow v = noise - x0; see the module."""

    CONFIG = WanConfig
    SIGNATURE = "patch_embedding.weight"

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.patch_embedding = nn.Conv3d(config.in_dim, dim, config.patch_size, config.patch_size)
        self.text_embedding = nn.Sequential(
            nn.Linear(config.text_dim, dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim)
        )
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(WanBlock(config) for _ in range(config.num_layers))
        self.head = Head(config)

    def cast_weights(self, dtype: torch.dtype, device: torch.device | None = None) -> None:
        """Put the large matrices into `dtype`, and what the release keeps in float32 there, whatever they were."""
        fixed = fixed_weights(self)
        for name, parameter in self.named_parameters():
            precise = any(part in FP32_PARAMETERS for part in name.split("."))
            if id(parameter) not in fixed:
                parameter.data = parameter.data.to(device, torch.float32 if precise else dtype)

    def place(self, device: torch.device, dtype: torch.dtype) -> None:
        """Cast the weights and move to a device, one by one; it has no convolution whose layout counts."""
        self.cast_weights(dtype, device)
        self.to(device)

    def quantize(self, kind: WeightFormat, device: torch.device) -> None:
        """See `PublishedNetwork`: the matrices of the blocks, 97 of 100 weights."""
        quantize(self.blocks, kind, device)

    def compile_layers(self) -> None:
        """Compile all of a block but its self-attention, once for all blocks and any number of tokens.

        A third of the time, and half of what a processor does to launch it; sums are then rounded elsewhere.
        """
        for block in self.blocks:
            cast(WanBlock, block).compiled = True

    def waiting_layers(self) -> list[list[nn.Module]]:
        """See `PublishedNetwork`; what a scene's conditions are made of stays, a tenth of a block."""
        layers: list[list[nn.Module]] = []
        for block in cast("list[WanBlock]", list(self.blocks)):
            own, cross = block.self_attn, block.cross_attn
            layers.append([own.q, own.k, own.v, own.o, cross.q, cross.o, block.ffn])
        return layers

    # ------------------------------------------------------------ conditions

    def time_vectors(self, timestep: Tensor) -> TimeVectors:
        """Of timesteps [B] on the 0..1000 scale, as given."""
        half = self.config.freq_dim // 2
        steps = torch.arange(half, dtype=torch.float64, device=timestep.device)
        angles = torch.outer(timestep.double(), SINUSOID_BASE ** (-steps / half))
        sinusoid = torch.cat([angles.cos(), angles.sin()], -1).float()
        embedding = self.time_embedding(sinusoid)
        return TimeVectors(embedding, self.time_projection(embedding).unflatten(-1, (6, -1)))

    def embed_context(self, context: Tensor, pad: bool = True) -> Tensor:
        """Guidance rows [B, L, text width] to [B, text_len, D]; `pad` appends zero rows up to text_len."""
        if pad:
            context = F.pad(context, (0, 0, 0, self.config.text_len - context.shape[1]))
        out: Tensor = self.text_embedding(context.to(self.patch_embedding.weight.dtype))
        return out

    def encode_context(self, context: Tensor, pad: bool = True) -> CrossAttentionKV:
        """Keys and values of every block's cross-attention for guidance rows [B, L, text width]."""
        rows = self.embed_context(context, pad)
        both = [cast(WanBlock, block).cross_attn.keys_values(rows) for block in self.blocks]
        return CrossAttentionKV(torch.stack([k for k, _ in both]), torch.stack([v for _, v in both]))

    def conditions(self, timestep: float, context: Tensor, pad: bool = True) -> Conditions:
        """For a timestep on the 0..1000 scale and guidance rows [B, L, text width]."""
        time = self.time_vectors(torch.full(context.shape[:1], timestep, device=context.device))
        return Conditions(time, self.encode_context(context, pad))

    def forget_context(self) -> None:
        """Drop what only `conditions` needs, a tenth of all weights, where they were made once and for all."""
        self.text_embedding = nn.Sequential()
        for block in cast("list[WanBlock]", list(self.blocks)):
            for name in ("k", "v", "norm_k"):
                setattr(block.cross_attn, name, nn.Identity())

    def fix_conditions(self, timestep: float, context: Tensor, pad: bool = True) -> Conditions:
        """The only conditions from now on: the weights that they are made of, a tenth of all, are given up."""
        found = self.conditions(timestep, context, pad)
        self.forget_context()
        return found

    # ------------------------------------------------------------ tokens

    def grid(self, latent: Tensor) -> tuple[int, int, int]:
        """Token frames, rows and columns of a latent [B, C, F, H, W]."""
        sizes = zip(latent.shape[2:], self.config.patch_size, strict=True)
        frames, rows, columns = (side // patch for side, patch in sizes)
        return frames, rows, columns

    def tokens(self, latent: Tensor) -> Tensor:
        """[B, C, F, H, W] to [B, N, D] in float32, (frame, row, column) order."""
        if any(side % patch for side, patch in zip(latent.shape[2:], self.config.patch_size, strict=True)):
            raise ValueError(f"latent of {tuple(latent.shape[2:])} does not divide into patches")
        weight = self.patch_embedding.weight
        pt, ph, pw = self.config.patch_size
        f, h, w = self.grid(latent)
        parts = latent.to(weight.dtype).view(latent.shape[0], -1, f, pt, h, ph, w, pw)
        rows = parts.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).flatten(1, 3)
        return F.linear(rows, weight.flatten(1), self.patch_embedding.bias).float()

    def latent(self, values: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """Patch values [B, N, time x row x column x channel] to [B, C, F, H, W]."""
        pt, ph, pw = self.config.patch_size
        x = values.view(values.shape[0], *grid, pt, ph, pw, self.config.out_dim)
        x = x.permute(0, 7, 1, 4, 2, 5, 3, 6)
        return x.reshape(x.shape[0], x.shape[1], grid[0] * pt, grid[1] * ph, grid[2] * pw)

    def run(
        self,
        latent: Tensor,
        conditions: Conditions,
        freqs: Tensor,
        attend: Attend,
        extra: list[Tensor] | None = None,
    ) -> Tensor:
        """The layers in order; `extra[i]` [B, N, D] is added before block i.  Returns the flow, float32."""
        x = self.tokens(latent)
        for index, block in enumerate(self.blocks):
            if extra is not None and index < len(extra):
                x = x + extra[index]
            context = conditions.context.keys[index], conditions.context.values[index]

            def attended(q: Tensor, k: Tensor, v: Tensor, index: int = index) -> Tensor:
                return attend(index, q, k, v)

            x = block(x, conditions.time.projection, context, freqs, attended)
        return self.latent(self.head(x, conditions.time.embedding), self.grid(latent))

    # ------------------------------------------------------------ the two ways to run

    def forward(self, latent: Tensor, conditions: Conditions) -> Tensor:
        """Whole clip [B, C, F, H, W], everything attends to everything."""
        freqs = rope(self.grid(latent), 0, self.config.head_dim, latent.device)

        def attend(_: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return dense_attention.attend(q, k, v)

        return self.run(latent, conditions, freqs, attend)

    def allocate(self, height: int, width: int, window: int, chunk: int, batch: int = 1) -> Rolling:
        """An empty cache for latents of height x width; window and chunk in latent frames."""
        config = self.config
        tokens = (height // config.patch_size[1]) * (width // config.patch_size[2])
        shape = (config.num_layers, batch, config.num_heads, config.head_dim)
        like = self.patch_embedding.weight
        return allocate_rolling(shape, window * tokens, chunk * tokens, like)

    def step(self, latent: Tensor, conditions: Conditions, cache: Rolling) -> Tensor:
        """One block of latent frames [B, C, F, H, W] after what the cache holds; the cache moves on."""
        grid = self.grid(latent)
        first = cache.end // (grid[1] * grid[2])
        freqs = rope(grid, first, self.config.head_dim, latent.device)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return dense_attention.attend(q, *cache.write(layer, k, v))

        flow = self.run(latent, conditions, freqs, attend)
        cache.advance(math.prod(grid))
        return flow
