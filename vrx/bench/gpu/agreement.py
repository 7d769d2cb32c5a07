"""Every restorer at a small size: does the device give what the processor gives?"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from vrx.bench.gpu.context import Context
from vrx.bench.gpu.driver import restore, through_threads
from vrx.bench.gpu.restorers import embedded, fixtures
from vrx.models.base import Restorer
from vrx.models.prompts import run_encoder
from vrx.networks.causal_conv import ConvCache
from vrx.networks.flashvsr import attention as sparse
from vrx.networks.taehv import ConditionalConfig, ConditionalDecoder
from vrx.networks.umt5 import Umt5Config, Umt5Encoder
from vrx.settings import Task

CPU = torch.device("cpu")
SOURCE = (20, 36)
FRAMES, EMBEDDED_FRAMES = 22, 12
EMBEDDED = (("upscale", 4), ("upscale", 3), ("upscale", 2), ("deblur", 1), ("inpaint", 1))
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
Build = Callable[[torch.device, torch.dtype], Restorer]


def compare(context: Context, words: Sequence[str]) -> None:
    """All of it; each failure is a result, too.  `words` name the few that are wanted."""
    checks: dict[str, Callable[[Context], None]] = {
        "attention": flex_attention,
        "checkpoints": small_checkpoints,
        "embedded": embedded_models,
        "threads": threads,
        "maps": large_maps,
        "text": text_encoder,
    }
    for name, check in checks.items():
        if not words or name in words:
            with context.results.guard("small", what=name):
                check(context)


def report(context: Context, name: str, found: Tensor, expected: Tensor, began: float, **more: object) -> None:
    """How far two results are apart."""
    error = (found.float().cpu() - expected.float()).abs()
    context.results.emit(
        "small",
        what=name,
        **more,
        worst=round(float(error.max()), 6),
        mean=round(float(error.mean()), 7),
        psnr=round(float(-10 * torch.log10((error**2).mean().clamp_min(1e-20))), 1),
        finite=bool(torch.isfinite(found).all()),
        seconds=round(perf_counter() - began, 1),
    )


def clip(frames: int) -> Tensor:
    """Noise that moves two pixels a frame."""
    still = torch.rand(1, 3, *SOURCE, generator=torch.Generator().manual_seed(3))
    return torch.cat([torch.roll(still, 2 * t, -1) for t in range(frames)])


def flex_attention(context: Context) -> None:
    """Sparse attention, and the fallback for where nothing can be compiled, against gathered windows."""
    q, k, v = (
        torch.randn(1, 3, n * sparse.TOKENS, 128, generator=torch.Generator().manual_seed(n)) for n in (4, 16, 17)
    )
    v = v[:, :, : k.shape[2]]
    keep = sparse.select(q, k, sparse.local_range(2, 2, 3, CPU), 0.9)
    keep[1, 2] = False  # a query window that keeps nothing
    expected = sparse.attend_gathered(q, k, v, keep)
    for name, attend in (("flex attention", sparse.attend), ("masked attention", sparse.attend_masked)):
        for dtype in DTYPES[1::-1]:
            with context.results.guard("small", what=name, dtype=str(dtype)), torch.inference_mode():
                began = perf_counter()
                moved = [t.to(context.device, dtype) for t in (q, k, v)]
                found = attend(moved[0], moved[1], moved[2], keep.to(context.device))
                report(context, name, found, expected, began, dtype=str(dtype), compiled=not sparse.on_gpu.fails)


def small_checkpoints(context: Context, names: Sequence[str] = ()) -> None:
    """Every family (or those of `names`), in every number type; states saved and loaded on the device, too."""
    with tempfile.TemporaryDirectory(prefix="vrx-gpu-") as folder:
        os.environ["VRX_HOME"] = folder  # of this process alone: encoded prompts go there
        for fixture in fixtures(Path(folder)):
            if names and fixture.name not in names:
                continue
            halves = DTYPES[:2] if context.tiny or fixture.name.startswith("flashvsr") else DTYPES
            against_processor(context, fixture.name, fixture.build, halves, fixture.task is Task.INPAINT)


def embedded_models(context: Context) -> None:
    """The embedded model in all its modes."""
    for task, scale in EMBEDDED:

        def make(device: torch.device, dtype: torch.dtype, task: str = task, scale: int = scale) -> Restorer:
            return embedded(task, scale, device, dtype)

        against_processor(context, f"embedded {task} x{scale}", make, DTYPES[:2], task == "inpaint")


def against_processor(context: Context, name: str, build: Build, dtypes: Sequence[torch.dtype], masked: bool) -> None:
    """One restorer on the device in some number types against the processor in float32."""
    x = clip(EMBEDDED_FRAMES if name.startswith("embedded") else FRAMES)
    with context.results.guard("small", what=f"{name}: on the processor"):
        expected = restore(build(CPU, torch.float32), x, masked)
        for dtype in dtypes:
            with context.results.guard("small", what=name, dtype=str(dtype)):
                began = perf_counter()
                restorer = build(context.device, dtype)
                found = restore(restorer, x.to(context.device), masked)
                report(context, name, found, expected, began, dtype=str(dtype))
                if dtype is torch.float32:
                    again = restore(restorer, x.to(context.device), masked, reload_at=1)
                    same, worst = bool(torch.equal(again, found)), float((again - found).abs().max())
                    context.results.emit("small", what=f"{name}: saved, loaded, continued", same=same, worst=worst)


def threads(context: Context) -> None:
    """Threads and conversions around the embedded model."""
    first, second = (
        through_threads(embedded("upscale", 4, device, torch.float32), device, 9, (48, 64), False)
        for device in (CPU, context.device)
    )
    worst, name = first.worst_difference(second), "threads and conversions, embedded x4"
    context.results.emit("small", what=name, frames=len(second.frames), worst_levels=worst)


@torch.inference_mode()
def large_maps(context: Context) -> None:
    """FlashVSR's decoder on six latents of 1080p at once and one by one: some kernels count in 32 bits."""
    rows, columns = (8, 12) if context.tiny else (144, 240)
    config = ConditionalConfig(channels=(8, 8, 6, 6)) if context.tiny else ConditionalConfig()
    network = ConditionalDecoder(config).to(context.device, context.dtype).eval()
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    latent = context.random(1, 6, 16, rows, columns)
    source = torch.rand(1, 3, 21, rows * 8, columns * 8, device=context.device, dtype=context.dtype)
    began = perf_counter()
    whole = network.decode_step(latent, source, ConvCache(inplace=True))[0].cpu()
    context.clear()
    cache, parts = ConvCache(inplace=True), []
    for number in range(6):
        frames = source[:, :, :1] if number == 0 else source[:, :, 4 * number - 3 : 4 * number + 1]
        part, cache = network.decode_step(latent[:, number : number + 1], frames, cache)
        parts.append(part.cpu())
    report(context, "FlashVSR's decoder, 1080p at once", whole, torch.cat(parts, 1), began)


@torch.inference_mode()
def text_encoder(context: Context) -> None:
    """UMT5, which visits the device layer by layer."""
    config = Umt5Config(vocab=64, dim=64, dim_attn=64, dim_ffn=96, num_heads=4, num_layers=3)
    network = Umt5Encoder(config).eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    ids = torch.arange(9)[None]
    expected = run_encoder(network, ids, torch.ones_like(ids), CPU)
    began = perf_counter()
    found = run_encoder(network, ids, torch.ones_like(ids), context.device)
    report(context, "text encoder, layer by layer", found, expected, began)
