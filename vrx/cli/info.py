"""`vrx info`: streams, color, timing of files, and what a run would make of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vrx import api, events
from vrx.cli import options as o
from vrx.cli import render
from vrx.cli.progress import write_event
from vrx.errors import Exit, FailedInputsError, VrxError
from vrx.files import format_bytes

FIELDS = {"tff": "yes, top field first", "bff": "yes, bottom field first"}

if TYPE_CHECKING:
    from vrx.media.probe import SourceInfo


def info(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT", help="Videos, pictures, folders or quoted globs.")],
    scenes: Annotated[
        bool, typer.Option("--scenes", metavar=o.FLAG, help="Count the scenes (decodes the complete video).")
    ] = False,
    recursive: Annotated[bool, typer.Option("-r", "--recursive", metavar=o.FLAG, help="Include subfolders.")] = False,
    sequence: o.AsSequence = False,
    stream: o.StreamNumber = None,
    fps: o.PictureRate = None,
    json: o.AsJson = False,
) -> None:
    """Show streams, size, color and timing of files."""
    expansion = api.expand_all(inputs, recursive, sequence)
    for word, note in expansion.notes:
        if json:
            write_event(events.Noted.of(word, note))
        else:
            render.note_line(note.text)
    alone = len(expansion.inputs) + len(expansion.problems) == 1
    failed: list[tuple[str, VrxError]] = list(expansion.problems)
    if fps is not None and expansion.inputs:
        expansion.check_rate()
    for found in expansion.inputs:
        try:
            show(found.source, stream, fps if found.numbered else None, scenes, json)
        except VrxError as error:
            failed.append((found.source, error))
    if failed:
        raise FailedInputsError(failed, failed[0][1].exit_code if alone else Exit.BATCH)


def show(source: str, stream: int | None, fps: str | None, scenes: bool, json: bool) -> None:
    """Show one source.  Raises InputError, and UsageError for an index that is not a video stream."""
    found = api.probe(source, stream, fps)
    count = len(api.detect_scenes(source, stream=stream, fps=fps)) if scenes else None
    if json:
        render.emit_json({"type": "info", **render.to_json_value(found), "scenes": count})
    else:
        render.emit_table(("", ""), rows(found, count), title=source)


def rows(info: SourceInfo, scenes: int | None) -> list[tuple[str, str]]:
    """Rows of the table about a source."""
    video = info.video
    color = video.color
    full = {True: "full", False: "limited", None: "unspecified"}[color.full_range]
    tags = ", ".join(part or "unspecified" for part in (color.matrix, color.primaries, color.transfer))
    result = [
        ("container", f"{info.container}, {render.seconds(info.duration)}"),
        ("video", f"stream {video.index}, {video.codec}, {video.size[0]}x{video.size[1]}, {video.pix_fmt}"),
        ("frames", f"{info.estimated_frames or 'unknown'} at {float(video.rate):.3f} fps"),
        ("color", f"{tags}, {full} range"),
    ]
    if video.sample_aspect not in (0, 1):
        result.append(("pixels", f"{video.sample_aspect.numerator}:{video.sample_aspect.denominator}"))
    if video.rotation or video.mirrored:
        result.append(("rotation", f"{video.rotation} degrees{', mirrored' if video.mirrored else ''}"))
    if video.interlaced:
        result.append(("interlaced", FIELDS[video.interlaced]))
    for stream in info.streams:
        if stream.index != video.index:
            language = f" ({stream.language})" if stream.language else ""
            result.append((f"stream {stream.index}", f"{stream.kind}, {stream.detail or stream.codec}{language}"))
    if info.chapters:
        result.append(("chapters", str(info.chapters)))
    if scenes is not None:
        result.append(("scenes", str(scenes)))
    wide, tall = video.size
    result.append(("upscale -s 4", f"{4 * wide}x{4 * tall}, {format_bytes(api.memory_for((wide, tall), 4))} of memory"))
    return result
