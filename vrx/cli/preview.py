"""The options of previews: what to show, where, and which choices beside each other."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Any

import typer

from vrx.cli.completion import complete_choices, complete_words
from vrx.cli.defaults import preset_values
from vrx.cli.options import DEGRADATION, FLAG, MODEL
from vrx.cli.usage import CommandGroup
from vrx.errors import UsageError, did_you_mean
from vrx.previews import combine
from vrx.settings import Task, parse_time

PREVIEW = "Preview"
ONE_FRAME = "frame"
VARIED_PANELS = (None, DEGRADATION, MODEL)  # whose options may be given several values, but for these
FIXED = {"box", "offline", "help"}
PRESET_NAME = "preset_name"  # stands for several options
VARIED = {"scenes", "scene_threshold", "deinterlace", "codec", "crf", "preset", "pix_fmt", "encoder_args"}

Preview = Annotated[
    bool,
    typer.Option(
        "--preview",
        metavar=FLAG,
        help="Restore some places only, and show them beside the source: NAME.preview.png and NAME.preview.mp4.",
        rich_help_panel=PREVIEW,
    ),
]
At = Annotated[
    list[str] | None,
    typer.Option(
        "--at",
        metavar="TIME",
        show_default="chosen by detail, motion and scene",
        help="A place to show: seconds (12.5) or HH:MM:SS; may be repeated. The picture shows its first frame.",
        rich_help_panel=PREVIEW,
    ),
]
Length = Annotated[
    str,
    typer.Option(
        metavar="TIME|frame",
        autocompletion=complete_words("frame"),
        help="How much of each place: up to 10 seconds, or one frame, which gives a picture only.",
        rich_help_panel=PREVIEW,
    ),
]


def complete_vary(context: typer.Context, incomplete: str) -> list[str]:
    """What `--vary` takes, for the shell."""
    options = {str(p.name).replace("_", "-"): p for p in context.command.params if can_vary(p)}
    return complete_choices(options, context, incomplete)


Vary = Annotated[
    list[str] | None,
    typer.Option(
        "--vary",
        metavar="OPTION=VALUE,VALUE",
        autocompletion=complete_vary,
        show_default=False,
        help="Show several values of an option beside each other, as in strength=0.3,0.6,1; may be repeated.",
        rich_help_panel=PREVIEW,
    ),
]


class PreviewGroup(CommandGroup):
    """`vrx preview`, in which the task may be left out: it is the one whose options are given, else upscale."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Arguments that begin with the task.  Raises UsageError where they do not go together."""
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            hint = did_you_mean(args[0], self.commands, "vrx preview {}") if args[0].isalpha() else ""
            if hint:
                raise UsageError(f"no task {args[0]!r}", hint)
            args = [self._task(args), *args]
        return super().parse_args(ctx, args)

    def _task(self, args: Sequence[str]) -> str:
        names = {task: self._option_names(task) for task in self.commands}
        words = [word.split("=")[0] if word.startswith("--") else word[:2] for word in args if word.startswith("-")]
        found = {}
        for task, own in names.items():
            others = set().union(*(names[other] for other in names if other != task))
            given = next((word for word in words if word in own - others), None)
            if given is not None:
                found[task] = given
        if len(found) > 1:
            listed = " and ".join(f"{option} of {task}" for task, option in found.items())
            raise UsageError(f"options of two tasks: {listed}", "Name one: vrx preview deblur in.mp4")
        return next(iter(found), Task.UPSCALE)

    def _option_names(self, task: str) -> set[str]:
        return {name for p in self.commands[task].params for name in (*p.opts, *p.secondary_opts)}


def parse_length(text: str) -> Fraction | None:
    """Seconds of a place, None for one frame.  Raises UsageError."""
    return None if text == ONE_FRAME else parse_time(text)


def parse_choices(context: typer.Context, words: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """Combinations of values of a command's options, each with its name.  Raises UsageError.

    Values by parameter, as typer would give them to the command.
    """
    options = {p.name: p for p in context.command.params if can_vary(p)}
    choices: dict[str, list[str]] = {}
    for word in words:
        name, sign, values = word.partition("=")
        key = name.lstrip("-").replace("-", "_")
        shown = key.replace("_", "-")
        if key not in options or not sign:
            known = [option.replace("_", "-") for option in options]
            hint = did_you_mean(shown, known) if key not in options else ""
            raise UsageError(f"--vary is {word!r}", f"{hint}Write OPTION=VALUE,VALUE with one of: {', '.join(known)}")
        if shown in choices:
            raise UsageError(f"--vary names {shown} twice", f"Write all values after one {shown}=")
        choices[shown] = [value for value in next(csv.reader([values], skipinitialspace=True), []) if value]
    found = []
    for title, values_by_name in combine(choices):
        texts = {name.replace("-", "_"): value for name, value in values_by_name.items()}
        preset = texts.pop(PRESET_NAME, None)
        base = {} if preset is None else preset_values(context, preset)
        found.append((title, base | {key: options[key].process_value(context, text) for key, text in texts.items()}))
    return found


def can_vary(parameter: Any) -> bool:
    """Whether an option decides what a result looks like, and takes one value."""
    if parameter.param_type_name != "option" or parameter.hidden or parameter.name in FIXED:
        return False
    return parameter.rich_help_panel in VARIED_PANELS or parameter.name in VARIED
