"""`vrx compare`: figures of two videos, and pictures of them side by side."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from vrx import api
from vrx.cli import options as o
from vrx.cli import parsing, progress, render
from vrx.files import as_argument


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
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", show_default=False, help="Write one page with sliders, video, plots and figures."
        ),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", metavar=o.FLAG, help="A row for every frame and video as CSV.")] = False,
    json: o.AsJson = False,
    overwrite: Annotated[
        bool, typer.Option("-y", "--overwrite", metavar=o.FLAG, help="Replace pictures and pages that exist.")
    ] = False,
    perceptual: Annotated[
        bool,
        typer.Option(
            "--perceptual/--no-perceptual", metavar=o.FLAG, help="LPIPS and DISTS, where downloaded; they take time."
        ),
    ] = True,
    fps: o.PictureRate = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", metavar=o.FLAG, help="Show no progress.")] = False,
) -> None:
    """Compare two videos, with each other or with the one both should be."""
    sources = [source for source in (first, second, reference) if source is not None]
    parsing.check_form(csv, json)
    api.check_comparison(sources, output, html, overwrite)
    options = progress.ProgressOptions(quiet=quiet, opening=first)
    with progress.watcher(render.err_console(), options, json_lines=False) as watch:
        found = api.compare(first, second, reference, perceptual, watch, fps)
    names = ("A", "B") if reference is None else ("reference", "A", "B")
    for note in found.notes:
        render.note_line(note.text)
    if output is not None:
        for path in api.write_comparison(found, output, names, overwrite):
            render.note_line(f"wrote {path}")
    if html is not None:
        rate = [] if fps is None else ["--fps", fps]
        command = shlex.join(["vrx", "compare", *map(as_argument, sources), "--html", str(html), *rate])
        api.write_page(found, html, names, command)
        render.note_line(f"wrote {html}")
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
        render.emit_table(*report.damages(), "damage found, an estimate")
