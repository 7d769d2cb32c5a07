"""`vrx deblur`: remove blur."""

from __future__ import annotations

from typing import Annotated

import typer

from vrx.cli import options as o
from vrx.cli.restoring import restoring
from vrx.settings import RestoreSettings, Task


@restoring
def deblur(
    sigma: Annotated[str, typer.Option("--sigma", help="Blur in pixels (standard deviation), or auto.")] = "auto",
    strength: o.Strength = "auto",
    blend: o.Blend = 1.0,
) -> RestoreSettings:
    """Remove blur from videos."""
    return RestoreSettings(
        task=Task.DEBLUR,
        sigma=o.number(sigma, "--sigma"),
        strength=o.number(strength, "--strength"),
        blend=blend,
    )
