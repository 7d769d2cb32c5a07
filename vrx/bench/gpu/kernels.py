"""Single kernels at the sizes that the models use: what one change would gain."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from vrx.bench.gpu.context import Context
from vrx.networks import fusion
from vrx.networks.flashvsr import attention as sparse
from vrx.networks.quantized import LAYERS, ROUND, round_rows
from vrx.networks.wan.autoencoder import ChannelNorm
from vrx.networks.wan.rope import rope
from vrx.networks.wan.transformer import WanBlock, WanConfig

ATTENTION = {  # heads, queries, keys, width
    "InfVSR 720p": (12, 10800, 21600, 128),
    "InstantViR 480p": (12, 4680, 32760, 128),
    "Wan VAE 720p": (1, 14400, 14400, 384),
    "cross": (12, 10800, 512, 128),
}
BACKENDS = ("default", "FLASH_ATTENTION", "CUDNN_ATTENTION", "EFFICIENT_ATTENTION")
WINDOWS = {"512x832": (4, 7), "768x1280": (6, 10), "1152x1920": (9, 15)}  # FlashVSR's, by output: rows, columns
MATRICES = {  # of transformer blocks: rows of the input, columns, rows of the matrix
    "1.3B projection 720p": (10800, 1536, 1536),
    "1.3B feed-forward 720p": (10800, 1536, 8960),
    "1.3B feed-forward back 720p": (10800, 8960, 1536),
    "5B feed-forward 1088p": (14280, 3072, 14336),
}
KEPT_RATIO, REACH, PAIRS = 2.0, 11, 4  # of the choice of windows; pairs of frames that keys come from


def measure(context: Context, words: Sequence[str]) -> None:
    """All of them while there is time."""
    parts: tuple[Callable[[Context], None], ...] = (
        sparse_attention,
        attention,
        normalization,
        codec_convolution,
        projection,
        transformer_block,
        linear_layers,
    )
    for part in parts:
        if context.left() > 8:
            with context.results.guard("micro", what=part.__name__), torch.inference_mode():
                part(context)


def emit(context: Context, what: str, how: str, ms: float, operations: float = 0.0, **facts: float) -> None:
    """One kernel, with the rate it reaches where its operations are known."""
    rate = {"tflops": round(operations / ms / 1e9)} if operations else {}
    context.results.emit("micro", what=what, how=how, ms=ms, **rate, **facts)


def sparse_attention(context: Context) -> None:
    """FlashVSR's at every size: FlexAttention, its fallback under a mask, and everything to everything."""
    sizes = {"toy": (2, 2)} if context.tiny else WINDOWS
    for name, (rows, columns) in sizes.items():
        n, what = rows * columns, f"FlashVSR {name}"
        q, k, v = (context.random(1, 12, count * sparse.TOKENS, 128) for count in (n, PAIRS * n, PAIRS * n))
        local = sparse.local_range(rows, columns, REACH, context.device)
        keep = sparse.select(q, k, local, KEPT_RATIO)
        share = round(float(keep.float().mean()), 3)
        context.results.emit("micro", what=what, kept=share, windows=n)
        work: dict[str, Callable[[], object]] = {
            "choosing windows": partial(sparse.select, q, k, local, KEPT_RATIO),
            "FlexAttention": partial(sparse.attend, q, k, v, keep),
            "under a mask": partial(sparse.attend_masked, q, k, v, keep),
            "dense": partial(F.scaled_dot_product_attention, q, k, v),
        }
        for how, run in work.items():
            with context.results.guard("micro", what=what, how=how):
                emit(context, what, how, context.time(run, 3, 2))
        context.results.emit("micro", what=what, fell_back=sparse.on_gpu.fails)


