"""Defaults of options, and presets: the user's `config.toml`, the package's `presets.toml`, and the environment.

It knows options by name, not what they mean: which there are is `Options`, and values are what would be typed.
"""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from vrx.environment import Environment
from vrx.errors import UsageError, did_you_mean
from vrx.files import read_text

MAX_FILE = 1_000_000  # bytes
PRESET = "preset-name"  # the option that names a preset
NO_PRESET = "none"
VARIABLE = "VRX_DEFAULT_"  # what names of variables begin with, of defaults in the environment
FLAG_WORDS = {"1": True, "on": True, "true": True, "yes": True, "0": False, "off": False, "false": False, "no": False}
OF_ONE_INPUT = frozenset(
    {"mask", "box", "start", "end", "frames", "stream", "dry-run", "preview", "at", "length", "vary"}
)
# options of which one replaces the others: whoever types one does not want a default of another
ALTERNATIVES = (
    frozenset({"scale", "width", "height", "size"}),
    frozenset({"overwrite", "skip-existing"}),
    frozenset({"quiet", "verbose"}),
    frozenset({"model", "prefer"}),
)
TEXTS = ("about", "why")  # keys of a preset that are no options

Options = Mapping[str, Mapping[str, bool]]  # commands, their options by their long names, and whether one is a flag
Tables = Mapping[str, Any]


@dataclass(frozen=True)
class Setting:
    """A value of an option, as it is typed (flags: whether it is given), and where it was set, for people."""

    option: str
    value: str | bool
    place: str

    def __str__(self) -> str:
        """As it is typed."""
        if isinstance(self.value, bool):
            return f"--{self.option}" if self.value else f"--{self.option} false"
        return f"--{self.option} {self.value}"


@dataclass(frozen=True)
class OptionSet:
    """Settings for all commands that have the option, and those for one command, which precede them."""

    shared: tuple[Setting, ...] = ()
    commands: Mapping[str, tuple[Setting, ...]] = field(default_factory=dict)

    def of(self, command: str) -> dict[str, Setting]:
        """What holds for a command, by option."""
        return {setting.option: setting for setting in (*self.shared, *self.commands.get(command, ()))}


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named set of options: for what it is (`about`), why it sets what it sets, and the file it is from."""

    name: str
    about: str
    why: str
    path: str
    options: OptionSet


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What the user's file and the environment set.  `exists`: whether there is a file."""

    path: Path
    exists: bool
    defaults: OptionSet
    environment: OptionSet
    presets: Mapping[str, Preset]

    def resolve(self, command: str, typed: Collection[str], preset: str | None) -> dict[str, Setting]:
        """What holds for a command beside the options `typed`, among them perhaps the name of a preset.

        The environment precedes the file.  A preset comes directly after the options of the place that names it.
        Raises UsageError for a preset that does not exist.
        """
        layers: list[dict[str, Setting]] = [] if preset is None else [self._preset(preset, command)]
        named = preset is not None
        for options in (self.environment.of(command), self.defaults.of(command)):
            name = options.pop(PRESET, None)
            layers.append(options)
            if name is not None and not named:
                layers.append(self._preset(str(name.value), command))
                named = True
        found: dict[str, Setting] = {}
        taken = set(typed)
        for layer in layers:
            fresh = {option: setting for option, setting in layer.items() if taken.isdisjoint(replaced_by(option))}
            found.update(fresh)
            taken |= fresh.keys()
        return found

    def _preset(self, name: str, command: str) -> dict[str, Setting]:
        if name == NO_PRESET:
            return {}
        if name not in self.presets:
            hint = did_you_mean(name, self.presets, f"--{PRESET} {{}}")
            raise UsageError(f"no preset {name!r}", f"{hint}List them with: vrx presets")
        return self.presets[name].options.of(command)


def replaced_by(option: str) -> frozenset[str]:
    """The options that take the place of one: itself, and its alternatives."""
    return next((group for group in ALTERNATIVES if option in group), frozenset({option}))


def load(known: Options) -> Configuration:
    """The user's file, checked, the environment and all presets.  Raises UsageError."""
    found = Environment.read()
    exists = is_there(found.config)
    if found.config_named and not found.config.is_file():
        raise UsageError(f"VRX_CONFIG_FILE is {found.config}, which is not a file", "Unset or correct it")
    tables = read(found.config, ("defaults", "presets")) if exists else {}
    return Configuration(
        path=found.config,
        exists=exists,
        defaults=parse_options(tables.get("defaults", {}), "[defaults]", str(found.config), known),
        environment=parse_environment(found.defaults, known),
        presets={**packaged_presets(known), **parse_presets(tables, str(found.config), known)},
    )


