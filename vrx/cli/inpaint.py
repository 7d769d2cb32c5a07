"""`vrx inpaint`: fill what a mask marks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vrx.cli import options as o
from vrx.cli.restoring import restoring
from vrx.settings import RestoreSettings, Task


@restoring
def inpaint(
    mask: Annotated[
        Path | None, typer.Option("-m", "--mask", help="Picture, video or folder of pictures; white = fill.")
    ] = None,
    dilate: Annotated[int, typer.Option("--dilate", help="Grow the mask by PX pixels.")] = 0,
    strength: o.Strength = "auto",
    blend: o.Blend = 1.0,
) -> RestoreSettings:
    """Fill what a mask marks."""
    return RestoreSettings(
        task=Task.INPAINT, mask=mask, dilate=dilate, strength=o.number(strength, "--strength"), blend=blend
    )
