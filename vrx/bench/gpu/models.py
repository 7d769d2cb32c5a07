"""Large models with random weights: stage by stage, without waiting, through the threads, and by the profiler."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import torch
from torch.profiler import ProfilerActivity, profile

from vrx.bench.gpu.context import Context
from vrx.bench.gpu.driver import Stream, through_threads
from vrx.bench.gpu.restorers import Spec, embedded, restorer_of
from vrx.models.base import Restorer

CHUNKS, WARM = 5, 2  # driven by hand; how many of them are not steady yet
EMBEDDED_SIZES = ((120, 208), (180, 320), (270, 480), (540, 960))  # sources x4
ROWS, NAME_WIDTH = 22, 90  # of a profile


def measure(context: Context, words: Sequence[str]) -> None:
    """Every model in `words`; flags: `profile`, and `plain` for nothing compiled in the autoencoder."""
    for word in words:
        if context.left() < 12:
            context.results.emit("bench", what=word, skipped="no time")
            continue
        context.clear()
        with context.results.guard("bench", what=word), torch.inference_mode():
            measure_one(context, Spec.parse(word, context.tiny))


def measure_one(context: Context, spec: Spec) -> None:
    """One model at one size."""
    begin = perf_counter()
    restorer = restorer_of(spec, context)
    context.sync()
    seconds = round(perf_counter() - begin, 1)
    context.results.emit("bench", what=spec.text, built=seconds, weights_gb=context.peak())
    source = (spec.height // restorer.scale, spec.width // restorer.scale)
    stream = Stream(restorer, source)
    by_stage(context, spec, stream)
    if "profile" in spec.flags and context.left() > 15:
        with context.results.guard("bench", what=spec.text, part="profile"):
            profile_chunk(context, spec, stream)
    if context.left() > 10:
        with context.results.guard("bench", what=spec.text, part="without waiting"):
            without_waiting(context, spec, stream)
    del stream
    context.clear()
    if context.left() > 10:
        with context.results.guard("bench", what=spec.text, part="threads"):
            with_threads(context, spec, restorer, source)


def by_stage(context: Context, spec: Spec, stream: Stream) -> None:
    """Milliseconds of each stage: until the host is free again, and until the device is done."""
    steady: dict[str, list[float]] = {name: [] for name in stream.stages}
    host: dict[str, list[float]] = {name: [] for name in stream.stages}
    peaks = dict.fromkeys(stream.stages, 0.0)
    first: dict[str, float] = {}
    for number in range(3 if context.tiny else CHUNKS):
        for name, step in stream.steps(stream.noise(context.device, spec.masked)):
            context.sync()
            context.reset_peak()
            begin = perf_counter()
            step()
            launched = perf_counter() - begin
            context.sync()
            seconds = perf_counter() - begin
            peaks[name] = max(peaks[name], context.peak())
            if number == 0:
                first[name] = round(seconds, 2)
                found = {"seconds": round(seconds, 2), "peak_gb": context.peak()}
                context.results.emit("bench", what=spec.text, chunk=0, stage=name, **found)
            elif number >= WARM:
                steady[name].append(seconds * 1e3)
                host[name].append(launched * 1e3)
        if context.left() < 8 and number >= WARM:
            break
    middle = {name: round(sorted(spent)[len(spent) // 2], 1) for name, spent in steady.items()}
    frames = stream.restorer.schedule.next
    context.results.emit(
        "bench",
        what=spec.text,
        steady=True,
        frames=frames,
        ms=middle,
        host_ms={name: round(min(spent), 1) for name, spent in host.items()},
        fps=round(frames / sum(middle.values()) * 1e3, 1),
        peak_gb=peaks,
        first_s=first,
    )


def profile_chunk(context: Context, spec: Spec, stream: Stream) -> None:
    """The kernels of the next chunk, a table a stage in profile.txt."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if context.cuda else [])]
    for name, step in stream.steps(stream.noise(context.device, spec.masked)):
        with profile(activities=activities) as found:
            step()
            context.sync()
        key = "self_cuda_time_total" if context.cuda else "self_cpu_time_total"
        table = found.key_averages().table(sort_by=key, row_limit=ROWS, max_name_column_width=NAME_WIDTH)
        context.results.append("profile.txt", f"##### {spec.text} {name}\n{table}\n")


def without_waiting(context: Context, spec: Spec, stream: Stream) -> None:
    """Chunks launched one after the other."""
    context.sync()
    begin, count = perf_counter(), 3
    for _ in range(count):
        stream.step(stream.noise(context.device, spec.masked))
    context.sync()
    fps = round(count * stream.restorer.schedule.next / (perf_counter() - begin), 1)
    context.results.emit("bench", what=spec.text, steady=True, part="without waiting", fps=fps)


def with_threads(context: Context, spec: Spec, restorer: Restorer, source: tuple[int, int]) -> None:
    """As a run works, without files; its memory beside the footprint's estimate."""
    count = restorer.schedule.first + restorer.schedule.next * (1 if context.tiny else 5)
    context.reset_peak()
    found = through_threads(restorer, context.device, count, source, spec.masked)
    peak, estimate = context.peak(), spec.estimate()
    context.results.emit(
        "bench",
        what=spec.text,
        steady=True,
        part="threads and conversions",
        frames=len(found.frames),
        fps=found.fps,
        stage_s=found.by_stage(),
        peak_gb=peak,
        estimate_gb=estimate,
        peak_to_estimate=round(peak / estimate, 2) if estimate else None,
    )


def measure_embedded(context: Context, words: Sequence[str]) -> None:
    """The embedded model through the real threads, without files."""
    for task, scale in (("upscale", 4), ("deblur", 1), ("inpaint", 1)):
        sizes = EMBEDDED_SIZES[:1] if context.tiny or task != "upscale" else EMBEDDED_SIZES
        for size in sizes:
            if context.left() < 5:
                return
            source = size if scale == 4 else (size[0] * 4, size[1] * 4)
            output = f"{size[1] * 4}x{size[0] * 4}"
            with context.results.guard("embedded", task=task, output=output):
                context.clear()
                restorer = embedded(task, scale, context.device, context.dtype)
                through_threads(restorer, context.device, 8, source, task == "inpaint")
                count = 8 if context.tiny else 80 if size[0] < 300 else 40
                found = through_threads(restorer, context.device, count, source, task == "inpaint")
                record = {"fps": found.fps, "stage_s": found.by_stage(), "peak_gb": context.peak()}
                context.results.emit("embedded", task=task, output=output, **record)
