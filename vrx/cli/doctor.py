"""`vrx doctor`: checks of this installation."""

from __future__ import annotations

import typer

from vrx import api, configuration
from vrx.cli import options as o
from vrx.cli import render
from vrx.cli.defaults import known_options
from vrx.configuration import Options
from vrx.errors import UsageError


def doctor(context: typer.Context, json: o.AsJson = False) -> None:
    """Check this installation: torch, devices, ffmpeg, the embedded model, cache, Hub, configuration."""
    known = known_options(context.find_root().command)
    checks = [*api.doctor(), api.check("configuration", *check_configuration(known))]
    if json:
        for check in checks:
            render.emit_json({"type": "check", **render.to_json_value(check)})
    else:
        render.emit_table(("", "", ""), [("ok" if c.good else "--", c.name, c.detail) for c in checks])
    if not all(check.good for check in checks if check.needed):
        raise SystemExit(1)


def check_configuration(known: Options) -> tuple[bool, str]:
    """Whether the configuration is right, and which file it is."""
    try:
        found = configuration.load(known)
    except UsageError as error:
        return False, str(error)
    return True, f"{found.path}{'' if found.exists else ', which does not exist'}"
