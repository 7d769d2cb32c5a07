"""`vrx scenes`: the cut list of a video."""

from __future__ import annotations

from typing import Annotated

import typer

from vrx import api
from vrx.cli import render


def scenes(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="A video.")],
    csv: Annotated[bool, typer.Option("--csv", help="As CSV; --scenes FILE reads it back.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    scene_threshold: Annotated[float | None, typer.Option(help="Content change that is a cut (27).")] = None,
    stream: Annotated[int | None, typer.Option("--stream", help="Video stream, by its number in vrx info.")] = None,
) -> None:
    """List the scenes of a video."""
    found = api.find_scenes(source, scene_threshold, stream)
    if json:
        for scene in found:
            render.emit_json({"type": "scene", **render.plain(scene)})
        return
    rows = [(s.number, s.start, s.end, float(s.start_time), float(s.end_time)) for s in found]
    if csv:
        render.emit_csv(("scene", "start_frame", "end_frame", "start_seconds", "end_seconds"), rows)
        return
    shown = [(s.number, s.start, s.end, render.seconds(s.start_time), render.seconds(s.end_time)) for s in found]
    render.emit_table(("scene", "first frame", "before frame", "from", "to"), shown)
