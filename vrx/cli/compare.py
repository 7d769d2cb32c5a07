"""`vrx compare`: figures of two videos, and pictures of them side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vrx import api
from vrx.cli import options as o
from vrx.cli import render


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A video or picture.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The one beside it.")],
    reference: Annotated[
        str | None, typer.Argument(metavar="REF", show_default=False, help="What both should be, where it is known.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FOLDER", show_default=False, help="Write pictures here."),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="A row for every frame and video as CSV.")] = False,
    json: o.AsJson = False,
    overwrite: Annotated[
        bool, typer.Option("-y", "--overwrite", metavar=o.FLAG, help="Replace pictures that exist.")
    ] = False,
) -> None:
    """Compare two videos, with each other or with the one both should be."""
    found = api.compare(first, second, reference)
    names = ("A", "B") if reference is None else ("reference", "A", "B")
    for note in found.notes:
        render.note_line(note.text)
    if output is not None:
        for path in api.write_comparison(found, output, names, overwrite):
            render.note_line(f"wrote {path}")
    report = api.comparison_report(found, names)
    if json:
        for line in report.json():
            render.emit_json(line)
    elif csv:
        render.emit_csv(*report.frames())
    else:
        render.emit_table(*report.overall(), f"means of {len(found.frames)} frames")
        if len(found.scenes) > 1:
            render.emit_table(*report.scenes(), "scenes")