def is_there(path: Path) -> bool:
    """Whether there is anything of a name; what cannot be read is there, so that nothing is left out unsaid."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def packaged_presets(known: Options) -> dict[str, Preset]:
    """The presets of the package."""
    with resources.as_file(resources.files("vrx") / "data" / "presets.toml") as path:
        return parse_presets(read(path, ("presets",)), "vrx", known)


def read(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """The tables of a file, with no others than `names`.  Raises UsageError."""
    try:
        tables = tomllib.loads(read_text(path, MAX_FILE).replace("\r\n", "\n"))
    except RecursionError as error:
        raise UsageError(f"cannot read {path}: nested too deeply") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot read {path}: {reason}", "Correct the file; its format is TOML") from error
    for name, table in tables.items():
        if name not in names:
            known = f"Known: {', '.join(f'[{known}]' for known in names)}"
            raise UsageError(f"{path}: unknown key {name!r}", did_you_mean(name, names, "[{}]") + known)
        check_table(table, f"[{name}]", str(path))
    return tables


def preset_names() -> list[str]:
    """The names of all presets, unchecked, for the shell; none of the user's where the file cannot be read."""
    with resources.as_file(resources.files("vrx") / "data" / "presets.toml") as path:
        names = dict.fromkeys(read(path, ("presets",))["presets"])
    with contextlib.suppress(UsageError):
        names |= dict.fromkeys(read(Environment.read().config, ("defaults", "presets")).get("presets", {}))
    return list(names)


def check_table(value: Any, place: str, path: str) -> None:
    """Refuse what is not a table.  Raises UsageError."""
    if not isinstance(value, dict):
        raise UsageError(f"{path}: {place} is {value!r}", "It must be a table of options")


def parse_presets(tables: Tables, path: str, known: Options) -> dict[str, Preset]:
    """The presets of a file by name.  Raises UsageError."""
    found = {}
    for name, table in tables.get("presets", {}).items():
        place = f"[presets.{name}]"
        check_table(table, place, path)
        if name == NO_PRESET:
            raise UsageError(f"{path}: a preset cannot be named {name!r}", f"--{PRESET} {name} means no preset")
        if PRESET in table:
            raise UsageError(f"{path}: {PRESET!r} in {place}", "A preset cannot name another one")
        for key in TEXTS:
            if not isinstance(table.get(key, ""), str):
                raise UsageError(f"{path}: {key!r} in {place} is {table[key]!r}", "It must be a text")
        about, why = (str(table.get(key, "")) for key in TEXTS)
        options = {key: value for key, value in table.items() if key not in TEXTS}
        found[name] = Preset(
            name=name, about=about, why=why, path=path, options=parse_options(options, place, path, known)
        )
    return found


def parse_options(table: Tables, place: str, path: str, known: Options) -> OptionSet:
    """The options of a table, in which tables of commands may be.  Raises UsageError."""
    own = {key: value for key, value in table.items() if isinstance(value, dict) and key in known}
    common = {option: flag for options in known.values() for option, flag in options.items()}
    rest = {key: value for key, value in table.items() if key not in own}
    inner = place.removesuffix("]")
    return OptionSet(
        tuple(parse_table(rest, place, path, common, [*common, *known])),
        {
            name: tuple(parse_table(options, f"{inner}.{name}]", path, known[name], list(known[name])))
            for name, options in own.items()
        },
    )


def parse_table(
    table: Tables, place: str, path: str, known: Mapping[str, bool], names: Collection[str]
) -> Iterator[Setting]:
    """The settings of one table; `names` are all that a key may be.  Raises UsageError."""
    for key, value in table.items():
        if key in OF_ONE_INPUT:
            raise UsageError(f"{path}: {key!r} in {place}", f"--{key} is for the command line only")
        if key not in known:
            hint = did_you_mean(key, names) + "Keys are options of vrx upscale, deblur and inpaint, without --"
            raise UsageError(f"{path}: unknown key {key!r} in {place}", hint)
        if isinstance(value, bool) != known[key] or not isinstance(value, bool | int | float | str):
            what = "true or false" if known[key] else "a number or a text"
            shown = str(value).lower() if isinstance(value, bool) else repr(value)
            raise UsageError(f"{path}: {key!r} in {place} is {shown}", f"It must be {what}")
        yield Setting(key, value if isinstance(value, bool) else str(value), f"{path}: {key!r} in {place}")


def parse_environment(variables: Mapping[str, str], known: Options) -> OptionSet:
    """The defaults in the environment, by the names of their variables.  Raises UsageError."""
    common = {option: flag for options in known.values() for option, flag in options.items()}
    settings = []
    for variable, text in sorted(variables.items()):
        option = variable.removeprefix(VARIABLE).lower().replace("_", "-")
        if option in OF_ONE_INPUT:
            raise UsageError(f"{variable} is set", f"--{option} is for the command line only")
        if option not in common:
            names = {VARIABLE + name.upper().replace("-", "_") for name in common}
            raise UsageError(f"{variable} is set, but no option is --{option}", did_you_mean(variable, names).strip())
        if common[option] and text.lower() not in FLAG_WORDS:
            raise UsageError(f"{variable} is {text!r}", "Use on or off")
        settings.append(Setting(option, FLAG_WORDS[text.lower()] if common[option] else text, variable))
    return OptionSet(tuple(settings))
