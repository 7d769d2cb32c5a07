"""`vrx bench`: how fast the embedded model is on this machine, and what it takes."""

from __future__ import annotations

from typing import Annotated

import typer

from vrx import api
from vrx.cli import render
from vrx.errors import UsageError
from vrx.settings import ModelSettings

SIZES = ("832x480", "1280x720")
LARGE_SIZES = (*SIZES, "1920x1080")


def bench(
    size: Annotated[
        list[str] | None, typer.Option("--size", help="Output size, WIDTHxHEIGHT; may be repeated.")
    ] = None,
    frames: Annotated[int, typer.Option("--frames", help="Frames a measurement.")] = 40,
    device: Annotated[str, typer.Option("-d", "--device", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    dtype: Annotated[str, typer.Option("--dtype", help="auto, bf16, fp16 or fp32.")] = "auto",
    model: Annotated[str, typer.Option("--model", help="A model of the catalogue.")] = "embedded",
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Build the full-size networks with random weights.")
    ] = False,
    chunks: Annotated[int, typer.Option("--chunks", help="Chunks a measurement with random weights.")] = 1,
    decoder: Annotated[str, typer.Option("--decoder", help="auto, full or tiny.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Measure speed and memory of the engine, x4; large models stage by stage with --random-weights."""
    wishes = ModelSettings(device=device, dtype=dtype, decoder=decoder)
    if random_weights:
        large([parse_size(text) for text in size or LARGE_SIZES], model, chunks, wishes, json)
        return
    if model != "embedded":
        raise UsageError(f"{model} is measured with random weights only", "Add --random-weights")
    sizes = [parse_size(text) for text in size or SIZES]
    if frames < 8:
        raise UsageError(f"{frames} frames measure nothing", "Use 8 or more")
    result = api.bench(sizes, frames, device, dtype)
    if json:
        render.emit_json({"type": "bench", **render.plain(result)})
        return
    rows = []
    for row in result.rows:
        stages = [f"{row.stage_fps[name]:.1f}" for name in ("read", "encode", "generate", "decode", "write")]
        rows.append(
            (f"{row.width}x{row.height}", *stages, f"{row.fps:.1f}", f"{row.floor_fps:.1f}", render.size(row.memory))
        )
    header = ("output", "read", "encode", "generate", "decode", "write", "end to end", "floor", "peak memory")
    render.emit_table(header, rows, title=f"{result.machine}, {result.device}, {result.dtype}; frames per second")


def large(sizes: list[tuple[int, int]], model: str, chunks: int, wishes: ModelSettings, json: bool) -> None:
    """A large model's stages."""
    if chunks < 1:
        raise UsageError(f"{chunks} chunks measure nothing", "Use 1 or more")
    result = api.bench_random(model, sizes, chunks, wishes)
    if json:
        render.emit_json({"type": "bench", **render.plain(result)})
        return
    rows = [
        (
            f"{row.width}x{row.height}",
            row.stage,
            f"{row.seconds:.3f} s",
            f"{row.fps:.2f}",
            f"{row.operations / 1e12:.1f} T",
            f"{row.floor:.3f} s",
            f"{row.gap:.1f}",
            render.size(row.memory),
        )
        for row in result.rows
    ]
    header = ("output", "stage", "a chunk", "fps", "operations", "floor", "gap", "peak memory")
    title = f"{result.model}, random weights, {result.machine}, {result.device}, {result.dtype}"
    render.emit_table(header, rows, title=title)


def parse_size(text: str) -> tuple[int, int]:
    """`1280x720` as numbers.  Raises UsageError."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isdigit() and int(p) >= 16 and int(p) % 4 == 0 for p in parts):
        raise UsageError(f"cannot use the size {text!r}", "Write WIDTHxHEIGHT, both multiples of 4")
    return int(parts[0]), int(parts[1])