def attention(context: Context) -> None:
    """Dense attention by each of torch's backends."""
    for name, (heads, n, k, d) in ATTENTION.items():
        n, k = (n // 64, k // 64) if context.tiny else (n, k)
        q, key, value = context.random(1, heads, n, d), context.random(1, heads, k, d), context.random(1, heads, k, d)
        for backend in BACKENDS:
            which = contextlib.nullcontext() if backend == "default" else sdpa_kernel(getattr(SDPBackend, backend))
            try:
                with which:
                    ms = context.time(partial(F.scaled_dot_product_attention, q, key, value), 3, 1)
                emit(context, f"attention {name}", backend, ms, 4 * heads * n * k * d)
            except RuntimeError as error:
                context.results.emit("micro", what=f"attention {name}", how=backend, failed=str(error)[:80])


def normalization(context: Context) -> None:
    """Bias, norm and SiLU of a full-size map of the Wan autoencoder: as they are, and in one pass."""
    side = 8 if context.tiny else 1
    x = context.random(1, 96, 4, 720 // side, 1280 // side).contiguous(memory_format=torch.channels_last_3d)
    norm = ChannelNorm(96).to(context.device, context.dtype)
    what = "Wan VAE norm and SiLU, 720p"
    emit(context, what, "as it is", context.time(lambda: F.silu(norm(x))))
    rows, bias = fusion.as_rows(x), context.random(96)
    assert rows is not None
    out, gamma = torch.empty_like(rows), context.random(96)
    emit(context, what, "with bias, uncompiled", context.time(lambda: fusion.normalize_rows(rows, bias, gamma, out)))
    if context.cuda:
        emit(context, what, "with bias, compiled", context.time(lambda: fusion.normalize(rows, bias, gamma, out)))
        context.results.emit("micro", what=what, floor_ms=round(2 * x.nbytes / 3e9, 3), failed=fusion.normalize._fails)


def codec_convolution(context: Context) -> None:
    """The convolution that the Wan autoencoder has most of, in either layout."""
    side = 8 if context.tiny else 1
    x, w = context.random(1, 96, 6, 720 // side, 1280 // side), context.random(96, 96, 3, 3, 3)
    last = torch.channels_last_3d
    layouts = {"plain": (x, w), "channels last": (x.contiguous(memory_format=last), w.contiguous(memory_format=last))}
    operations = 2 * 27 * 96 * 96 * 4 * x.shape[3] * x.shape[4]
    for benchmark in (False, True):
        torch.backends.cudnn.benchmark = benchmark
        for name, (a, b) in layouts.items():
            ms = context.time(partial(F.conv3d, a, b, padding=(0, 1, 1)), 3, 1)
            how = f"{name}, cudnn.benchmark" if benchmark else name
            emit(context, "Wan VAE convolution 96, 720p", how, ms, operations)
    torch.backends.cudnn.benchmark = False


def projection(context: Context) -> None:
    """FlashVSR's second projection at 768x1280: 48 x 80 positions."""
    share = 8 if context.tiny else 1
    x, w = context.random(1, 2048 // share, 6, 50, 82), context.random(3072 // share, 2048 // share, 4, 3, 3)
    operations = 2 * 36 * w.shape[0] * w.shape[1] * 2 * 48 * 80

    def columns() -> Tensor:
        parts = x.unfold(2, 4, 2).unfold(3, 3, 1).unfold(4, 3, 1)
        return parts.permute(0, 2, 3, 4, 1, 5, 6, 7).reshape(2 * 48 * 80, -1) @ w.flatten(1).T

    last = torch.channels_last_3d
    xl, wl = x.contiguous(memory_format=last), w.contiguous(memory_format=last)
    ways: dict[str, Callable[[], Tensor]] = {
        "plain": lambda: F.conv3d(x, w, stride=(2, 1, 1)),
        "channels last": lambda: F.conv3d(xl, wl, stride=(2, 1, 1)),
        "columns": columns,
    }
    for name, work in ways.items():
        emit(context, "FlashVSR's projection", name, context.time(work, 3, 1), operations)
    expected = ways["plain"]().float()
    found = columns().float().view(2, 48, 80, -1).permute(3, 0, 1, 2)[None]
    error = float((found - expected).norm() / expected.norm())
    context.results.emit("micro", what="columns against convolution", error=round(error, 6))


def transformer_block(context: Context) -> None:
    """A block of the transformer without its self-attention: as it is, and compiled."""
    config = WanConfig(dim=256, ffn_dim=512, num_heads=2) if context.tiny else WanConfig()
    block = WanBlock(config).to(context.device, context.dtype).eval()
    block.norm3.float()
    block.modulation.data = block.modulation.data.float()
    grid = (3, 4, 6) if context.tiny else (3, 45, 80)
    n = grid[0] * grid[1] * grid[2]
    x = torch.randn(1, n, config.dim, device=context.device)
    time = torch.randn(1, 6, config.dim, device=context.device)
    context_kv = tuple(context.random(1, config.num_heads, 145, config.head_dim) for _ in range(2))
    freqs = rope(grid, 0, config.head_dim, context.device)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return v

    what = "transformer block, 720p"
    emit(context, what, "as it is", context.time(lambda: block(x, time, context_kv, freqs, attend)))
    if not context.cuda:
        return
    compiled = torch.compile(block, dynamic=False)
    emit(context, what, "compiled", context.time(lambda: compiled(x, time, context_kv, freqs, attend)))


def linear_layers(context: Context) -> None:
    """The transformers' matrices in every number format, and how far each is from float32; fp8's input is rounded."""
    for name, (n, columns, rows) in MATRICES.items():
        n, columns, rows = (side // 32 for side in (n, columns, rows)) if context.tiny else (n, columns, rows)
        x, weight = context.random(n, columns), context.random(rows, columns) / columns**0.5
        expected = F.linear(x.float(), weight.float())
        layers: dict[str, Callable[[Tensor], Tensor]] = {
            "as it is": partial(F.linear, weight=weight),
            **{kind: layer(weight, None) for kind, layer in LAYERS.items()},
        }
        if context.cuda:
            layers["fp8, compiled"] = torch.compile(layers["fp8"])
        for how, layer in layers.items():
            with context.results.guard("micro", what=name, how=how):
                error = float((layer(x).float() - expected).norm() / expected.norm())
                ms = context.time(partial(layer, x))
                emit(context, name, how, ms, 2 * n * columns * rows, error=round(error, 5))
        emit(context, name, "rounding its input", context.time(partial(round_rows, x)))
        if context.cuda:
            emit(context, name, "rounding its input, compiled", context.time(partial(ROUND, x)))
