"""Options that the configuration, the environment and presets set, for commands whose line does not name them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from vrx import __version__, api, configuration
from vrx.cli import transcript
from vrx.cli.plain_help import Command
from vrx.configuration import PRESET, Configuration, Options, Setting
from vrx.errors import UsageError
from vrx.files import path_exists
from vrx.geometry import parse_mask

KEY = "vrx.defaults"  # of a context's notes: the settings that its command got from here
LINE = "vrx.line"  # the same: the command as it was typed
TYPED = "vrx.typed"  # the same: the options that its line names
ENCODER_PRESET = "preset"
END_OF_OPTIONS, STDIN = "--", "-"


def long_name(parameter: Any) -> str:
    """An option's long name, without its dashes."""
    return str(max(parameter.opts, key=len)).lstrip("-")


def settable(command: Any) -> dict[str, Any]:
    """A command's options that a file may set, by their long names."""
    named = {long_name(p): p for p in command.params if p.param_type_name == "option"}
    return {name: p for name, p in named.items() if name != "help" and (not p.hidden)}


def known_options(root: Any) -> Options:
    """The options of the commands below the root that defaults are for, and whether each is a flag."""
    return {
        name: {option: bool(p.is_flag) for option, p in settable(command).items()}
        for name, command in root.commands.items()
        if isinstance(command, ConfiguredCommand)
    }


class ConfiguredCommand(Command):
    """A command whose options have defaults in files and in the environment."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the line twice: what it names decides which defaults count.  Raises UsageError."""
        ctx.meta[LINE] = [*ctx.command_path.split(), *args]
        refuse_dashes(self.params, args)
        if not ctx.resilient_parsing:  # completion
            typed, _, _ = self.make_parser(ctx).parse_args(args=list(args))
            if "help" not in typed:
                self._set_defaults(ctx, typed)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command.  Raises UsageError, which names the place of a default that is wrong."""
        refuse_shared(ctx.params)
        if ctx.params.get("log") is not None:
            transcript.open_log(ctx.params["log"], ctx.find_root().params["debug"])
            transcript.TRANSCRIPT.info("%s", f"vrx {__version__}: {shlex.join(ctx.meta[LINE])}")
        try:
            return super().invoke(ctx)
        except UsageError as error:
            located = locate(error, ctx)
            if located is error:
                raise
            raise located from error

    def _set_defaults(self, ctx: Any, typed: dict[str, Any]) -> None:
        own = settable(self)
        by_name = {p.name: option for option, p in own.items()}
        found = configuration.load(known_options(ctx.find_root().command))
        refuse_preset_of_encoder(found, typed.get(ENCODER_PRESET))
        names = {by_name[name] for name in typed if name in by_name} | varied_options(typed.get("vary") or ())
        ctx.meta[TYPED] = names
        settings = found.resolve(self.name or "", names, typed.get(own[PRESET].name))
        ctx.meta[KEY] = {option: setting for option, setting in settings.items() if option in own}
        ctx.default_map = {own[option].name: setting.value for option, setting in ctx.meta[KEY].items()}


def refuse_dashes(parameters: Sequence[Any], words: Sequence[str]) -> None:
    """Refuse files whose names would be read as options, and options that would be read as files.

    The parser takes -dash.mp4 for -d ash.mp4, and all words behind -- for inputs.  Raises UsageError.
    """
    options = {name: p for p in parameters if p.param_type_name == "option" for name in (*p.opts, *p.secondary_opts)}
    end = words.index(END_OF_OPTIONS) if END_OF_OPTIONS in words else len(words)
    for before, word in pairwise(["", *words[:end]]):
        is_value = before in options and not options[before].is_flag
        if is_dashed_file(word) and word not in options and not is_value:
            raise dashed_file(word)
    for word in words[end + 1 :]:
        if word.split("=")[0] in options and not path_exists(Path(word)):
            raise UsageError(f"{word} is read as an input, as it is after --", "Put options before --")


def is_dashed_file(word: str) -> bool:
    """Whether a word that looks like an option is the name of a file or folder."""
    return word.startswith("-") and word != STDIN and path_exists(Path(word))


def dashed_file(name: str) -> UsageError:
    """The error of a file whose name begins as options do."""
    return UsageError(f"{name} is read as options", f"For the file of that name: ./{name}, or {name} after --")


def varied_options(words: Sequence[str]) -> set[str]:
    """The options that --vary names: their defaults, and those of their alternatives, do not count either."""
    return {word.partition("=")[0].lstrip("-").replace("_", "-") for word in words}


def refuse_shared(values: Mapping[str, Any]) -> None:
    """Refuse a log, a trace or a page that is something else which the line names.  Raises UsageError."""
    written = [(f"--{name}", values[name]) for name in ("log", "trace", "html") if values.get(name) is not None]
    if not written:
        return
    others = [("the input", word) for word in (*(values.get("inputs") or ()), *(values.get("more") or ()))]
    named = {"the output": values.get("output"), "the cut list": values.get("scenes")}
    if values.get("mask"):
        named["the mask"] = parse_mask(values["mask"])[0]
    others += [(what, word) for what, word in named.items() if word]
    api.refuse_shared(written, [(what, Path(word)) for what, word in others if word != "-"])


def preset_values(ctx: Any, preset: str) -> dict[str, Any]:
    """What a command's parameters would be with another preset, those that its line names left out.

    Raises UsageError.
    """
    own = settable(ctx.command)
    found = configuration.load(known_options(ctx.find_root().command))
    settings = found.resolve(ctx.command.name or "", ctx.meta[TYPED], preset)
    values = {option: own[option].default for option in ctx.meta[KEY] if option != PRESET}
    values |= {option: own[option].process_value(ctx, s.value) for option, s in settings.items() if option in own}
    return {own[option].name: value for option, value in values.items()}


def refuse_preset_of_encoder(found: Configuration, value: str | None) -> None:
    """Refuse a preset of vrx where the encoder's is named.  Raises UsageError."""
    if value in found.presets:
        raise UsageError(f"--{ENCODER_PRESET} {value} is not a preset of the encoder", f"Use --{PRESET} {value}")


def locate(error: UsageError, context: Any) -> UsageError:
    """The error, with the place of a default that it names: a file and its key, or a variable."""
    settings: dict[str, Setting] = context.meta.get(KEY, {}) if context is not None else {}
    for option, setting in settings.items():
        if re.search(rf"(?<![\w-])--{re.escape(option)}(?![\w-])", error.message):
            return UsageError(f"{setting.place}: {error.message}", error.hint)
    return error
