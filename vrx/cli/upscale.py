"""`vrx upscale`: restore and enlarge."""

from __future__ import annotations

from typing import Annotated

import typer

from vrx.cli import options as o
from vrx.cli.restoring import restoring
from vrx.settings import RestoreSettings, Task


@restoring
def upscale(
    scale: Annotated[int, typer.Option("-s", "--scale", help="Enlarge by 2, 3 or 4.")] = 4,
    strength: o.Strength = "auto",
    blend: o.Blend = 1.0,
) -> RestoreSettings:
    """Restore and enlarge videos."""
    return RestoreSettings(task=Task.UPSCALE, scale=scale, strength=o.number(strength, "--strength"), blend=blend)
