"""Option types, declared once, in the help panels of the design."""

from __future__ import annotations

import shlex
from fractions import Fraction
from typing import Annotated

import typer

from vrx.errors import UsageError
from vrx.settings import parse_time

MODEL, STRENGTH, SELECTION, OUTPUT, RUN = "Model", "Strength", "Selection", "Output", "Run"

Inputs = Annotated[
    list[str] | None,
    typer.Argument(help="Videos, pictures, numbered pictures (f_%05d.png), folders, globs, or - for stdin."),
]
MoreInputs = Annotated[list[str] | None, typer.Option("-i", hidden=True)]  # ffmpeg's habit
Model = Annotated[str, typer.Option("--model", help="NAME, auto, or the PATH of a checkpoint.", rich_help_panel=MODEL)]
Prompt = Annotated[
    str | None,
    typer.Option("-p", "--prompt", help="What is to be seen, for models that hear it.", rich_help_panel=MODEL),
]
Seed = Annotated[int, typer.Option(help="Seed of the random numbers.", rich_help_panel=MODEL)]
Device = Annotated[str, typer.Option("-d", "--device", help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=MODEL)]
Dtype = Annotated[str, typer.Option(help="auto, bf16, fp16 or fp32.", rich_help_panel=MODEL)]
Offline = Annotated[bool, typer.Option("--offline", help="Never use the network.", rich_help_panel=MODEL)]
Decoder = Annotated[str, typer.Option(help="auto, full or tiny, for models that have both.", rich_help_panel=MODEL)]
ColorFix = Annotated[
    str,
    typer.Option(help="Colours of the source for FlashVSR: auto, none, adain or wavelet.", rich_help_panel=MODEL),
]
Tile = Annotated[str, typer.Option(help="Codec in tiles: auto, off, or PIXELS a side.", rich_help_panel=MODEL)]
Strength = Annotated[str, typer.Option(help="Degradation to expect, 0 to 1, or auto.", rich_help_panel=STRENGTH)]
Blend = Annotated[
    float, typer.Option(help="Share of the restored picture in the result, 0 to 1.", rich_help_panel=STRENGTH)
]
Start = Annotated[str | None, typer.Option(help="Begin at this TIME (12.5 or HH:MM:SS).", rich_help_panel=SELECTION)]
End = Annotated[str | None, typer.Option(help="End before this TIME.", rich_help_panel=SELECTION)]
Frames = Annotated[int | None, typer.Option(help="At most N frames.", rich_help_panel=SELECTION)]
Scenes = Annotated[
    str, typer.Option(help="auto, off, or a FILE with cuts, a frame number a line.", rich_help_panel=SELECTION)
]
SceneThreshold = Annotated[
    float | None, typer.Option(help="Content change that is a cut (27).", rich_help_panel=SELECTION)
]
Deinterlace = Annotated[
    str,
    typer.Option(
        "--deinterlace",
        help="auto (what says it is interlaced; not when inpainting), on or off.",
        rich_help_panel=SELECTION,
    ),
]
Stream = Annotated[
    int | None,
    typer.Option("--stream", help="Video stream to restore, by its number in vrx info.", rich_help_panel=SELECTION),
]
Output = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        help="File, folder (DIR/ is made), template ({stem} {task} {model} {ext}), -.",
        rich_help_panel=OUTPUT,
    ),
]
Codec = Annotated[
    str,
    typer.Option(
        help="auto, h264, hevc, av1, vp9, prores, ffv1, or a hardware encoder's name.", rich_help_panel=OUTPUT
    ),
]
Crf = Annotated[int | None, typer.Option(help="Quality of the encoder, lower is better.", rich_help_panel=OUTPUT)]
Preset = Annotated[str | None, typer.Option(help="Speed preset of the encoder.", rich_help_panel=OUTPUT)]
PixFmt = Annotated[str | None, typer.Option(help="Pixel format, by ffmpeg's name.", rich_help_panel=OUTPUT)]
EncoderArgs = Annotated[
    str | None, typer.Option(help="Further ffmpeg output options, one string.", rich_help_panel=OUTPUT)
]
NoAudio = Annotated[bool, typer.Option("--no-audio", help="Leave the sound out.", rich_help_panel=OUTPUT)]
Overwrite = Annotated[bool, typer.Option("-y", "--overwrite", help="Replace existing results.", rich_help_panel=OUTPUT)]
SkipExisting = Annotated[
    bool,
    typer.Option("-n", "--skip-existing", help="Leave results that are there already.", rich_help_panel=OUTPUT),
]
Recursive = Annotated[
    bool,
    typer.Option(
        "-r", "--recursive", help="Folders with all their subfolders; -o DIR/ keeps the layout.", rich_help_panel=OUTPUT
    ),
]
Resume = Annotated[
    bool,
    typer.Option("--resume/--no-resume", help="Go on where a run of the same command stopped.", rich_help_panel=RUN),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.", rich_help_panel=RUN)]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.", rich_help_panel=RUN)]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say only what fails.", rich_help_panel=RUN)]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more while working.", rich_help_panel=RUN)]
Progress = Annotated[str, typer.Option(help="auto, bar, plain or none.", rich_help_panel=RUN)]


def number(text: str, option: str, automatic: str = "auto") -> float | None:
    """A number, or None for `auto`.  Raises UsageError."""
    if text == automatic:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"{option} is {text!r}", f"Use a number or {automatic}") from error


def moment(text: str | None) -> Fraction | None:
    """A time in seconds, or None."""
    return None if text is None else parse_time(text)


def words(text: str | None) -> tuple[str, ...]:
    """One string as a shell would split it.  Raises UsageError."""
    try:
        return tuple(shlex.split(text)) if text else ()
    except ValueError as error:
        raise UsageError(f"cannot split --encoder-args: {error}") from error
