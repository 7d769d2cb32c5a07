"""The options of which part of a source is restored, and how it is read."""

from __future__ import annotations

from typing import Annotated

import typer

from vrx.cli.completion import complete_words
from vrx.cli.options import FLAG, NUMBERED, PICTURE_RATE, choices
from vrx.settings import Deinterlacing

SELECTION = "Selection"

Start = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Start at TIME: seconds (12.5) or HH:MM:SS.", rich_help_panel=SELECTION),
]
End = Annotated[str | None, typer.Option(metavar="TIME", help="Stop at TIME (exclusive).", rich_help_panel=SELECTION)]
Frames = Annotated[int | None, typer.Option(metavar="N", help="At most N frames.", rich_help_panel=SELECTION)]
Scenes = Annotated[
    str,
    typer.Option(
        metavar="auto|off|FILE",
        help="Scene cuts: find them, ignore them, or read them from FILE, one frame number per line.",
        rich_help_panel=SELECTION,
        autocompletion=complete_words("auto", "off"),
    ),
]
SceneThreshold = Annotated[
    float | None,
    typer.Option(
        metavar="0..255",
        help="Sensitivity of the cut detection; lower finds more cuts.",
        show_default="27",
        rich_help_panel=SELECTION,
    ),
]
Deinterlace = Annotated[
    Deinterlacing,
    typer.Option(
        "--deinterlace",
        metavar=choices(Deinterlacing),
        help="auto: only video marked as interlaced, and never to inpaint. double: a frame of each field (25i to 50p). "
        "film: undo telecine (29.97i to 23.976p).",
        rich_help_panel=SELECTION,
    ),
]
VideoStream = Annotated[
    int | None,
    typer.Option(
        "--stream",
        metavar="N",
        help="Video stream, by its number in vrx info.",
        show_default="as players choose",
        rich_help_panel=SELECTION,
    ),
]
Sequence = Annotated[bool, typer.Option("--sequence", metavar=FLAG, help=NUMBERED, rich_help_panel=SELECTION)]
Fps = Annotated[
    str | None,
    typer.Option(
        "--fps",
        metavar="RATE",
        help=PICTURE_RATE,
        show_default="24",
        rich_help_panel=SELECTION,
    ),
]
Crop = Annotated[
    str | None,
    typer.Option(
        "--crop",
        metavar="auto|W:H:X:Y|off",
        autocompletion=complete_words("auto", "off"),
        help="Restore a part of the picture only: auto, all but black borders, or pixels, as ffmpeg's crop. Masks and "
        "boxes are of the complete picture.",
        show_default="off",
        rich_help_panel=SELECTION,
    ),
]
