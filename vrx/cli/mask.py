"""`vrx mask`: a mask of what does not belong to a video."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from vrx import api
from vrx.cli import options as o
from vrx.cli import progress, render
from vrx.cli.completion import complete_kinds
from vrx.files import as_argument


def mask(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="A video.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE.mkv", show_default="beside the input", help="Where the mask goes."
        ),
    ] = None,
    find: Annotated[
        str,
        typer.Option(
            "--find",
            metavar="KIND,KIND",
            autocompletion=complete_kinds,
            help="overlays (logos, subtitles, timecodes), dust and scratches (of one frame, or lines that stay while "
            "the picture moves), pixels (dead ones), or all.",
        ),
    ] = "all",
    grow: Annotated[int, typer.Option("--grow", metavar="PIXELS", help="Mask this much around what is found.")] = 1,
    write_empty: Annotated[
        bool, typer.Option("--write-empty", metavar=o.FLAG, help="Write a mask where nothing is found, too.")
    ] = False,
    stream: o.StreamNumber = None,
    fps: o.PictureRate = None,
    json: o.AsJson = False,
    overwrite: Annotated[
        bool, typer.Option("-y", "--overwrite", metavar=o.FLAG, help="Replace a mask that exists.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", metavar=o.FLAG, help="Show no progress.")] = False,
) -> None:
    """Find logos, subtitles, dust and the like, and write a mask for vrx inpaint, with a picture to check it by."""
    options = progress.ProgressOptions(quiet=quiet, opening=source)
    with progress.watcher(render.err_console(), options, json_lines=False) as watch:
        found = api.make_mask(
            source,
            output,
            find,
            grow=grow,
            write_empty=write_empty,
            stream=stream,
            overwrite=overwrite,
            fps=fps,
            on_event=watch,
        )
    for note in found.notes:
        render.note_line(note.text)
    if json:
        for find_ in found.finds:
            render.emit_json({"type": "find", **render.to_json_value(find_)})
        render.emit_json({"type": "mask", "frames": found.frames, "mask": found.mask, "picture": found.picture})
    elif found.finds:
        rows = [
            (
                f.kind,
                f.count,
                "{}x{} at {},{}".format(*f.box[2:], *f.box[:2]),
                render.seconds(f.start),
                render.seconds(f.end),
                f.frames,
            )
            for f in found.finds
        ]
        render.emit_table(("found", "count", "where", "from", "to", "frames"), rows)
    if not found.finds:
        render.note_line(f"nothing found in {found.frames} frames" + ("" if found.mask else "; no mask written"))
    if found.mask is not None and not json:
        render.note_line(f"wrote {found.mask}" + (f" and {found.picture}" if found.picture else ""))
        rate = [] if fps is None else ["--fps", fps]
        rate += ["--sequence"] if Path(source).is_dir() else []
        command = shlex.join(["vrx", "inpaint", as_argument(source), "--mask", as_argument(str(found.mask)), *rate])
        render.note_line(f"check the picture, then: {command}" if found.picture else f"it marks nothing yet: {command}")
