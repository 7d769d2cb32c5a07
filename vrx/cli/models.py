"""`vrx models`: the catalogue."""

from __future__ import annotations

from typing import Annotated

import typer

from vrx import api
from vrx.cli import render
from vrx.errors import ModelError

app = typer.Typer(help="The models vrx knows.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@app.command("list")
def list_models(json: AsJson = False) -> None:
    """List all models."""
    entries = api.models().values()
    if json:
        for entry in entries:
            render.emit_json({"type": "model", **render.plain(entry)})
        return
    rows = [
        (
            e.name,
            ", ".join(e.tasks),
            render.size(e.size),
            e.license,
            "ready" if e.available else "not in this version",
            e.about,
        )
        for e in entries
    ]
    render.emit_table(("model", "tasks", "size", "license", "state", "what it is"), rows)


@app.command("show")
def show(name: Annotated[str, typer.Argument(help="A model's name.")], json: AsJson = False) -> None:
    """Show one model."""
    entries = api.models()
    if name not in entries:
        raise ModelError(f"unknown model {name!r}", "See the catalogue with: vrx models list")
    entry = entries[name]
    if json:
        render.emit_json({"type": "model", **render.plain(entry)})
        return
    rows = [
        ("what it is", entry.about),
        ("family", entry.family),
        ("tasks", ", ".join(entry.tasks)),
        ("scales", ", ".join(map(str, entry.scales)) or "keeps the size"),
        ("prompts", "yes" if entry.hears_prompts else "no"),
        ("license", entry.license),
        ("paper", entry.paper or "none"),
        ("comes from", entry.source),
        ("parameters", f"{entry.parameters:,}" if entry.parameters else "unknown"),
        ("memory", render.size(entry.memory)),
        ("state", "ready" if entry.available else "not in this version"),
    ]
    for part in entry.parts:
        where = f"{part.repo} " if part.repo else ""
        rows.append(("part", f"{where}{part.path}, {render.size(part.size)}, sha256 {part.sha256 or 'unknown'}"))
    for key, value in api.model_figures(entry).items():
        rows.append((key, value))
    render.emit_table(("", ""), rows, title=name)
