"""End-to-end benchmark: restoring a generated clip, with reading and writing."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from vrx.bench.isolated import run_in_subprocess
from vrx.bench.peak_memory import peak_memory
from vrx.events import ignore
from vrx.media import encoders
from vrx.media.frame import Color, Frame, Kind, Layout
from vrx.media.target import Target
from vrx.media.write import Writer
from vrx.models.footprint import Fit
from vrx.models.registry import FAMILIES
from vrx.pipeline.batch import Batch
from vrx.pipeline.cost import matrix_rate, operations
from vrx.pipeline.devices import describe_type, machine_name, pick_device, pick_dtype, weight_format
from vrx.pipeline.fitting import fit_processor
from vrx.pipeline.select_model import check_format
from vrx.pipeline.spans.result import name_dtype
from vrx.settings import Dtype, Job, ModelSettings, OutputSettings, RestoreSettings, SelectionSettings, Task
from vrx.weights import catalogue

SCALE = 4
RATE = Fraction(25)


@dataclass(frozen=True)
class Row:
    """One size: frames per second of each stage alone and end to end, and what the processor could do.

    `floor_fps` is the rate at which the network's multiplications alone would run at the measured
    matrix rate, which is that of the number type: what multiplies in 8 bits can be faster.  `gap`: how many times
    longer the whole takes.  `memory`: peak resident bytes, or of the GPU.
    """

    width: int
    height: int
    stage_fps: dict[str, float]
    fps: float
    floor_fps: float
    gap: float
    memory: int


@dataclass(frozen=True)
class Benchmark:
    """All sizes on one machine; `matrix_rate` in operations per second."""

    machine: str
    device: str
    dtype: str
    torch: str
    frames: int
    matrix_rate: float
    rows: list[Row]


def benchmark(sizes: Sequence[tuple[int, int]], frames: int, model: ModelSettings) -> Benchmark:
    """Restore a generated clip x4 end to end at each output size.

    On the processor each size has a process of its own, whose memory is its own.  Raises UsageError.
    """
    entry = catalogue.load_file(catalogue.packaged_path(), FAMILIES)[catalogue.EMBEDDED]
    check_format(entry, model.dtype)
    chosen = pick_device(model.device)
    kind = pick_dtype(model.dtype, chosen)
    rate = matrix_rate(chosen, kind)
    apart = chosen.type == "cpu"
    fit = fit_processor(entry, model, Task.UPSCALE) if apart else Fit()
    quantized = fit.quantized or weight_format(model.dtype)
    dtype = name_dtype(kind, quantized)
    rows = [
        run_in_subprocess(measure, size, frames, (chosen, dtype), rate)
        if apart
        else measure(size, frames, (chosen, dtype), rate)
        for size in sizes
    ]
    return Benchmark(
        machine=machine_name(chosen),
        device=str(chosen),
        dtype=describe_type(kind, quantized),
        torch=torch.__version__,
        frames=frames,
        matrix_rate=rate,
        rows=rows,
    )


def measure(
    size: tuple[int, int],
    frames: int,
    where: tuple[torch.device, Dtype],
    rate: float,
) -> Row:
    """Measure one size."""
    device, dtype = where
    source = (size[0] // SCALE, size[1] // SCALE)
    with tempfile.TemporaryDirectory(prefix="vrx-bench-") as folder:
        clip = Path(folder) / "clip.mkv"
        make_clip(clip, source, frames)
        job = Job(
            source=str(clip),
            model=ModelSettings(device=str(device), dtype=dtype),
            restore=RestoreSettings(task=Task.UPSCALE, scale=SCALE),
            selection=SelectionSettings(),
            output=OutputSettings(path=str(Path(folder) / "out.mp4")),
        )
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        begin = perf_counter()
        outcome = Batch([job], ignore).restore(0)
        seconds = perf_counter() - begin
    stage_fps = {name: frames / max(t, 1e-9) for name, t in outcome.stage_seconds.items()}
    floor = rate / operations(f"upscale{SCALE}", size)
    memory = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory()
    return Row(size[0], size[1], stage_fps, frames / seconds, floor, floor * seconds / frames, memory)


def make_clip(path: Path, size: tuple[int, int], frames: int) -> None:
    """Write a moving pattern, lossless."""
    layout = Layout(Kind.YUV, 8, 1, 1)
    target = Target(
        path=path,
        container="matroska",
        rule=encoders.find_encoder("ffv1"),
        layout=layout,
        color=Color(matrix="bt709", full_range=False),
        size=size,
        time_base=1 / RATE,
        rate=RATE,
        sample_aspect=Fraction(1),
    )
    chroma = layout.chroma_size(*size)
    with Writer(target) as writer:
        y, x = np.mgrid[: size[1], : size[0]]
        for number in range(frames):
            luma = (128 + 60 * np.sin((x + 2 * number) / 7) * np.cos((y - number) / 5)).astype(np.uint8)
            gray = np.full((chroma[1], chroma[0]), 128, np.uint8)
            writer.write(Frame((luma, gray, gray), layout, target.color, number, 1 / RATE))
        writer.finish()
