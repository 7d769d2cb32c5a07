"""`vrx doctor`: checks of this installation."""

from __future__ import annotations

from vrx import api
from vrx.cli import options as o
from vrx.cli import render


def doctor(json: o.AsJson = False) -> None:
    """Check this installation: torch, devices, ffmpeg, the embedded model."""
    checks = api.doctor()
    if json:
        for check in checks:
            render.emit_json({"type": "check", **render.to_json_value(check)})
    else:
        render.emit_table(("", "", ""), [("ok" if c.good else "--", c.name, c.detail) for c in checks])
    if not all(check.good for check in checks if check.needed):
        raise SystemExit(1)
