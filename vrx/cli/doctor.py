"""`vrx doctor`: what works here."""

from __future__ import annotations

from typing import Annotated

import typer

from vrx import api
from vrx.cli import render


def doctor(json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False) -> None:
    """Check this installation."""
    checks = api.doctor()
    if json:
        for check in checks:
            render.emit_json({"type": "check", **render.plain(check)})
    else:
        render.emit_table(("", "", ""), [("ok" if c.good else "--", c.name, c.detail) for c in checks])
    if not all(check.good for check in checks if check.needed):
        raise SystemExit(1)
