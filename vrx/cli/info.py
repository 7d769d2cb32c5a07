"""`vrx info`: streams, colour, timing of files, and what a run would make of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vrx import api
from vrx.cli import render
from vrx.errors import Exit, VrxError

if TYPE_CHECKING:
    from vrx.media.probe import SourceInfo


def info(
    inputs: Annotated[list[str], typer.Argument(help="Videos, pictures, folders or globs.")],
    scenes: Annotated[bool, typer.Option("--scenes", help="Find the scenes too: decodes the whole file.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show what files hold."""
    failed: list[VrxError] = []
    sources = api.expand(inputs)
    for source in sources:
        try:
            found = api.probe(Path(source))
            count = len(api.find_scenes(Path(source))) if scenes else None
        except VrxError as error:
            if len(sources) == 1:
                raise
            render.error_line(error)
            failed.append(error)
            continue
        if json:
            render.emit_json({"type": "info", **render.plain(found), "scenes": count})
        else:
            render.emit_table(("", ""), rows(found, count), title=source)
    if failed:
        raise SystemExit(int(Exit.BATCH))


def rows(info: SourceInfo, scenes: int | None) -> list[tuple[str, str]]:
    """A source for people."""
    video = info.video
    color = video.color
    full = {True: "full", False: "limited", None: "unspecified"}[color.full_range]
    tags = ", ".join(part or "unspecified" for part in (color.matrix, color.primaries, color.transfer))
    result = [
        ("container", f"{info.container}, {render.seconds(info.duration)}"),
        ("video", f"{video.codec}, {video.size[0]}x{video.size[1]}, {video.pix_fmt}"),
        ("frames", f"{info.estimated_frames or 'unknown'} at {float(video.rate):.3f} fps"),
        ("color", f"{tags}, {full} range"),
    ]
    if video.sample_aspect not in (0, 1):
        result.append(("pixels", f"{video.sample_aspect.numerator}:{video.sample_aspect.denominator}"))
    if video.rotation or video.mirrored:
        result.append(("rotation", f"{video.rotation} degrees{', mirrored' if video.mirrored else ''}"))
    if video.interlaced:
        result.append(("interlaced", "yes"))
    for stream in info.streams:
        if stream.index != video.index:
            language = f" ({stream.language})" if stream.language else ""
            result.append((f"stream {stream.index}", f"{stream.kind}, {stream.codec}{language}"))
    if info.chapters:
        result.append(("chapters", str(info.chapters)))
    if scenes is not None:
        result.append(("scenes", str(scenes)))
    wide, tall = video.size
    result.append(("upscale -s 4", f"{4 * wide}x{4 * tall}, {render.size(api.memory_for((wide, tall), 4))} of memory"))
    return result
