"""Cost of a frame: the network's operations, and the rate at which a device does them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.models.embedded.later import OVERLAP
from vrx.models.embedded.model import LOOKING_AHEAD
from vrx.networks.embedded.grid import GRID
from vrx.networks.embedded.network import MODES, SMALL, EmbeddedConfig
from vrx.networks.embedded.recurrent import INPUTS, PIXELS, STANDARD, RecurrentConfig
from vrx.networks.quantized import round_rows

PROBE_CHANNELS = 64
PROBE_SIDES = {"cpu": 192}  # positions; elsewhere 1024
PRODUCT_SIDES = {"cpu": 512}  # rows and columns; elsewhere 8192
PROBE_RUNS = 6
COPIED = 1 << 29  # bytes, more than any cache holds
# how much less time whole runs take where the network that enlarges multiplies in 8 bits: 23 for 30 s, and 15.0 for
# 19.1, of a thread's time beside bf16
INT8_GAIN = 1.3
REACHED = 0.5  # share of that rate that a whole run reaches end to end; measured


def operations(mode: str, size: tuple[int, int]) -> float:
    """Multiplications and additions of the embedded model's network for one frame of `size` (width, height) output.

    `mode`: `upscale2` to `upscale4`, or one of `MODES`.
    """
    if mode in MODES:
        return restoring_operations(SMALL, mode, size)
    return enlarging_operations(STANDARD, int(mode.removeprefix("upscale")), size)


def restoring_operations(config: EmbeddedConfig, mode: str, size: tuple[int, int]) -> float:
    """Of the network for pictures that keep their size."""
    width, coarse = config.full, config.coarse
    a_position = 9.0 * width * (MODES[mode].inputs + MODES[mode].outputs)
    a_position += 18 * width**2 * (config.before + config.after)
    a_position += 18 * coarse**2 * config.middle / 4 + 2 * width * coarse
    inner = range(config.before, config.before + config.middle)
    a_position += sum(9 * coarse**2 / 4 if place in inner else 9 * width**2 for place in config.recall)
    keys = config.tokens * (config.memory + 1) + config.sink_tokens
    a_position += 2 * (4 * coarse**2 + 2 * coarse * keys) / 4
    return 2.0 * a_position * size[0] * size[1] / GRID**2


def enlarging_operations(config: RecurrentConfig, scale: int, size: tuple[int, int]) -> float:
    """Of the network that enlarges, its branch for later frames included."""
    pixels, width = PIXELS[scale], config.channels
    ends = INPUTS * pixels**2 + 3 * (scale * pixels) ** 2
    a_position = 9.0 * width * (ends + width * (2 * config.blocks + 1))
    if config.later_blocks:
        branch = 9.0 * width * (INPUTS * pixels**2 + width * (2 * config.later_blocks + 1))
        a_position += 9.0 * width**2 + branch * (1 + OVERLAP / LOOKING_AHEAD.ahead)
    return 2.0 * a_position * size[0] * size[1] / (scale * pixels) ** 2


@cache
def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a 3 x 3 convolution that this device reaches in this type."""
    side = PROBE_SIDES.get(device.type, 1024)
    x = torch.rand(1, PROBE_CHANNELS, side, side, device=device).to(dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    weight = torch.rand(PROBE_CHANNELS, PROBE_CHANNELS, 3, 3, device=device).to(dtype)
    weight = weight.contiguous(memory_format=torch.channels_last)
    return 18.0 * PROBE_CHANNELS**2 * side**2 / fastest(lambda: F.conv2d(x, weight, padding=1), device)


@cache
def product_rate(device: torch.device, dtype: torch.dtype, fp8: bool = False) -> float:
    """Operations per second of a product of large matrices in a type, or in fp8 of what was rounded beforehand.

    More than `matrix_rate` on a GPU, where a convolution of so few channels waits for the memory.
    """
    side = PRODUCT_SIDES.get(device.type, 8192)
    x = torch.rand(side, side, device=device).to(dtype)
    rows, scale = round_rows(x)

    def work() -> Tensor:
        if not fp8:
            return x @ x.t()
        return torch._scaled_mm(rows, rows.t(), scale, scale.t(), out_dtype=dtype, use_fast_accum=True)

    return 2.0 * side**3 / fastest(work, device)


def fastest(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that work takes, the least of a few runs."""
    best = float("inf")
    with torch.inference_mode():
        for _ in range(PROBE_RUNS):
            begin = perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            best = min(best, perf_counter() - begin)
    return best


@cache
def bandwidth(device: torch.device) -> float:
    """Bytes per second that this device reads and writes when it copies a large block."""
    block = torch.empty(COPIED // 2 if device.type == "cpu" else COPIED, dtype=torch.uint8, device=device).fill_(1)
    other = torch.empty_like(block)
    return 2.0 * block.numel() / fastest(lambda: other.copy_(block), device)
