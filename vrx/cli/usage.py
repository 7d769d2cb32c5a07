"""What the help ends with, and wrong usage in one line: what is wrong, what is right, where the help is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args, get_origin

import typer
import typer.core
from typer.exceptions import TyperException

from vrx.cli.defaults import dashed_file, is_dashed_file, locate
from vrx.cli.plain_help import PlainHelp
from vrx.errors import UsageError, choice_of, did_you_mean

MEDIA_SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v", ".ts", ".png", ".jpg", ".jpeg", ".gif")
EXIT_CODES = (
    "Exit codes: 0 done, 1 internal error, 2 wrong usage, 3 input, 4 model, 5 device or memory, 6 output, "
    "7 some inputs failed, 130 interrupted, 141 broken pipe, 143 terminated."
)
ORDER = (  # of commands in the help: what is done to a video, around it, and to the installation
    *("upscale", "restore", "deblur", "inpaint", "preview", "mask", "compare"),
    *("info", "scenes", "presets", "models", "bench", "doctor"),
)
RESTORING = frozenset({"upscale", "restore", "deblur", "inpaint"})  # whose options are easily mixed up
OTHER_WORDS = {  # for options, in other programs
    "--vcodec": "--codec",
    "--resolution": "--size",
    "--framerate": "--fps",
    "--ss": "--start",
    "--gpu": "--device cuda",
}
READ_ON = "Read on: README.md and examples/README.md of vrx."


def end_of_help(*examples: str) -> str:
    """Examples, exit codes and where to read on, for typer's `epilog`."""
    shown = "\n".join(f"  {example}" for example in examples)
    return f"Examples:\n{shown}\n\n{EXIT_CODES}\n\n{READ_ON}"


class CommandGroup(PlainHelp, typer.core.TyperGroup):
    """A group of commands, in ORDER, that answers a wrong name with the right ones."""

    def __init__(self, *arguments: Any, **words: Any) -> None:
        super().__init__(*arguments, **words)
        place = {name: number for number, name in enumerate(ORDER)}
        self.commands = dict(sorted(self.commands.items(), key=lambda item: place.get(item[0], len(ORDER))))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first argument names.  Raises UsageError."""
        name = args[0]
        if name in self.commands or name.startswith("-"):
            return super().resolve_command(ctx, args)
        group = ctx.command_path
        if name.lower().endswith(MEDIA_SUFFIXES):
            choices = f"{group} upscale {name}, {group} deblur {name} or {group} inpaint {name} --mask m.png"
            raise UsageError(f"no command before {name}", f"Use {choices}")
        hint = did_you_mean(name, self.commands, group + " {}")
        raise UsageError(f"no command {name!r}", f"{hint}See: {group} --help")


def from_typer(error: TyperException, arguments: Sequence[str]) -> UsageError | None:
    """A usage error of typer in vrx's words; None where only the help was shown."""
    message = getattr(error, "format_message", error.__str__)()
    if not message:
        return None
    dashed = next((word for word in arguments if is_dashed_file(word)), None)
    if dashed is not None:
        return dashed_file(dashed)
    context = getattr(error, "ctx", None)
    command = next((word for word in arguments if not word.startswith("-")), "")
    see = f"See: {context.command_path if context else f'vrx {command}'.rstrip()} --help"
    option = getattr(error, "option_name", None)
    parameter = getattr(error, "param", None)
    if parameter is not None and error.__cause__ is not None:
        name = max(parameter.opts, key=len)
        return locate(UsageError(f"{name} is {wrong_value(error)!r}", f"{expected(parameter)}. {see}"), context)
    if parameter is not None:
        return UsageError(f"{parameter.metavar or parameter.name} is missing", see)
    if option is not None and hasattr(error, "possibilities"):
        known = option_names(context.command) if context else []
        return UsageError(
            f"no option {option}",
            (owner(option, context) or other_word(option, known) or did_you_mean(option, known)) + see,
        )
    if option is not None and "requires an argument" in message:
        return UsageError(f"{option} needs a value", see)
    return UsageError(message.rstrip(".")[:1].lower() + message.rstrip(".")[1:], see)


def option_names(command: Any) -> list[str]:
    """The names of a command's options, as in its help."""
    return [name for p in command.params if not p.hidden for name in p.opts]


def other_word(option: str, known: Sequence[str]) -> str:
    """`Did you mean --crf? `, for what other programs call an option that a command has, else nothing."""
    word = OTHER_WORDS.get(option, "")
    return f"Did you mean {word}? " if word.split(" ")[0] in known else ""


def owner(option: str, context: Any) -> str:
    """`It is of vrx upscale. `, where a restoring command lacks an option that another beside it has, else nothing."""
    if context is None or context.parent is None or context.command.name not in RESTORING:
        return ""
    beside = context.parent.command.commands
    found = (name for name in ORDER if name in RESTORING and name in beside and option in option_names(beside[name]))
    name = next(found, None)
    return "" if name is None else f"It is an option of {context.parent.command_path} {name}. "


def wrong_value(error: TyperException) -> Any:
    """The value that typer's check, by pydantic, refused."""
    errors = getattr(error.__cause__, "errors", None)
    return errors()[0]["input"] if errors else ""


def expected(parameter: Any) -> str:
    """What a parameter takes."""
    annotation = parameter.type_descriptor.annotation
    if get_origin(annotation) is not None and parameter.type_descriptor.choices:
        return f"Choose {choice_of(parameter.type_descriptor.choices)}"
    kinds = {int: "a whole number", float: "a number"}
    kind = next((kinds[t] for t in (annotation, *get_args(annotation)) if t in kinds), parameter.metavar)
    return f"Use {kind}"
