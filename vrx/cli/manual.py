"""The manual page, made of the same texts as the help: `python -m vrx.cli.manual > vrx.1`, or `vrx manual`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

from vrx import __version__
from vrx.cli.usage import EXIT_CODES

ENVIRONMENT = (
    ("VRX_HOME", "One folder for configuration, imported checkpoints and caches, in place of the platform's."),
    ("VRX_CONFIG_FILE", "Defaults and presets, in place of config.toml in the configuration folder."),
    ("VRX_DEFAULT_...", "A default of an option: VRX_DEFAULT_PIX_FMT=yuv420p10le is one of --pix-fmt."),
    ("VRX_WEIGHTS_FILE", "A catalogue of models, in place of weights.toml in the configuration folder."),
    ("VRX_FFMPEG", "Another ffmpeg than the one that is installed along."),
    ("HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE", "As for the tools of the Hugging Face Hub."),
    ("NO_COLOR, CI", "Plain output."),
)
FILES = (
    ("config.toml", "Defaults of options, and presets: in the configuration folder, which vrx doctor names."),
    ("weights.toml", "More models: in the same folder."),
)
PRESERVED = re.compile(r"Examples:\n(.*?)\n\n", re.DOTALL)


def manual(root: Any) -> str:
    """The page of a command and all below it, as man(7) has it."""
    parts = [
        f'.TH VRX 1 "" "vrx {__version__}" "User Commands"',
        ".SH NAME",
        r"vrx \- " + escape(sentence(root.help)),
        ".SH SYNOPSIS",
        *synopses(root),
        ".SH DESCRIPTION",
        escape(root.help),
        escape("Inputs are videos, pictures, numbered pictures (f_%05d.png), folders, quoted globs, or -."),
        escape("Results are written beside their inputs unless -o names another place."),
        ".SH COMMANDS",
        *(line for name, command in visible(root) for line in section(f"vrx {name}", command)),
        ".SH EXIT STATUS",
        *exit_statuses(),
        ".SH ENVIRONMENT",
        *(line for name, text in ENVIRONMENT for line in item(bold(name), text)),
        ".SH FILES",
        *(line for name, text in FILES for line in item(bold(name), text)),
    ]
    return "\n".join(parts) + "\n"


def visible(group: Any) -> list[tuple[str, Any]]:
    """The commands of a group that the help shows."""
    return [(name, command) for name, command in group.commands.items() if not command.hidden]


def synopses(root: Any) -> Iterator[str]:
    """A line for each command."""
    for number, (name, command) in enumerate(visible(root)):
        if number:
            yield ".br"
        yield f"{bold(f'vrx {name}')} {italic(usage(command))}"


def usage(command: Any) -> str:
    """What comes after a command's name."""
    if hasattr(command, "commands"):
        return str(command.subcommand_metavar)
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    return " ".join(["[OPTION]...", *map(argument, arguments)])


def argument(parameter: Any) -> str:
    """An argument, in brackets where it may be left out, with dots where there may be several."""
    name = (parameter.metavar or parameter.name.upper()) + ("..." if parameter.nargs == -1 else "")
    return name if parameter.required or parameter.name == "inputs" else f"[{name}]"


def section(path: str, command: Any) -> Iterator[str]:
    """A command: what it does, its options by the panels of the help, examples, and the commands below it."""
    yield f".SS {escape(path)}"
    yield escape(command.help)
    panel = None
    for parameter in command.params:
        if parameter.hidden or parameter.name == "help":
            continue
        title = getattr(parameter, "rich_help_panel", None)
        if title != panel and title is not None:
            yield ".PP"
            yield f"{italic(title)}:"
        panel = title
        yield from option(parameter)
    found = PRESERVED.match(command.epilog or "")
    if found:
        yield ".PP"
        yield "Examples:"
        yield ".PP"
        yield ".nf"
        yield ".RS 4"
        yield from (escape(line.strip()) for line in found[1].splitlines())
        yield ".RE"
        yield ".fi"
    if hasattr(command, "commands"):
        for name, child in visible(command):
            yield from section(f"{path} {name}", child)


def option(parameter: Any) -> Iterator[str]:
    """An option or an argument with its text and its default."""
    metavar = (parameter.metavar or "").strip()
    if parameter.param_type_name == "argument":
        heading = italic(metavar or parameter.name.upper())
    else:
        heading = ", ".join(map(bold, (*sorted(parameter.opts, key=len), *parameter.secondary_opts)))
        heading += f" {italic(metavar)}" if metavar else ""
    shown = parameter.show_default if isinstance(parameter.show_default, str) else parameter.default
    hidden = shown in (None, "", False) or parameter.show_default is False or parameter.is_flag
    yield from item(heading, parameter.help + ("" if hidden else f" [default: {shown}]"))


def item(heading: str, text: str) -> list[str]:
    """A paragraph with a heading."""
    return [".TP", heading, escape(text)]


def exit_statuses() -> Iterator[str]:
    """The exit codes, as the help has them."""
    for entry in EXIT_CODES.removeprefix("Exit codes: ").rstrip(".").split(", "):
        code, text = entry.split(" ", 1)
        yield from item(bold(code), text[:1].upper() + text[1:] + ".")


def sentence(text: str) -> str:
    """A sentence as the line of a name: no capital, no full stop."""
    return text[:1].lower() + text[1:].rstrip(".")


def escape(text: str) -> str:
    """Text that roff shows as it is."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("`", r"\(ga")
    text = text.replace("^", r"\(ha").replace("~", r"\(ti")
    return rf"\&{text}" if text.startswith((".", r"\(aq")) else text


def bold(text: str) -> str:
    """In bold."""
    return rf"\fB{escape(text)}\fP"


def italic(text: str) -> str:
    """In italics, as what is to be replaced."""
    return rf"\fI{escape(text)}\fP"


def main() -> None:
    """Print the page of vrx."""
    from typer.main import get_command

    from vrx.cli.app import app

    sys.stdout.write(manual(get_command(app)))


if __name__ == "__main__":
    main()
