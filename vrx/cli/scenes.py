"""`vrx scenes`: the cut list of a video."""

from __future__ import annotations

from typing import Annotated

import typer

from vrx import api
from vrx.cli import options as o
from vrx.cli import parsing, render


def scenes(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="A video.")],
    csv: Annotated[
        bool, typer.Option("--csv", metavar=o.FLAG, help="CSV, which --scenes FILE of vrx upscale reads.")
    ] = False,
    json: o.AsJson = False,
    scene_threshold: o.Sensitivity = None,
    stream: o.StreamNumber = None,
    fps: o.PictureRate = None,
) -> None:
    """List the scenes of a video."""
    parsing.check_form(csv, json)
    found = api.detect_scenes(source, scene_threshold, stream, fps)
    if json:
        for scene in found:
            render.emit_json({"type": "scene", **render.to_json_value(scene)})
        return
    rows = [(s.number, s.start, s.end, float(s.start_time), float(s.end_time)) for s in found]
    if csv:
        render.emit_csv(("scene", "start_frame", "end_frame", "start_seconds", "end_seconds"), rows)
        return
    shown = [(s.number, s.start, s.end, render.seconds(s.start_time), render.seconds(s.end_time)) for s in found]
    render.emit_table(("scene", "start", "end (exclusive)", "from", "to"), shown)
