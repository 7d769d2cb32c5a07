"""`vrx bench`: speed and memory on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from vrx import api
from vrx.cli import options as o
from vrx.cli import render
from vrx.cli.completion import complete_catalogue
from vrx.errors import UsageError
from vrx.files import format_bytes
from vrx.settings import ModelSettings

SIZES = ("832x480", "1280x720")


def bench(
    size: Annotated[
        list[str] | None,
        typer.Option(
            "--size",
            metavar="WxH",
            help="Output size; may be repeated.",
            show_default=f"{' and '.join(SIZES)}",
        ),
    ] = None,
    frames: Annotated[int, typer.Option("--frames", metavar="N", help="Frames per measurement.")] = 40,
    device: o.OneDevice = "auto",
    dtype: o.NumberType = "auto",
    model: Annotated[
        str,
        typer.Option("--model", metavar="NAME", help="A model (vrx models list).", autocompletion=complete_catalogue),
    ] = "embedded",
    random_weights: Annotated[
        bool,
        typer.Option(
            "--random-weights",
            metavar=o.FLAG,
            help="A large model, stage by stage, without its weights: they are random. Without --size at 832x480, "
            "1280x720 and 1920x1080, on a processor at 128x128.",
        ),
    ] = False,
    chunks: Annotated[
        int, typer.Option("--chunks", metavar="N", help="Chunks per measurement with --random-weights.")
    ] = 1,
    decoder: o.DecoderChoice = "auto",
    json: o.AsJson = False,
) -> None:
    """Measure speed and memory on this machine, enlarging by 4."""
    settings = ModelSettings(device=device, dtype=dtype, decoder=decoder)
    if random_weights:
        bench_large([parse_size(text) for text in size or ()], model, chunks, settings, json)
        return
    if model != "embedded":
        raise UsageError(f"{model} can be measured only with random weights", "Add --random-weights")
    sizes = [parse_size(text) for text in size or SIZES]
    if frames < 8:
        raise UsageError(f"--frames {frames} is too few", "Use 8 or more")
    result = api.bench(sizes, frames, settings)
    if json:
        render.emit_json({"type": "bench", **render.to_json_value(result)})
        return
    rows = []
    for row in result.rows:
        stages = [f"{row.stage_fps[name]:.1f}" for name in ("read", "encode", "generate", "decode", "write")]
        rows.append(
            (f"{row.width}x{row.height}", *stages, f"{row.fps:.1f}", f"{row.floor_fps:.1f}", format_bytes(row.memory))
        )
    header = ("output", "read", "encode", "generate", "decode", "write", "end to end", "floor", "peak memory")
    render.emit_table(header, rows, title=f"{result.machine}, {result.device}, {result.dtype}; frames per second")


def bench_large(sizes: list[tuple[int, int]], model: str, chunks: int, settings: ModelSettings, json: bool) -> None:
    """Measure the stages of a large model."""
    if chunks < 1:
        raise UsageError(f"--chunks {chunks} is too few", "Use 1 or more")
    result = api.bench_random(model, sizes, chunks, settings, render.note_line)
    if json:
        render.emit_json({"type": "bench", **render.to_json_value(result)})
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
            format_bytes(row.memory),
        )
        for row in result.rows
    ]
    header = ("output", "stage", "per chunk", "fps", "operations", "floor", "gap", "peak memory")
    title = f"{result.model}, random weights, {result.machine}, {result.device}, {result.dtype}"
    render.emit_table(header, rows, title=title)


def parse_size(text: str) -> tuple[int, int]:
    """Parse `1280x720`.  Raises UsageError."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isdigit() and int(p) >= 16 and int(p) % 4 == 0 for p in parts):
        raise UsageError(f"--size is {text!r}", "Use WIDTHxHEIGHT, both multiples of 4 and at least 16")
    return int(parts[0]), int(parts[1])
