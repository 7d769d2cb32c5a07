"""`vrx presets`: named sets of options."""

from __future__ import annotations

from typing import Annotated

import typer

from vrx import configuration
from vrx.cli import options as o
from vrx.cli import render
from vrx.cli.completion import complete_presets
from vrx.cli.defaults import known_options
from vrx.configuration import OptionSet, Preset, Setting
from vrx.errors import UsageError, did_you_mean

Name = Annotated[str | None, typer.Argument(metavar="NAME", help="Only this preset.", autocompletion=complete_presets)]


def presets(context: typer.Context, name: Name = None, json: o.AsJson = False) -> None:
    """List presets: what each is for, which options it sets, and why."""
    found = configuration.load(known_options(context.find_root().command))
    if name is not None and name not in found.presets:
        raise UsageError(f"no preset {name!r}", did_you_mean(name, found.presets) + "List them with: vrx presets")
    chosen = [preset for preset in found.presets.values() if name in (None, preset.name)]
    if json:
        for preset in chosen:
            render.emit_json({"type": "preset", **render.to_json_value(preset)})
        return
    for preset in chosen:
        render.emit_table(("", ""), rows(preset), title=preset.name)
    if name is None:
        state = "" if found.exists else " (does not exist yet)"
        render.note_line(f"Yours go into {found.path}{state}, as [presets.NAME]")


def rows(preset: Preset) -> list[tuple[str, str]]:
    """A preset for people."""
    found = [("for", preset.about), *sets(preset.options), ("why", preset.why)]
    if preset.path != "vrx":
        found.append(("from", preset.path))
    return [(name, text) for name, text in found if text]


def sets(options: OptionSet) -> list[tuple[str, str]]:
    """What a preset sets, for all commands and for single ones."""
    return [("sets", typed(options.shared)), *((f"vrx {name}", typed(own)) for name, own in options.commands.items())]


def typed(settings: tuple[Setting, ...]) -> str:
    """Settings as they are typed."""
    return " ".join(map(str, settings))
