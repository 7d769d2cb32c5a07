"""`vrx bench`: how fast the embedded model is on this machine, and what it takes."""

from __future__ import annotations

from typing import Annotated

import typer

from vrx import api
from vrx.cli import render
from vrx.errors import UsageError


def bench(
    size: Annotated[
        list[str] | None, typer.Option("--size", help="Output size, WIDTHxHEIGHT; may be repeated.")
    ] = None,
    frames: Annotated[int, typer.Option("--frames", help="Frames a measurement.")] = 40,
    device: Annotated[str, typer.Option("-d", "--device", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    dtype: Annotated[str, typer.Option("--dtype", help="auto, bf16, fp16 or fp32.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Measure speed and memory of the engine, x4."""
    sizes = [parse_size(text) for text in size or ["832x480", "1280x720"]]
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


def parse_size(text: str) -> tuple[int, int]:
    """`1280x720` as numbers.  Raises UsageError."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isdigit() and int(p) >= 16 and int(p) % 4 == 0 for p in parts):
        raise UsageError(f"cannot use the size {text!r}", "Write WIDTHxHEIGHT, both multiples of 4")
    return int(parts[0]), int(parts[1])
