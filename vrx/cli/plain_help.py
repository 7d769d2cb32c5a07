"""Commands whose help names arguments as users type them, without the types that they have in Python."""

from __future__ import annotations

from typing import Any

import typer.core


class PlainHelp:
    """What a command and a group have in common."""

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters; those without a word for their value, as flags, show none."""
        found: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in found:
            if parameter.param_type_name == "argument" or not parameter.metavar:
                parameter.display_type_rich = show_no_type
        return found

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The line of usage: brackets around what may be left out, nothing around what may not."""
        pieces: list[str] = super().collect_usage_pieces(ctx)  # type: ignore[misc]
        return [piece.replace("{", "").replace("}", "") for piece in pieces]


class Command(PlainHelp, typer.core.TyperCommand):
    """A command."""


def show_no_type(ctx: Any) -> None:
    """For typer's `display_type_rich`."""
