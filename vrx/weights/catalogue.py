"""The catalogue of models, `weights.toml`, as frozen values."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from vrx.errors import ModelError
from vrx.files import read_text
from vrx.settings import Environment
from vrx.weights.families import FAMILIES, PLANNED, PLANNED_ROLES, ROLES, SCALES, TASKS, FamilyRules, lacking
from vrx.weights.origin import is_private

PACKAGED = "weights.toml"
EMBEDDED = "embedded"  # the name and the family of the model in the package
LARGEST = 1_000_000  # bytes of a catalogue
MOST_DOTS = 100  # in one key: reading one takes time by the square of its parts
LONGEST_NAME, LONGEST_PATH = 200, 1000  # bytes of a file's name, characters of a path
SHA256 = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")  # of models and revisions' parts: plain file names
REPO = re.compile(rf"(?!.*(\.\.|--))({NAME.pattern}/)?{NAME.pattern}")
REVISION = re.compile(rf"{NAME.pattern}(/{NAME.pattern})*")
KINDS = ("model", "space", "dataset")
PART_KEYS = frozenset(
    ("path", "role", "url", "repo", "kind", "revision", "size", "sha256", "optional", "sizes"),
)
MODEL_KEYS = frozenset(
    (
        "family",
        "tasks",
        "scales",
        "license",
        "paper",
        "about",
        "takes_prompt",
        "parameters",
        "memory",
        "source",
        "available",
        "parts",
    )
)


@dataclass(frozen=True, kw_only=True)
class PartFile:
    """One file of a checkpoint: `path` in the package's data (or repo), size in bytes, sha256.

    `url`: where it is had from in place of a repository; then its hash is known.

    `role` is what the file is to the model; `kind` the repository's (model, space, dataset); `optional`
    ones are looked for only when they are asked for; `sizes` say what the tensors' shapes do not.
    """

    path: str
    role: str = ""
    url: str = ""
    repo: str = ""
    kind: str = "model"
    revision: str = ""
    size: int | None = None
    sha256: str = ""
    optional: bool = False
    sizes: dict[str, Any] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """Repository and path, or address, for people."""
        return self.url or (f"{self.repo}/{self.path}" if self.repo else f"{self.path}, by hand")

    @property
    def downloadable(self) -> bool:
        """Whether it can be downloaded."""
        return bool(self.repo or self.url)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One model: what it does, what it is made of, where it comes from.

    `takes_prompt` where it takes a --prompt; `available` whether this version of vrx can run it.
    `memory` in bytes, for 1280x720 output.
    """

    name: str
    family: str
    tasks: tuple[str, ...]
    scales: tuple[int, ...]
    license: str
    paper: str
    about: str
    takes_prompt: bool
    parameters: int | None
    memory: int | None
    source: str
    available: bool
    parts: tuple[PartFile, ...]
    local: Path | None = None  # a checkpoint that was given by its path
    fault: str = ""  # why an entry of the user's catalogue cannot be used

    @property
    def lacking(self) -> list[str]:
        """The roles its family cannot run without and its parts do not have."""
        return [] if self.local else lacking(self.family, (part.role for part in self.parts))

    @property
    def size(self) -> int | None:
        """Bytes of all parts, None where one is unknown."""
        sizes = [part.size for part in self.parts if not part.optional]
        return sum(s for s in sizes if s is not None) if sizes and None not in sizes else None

    @property
    def minimum_size(self) -> int:
        """Bytes of those parts whose size is known: at least this much."""
        return sum(part.size or 0 for part in self.parts if not part.optional)


def packaged_path() -> Path:
    """The catalogue inside the package, or at the top of a checkout."""
    inside = Path(str(resources.files("vrx"))) / "data" / PACKAGED
    return inside if inside.exists() else Path(str(resources.files("vrx"))).parent / PACKAGED


def load_all() -> dict[str, Entry]:
    """The package's entries, and over them those of the user's own catalogue.

    An entry of the user's that cannot be used is there with its `fault`, so that the others still work; the
    package's embedded model is never replaced.  Raises ModelError for a catalogue that cannot be read at all.
    """
    entries = load_file(packaged_path())
    surroundings = Environment.read()
    if surroundings.weights_named or os.path.lexists(surroundings.weights):
        for name, table in read_tables(surroundings.weights).items():
            try:
                entries[name] = parse_user_entry(surroundings.weights, name, table)
            except ModelError as error:
                entries[name] = replace(entries.get(name, UNUSABLE), name=name, fault=str(error))
    return entries


def load_file(path: Path) -> dict[str, Entry]:
    """Read a catalogue.  Raises ModelError that names file, table and key."""
    return {name: parse_entry(path, name, table) for name, table in read_tables(path).items()}


def read_tables(path: Path) -> dict[str, Any]:
    """The tables of a catalogue's models, not yet looked at.  Raises ModelError."""
    try:
        text = read_text(path, LARGEST)
        if any(piece.count(".") > MOST_DOTS for piece in re.split(r"[\n=]", text)):
            raise ValueError(f"a key has more than {MOST_DOTS} parts")
        tables = tomllib.loads(text.replace("\r\n", "\n"))
    except RecursionError as error:
        raise ModelError(f"cannot read the catalogue {path}: it is nested too deeply") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read the catalogue {path}: {getattr(error, 'strerror', error)}") from error
    models = tables.get("models", {})
    if not isinstance(models, dict):
        raise ModelError(f"{path}: [models] is no table")
    return models


def parse_user_entry(path: Path, name: str, table: Any) -> Entry:
    """An entry of the user's own catalogue, which cannot be the embedded model.  Raises ModelError."""
    found = parse_entry(path, name, table)
    if EMBEDDED in (name, found.family):
        raise ModelError(
            f"{path}: [models.{name}]: the embedded model is part of vrx and stays as it is",
            "Give a checkpoint of your own by its path: --model FILE",
        )
    return found


def take(where: str, table: dict[str, Any], key: str, kind: type | tuple[type, ...], default: Any = ...) -> Any:
    """A key of a table, checked."""
    value = table.get(key, default)
    if value is ...:
        raise ModelError(f"{where}: the key {key!r} is missing")
    if value is not default and (not isinstance(value, kind) or (isinstance(value, bool) and kind is int)):
        raise ModelError(f"{where}: {key!r} has the wrong type")
    return value


def many(where: str, table: dict[str, Any], key: str, kind: type) -> tuple[Any, ...]:
    """A list of a table whose members are all of one type; empty where it is left out."""
    values = take(where, table, key, list, [])
    if not all(isinstance(v, kind) and not (isinstance(v, bool) and kind is int) for v in values):
        raise ModelError(f"{where}: {key!r} has a member of the wrong type")
    return tuple(values)


def is_safe_path(path: str) -> bool:
    """Whether a relative path stays in the folder it is meant for, and a disk can hold its names."""
    parts = PurePosixPath(path).parts
    stays = bool(parts) and not path.startswith("/") and ".." not in parts and "\\" not in path and ":" not in path
    fits = len(path) <= LONGEST_PATH and all(len(os.fsencode(part)) <= LONGEST_NAME for part in parts)
    return stays and fits and path.isprintable()


def address(where: str, part: dict[str, Any]) -> str:
    """The plain address of a part, which must be safe and come with a hash."""
    url = str(take(where, part, "url", str, ""))
    if url and not is_private(url):
        raise ModelError(f"{where}: 'url' must be an https address, without a user name")
    if url and not is_safe_path(PurePosixPath(urlsplit(url).path).name):
        raise ModelError(f"{where}: 'url' names no file")
    if url and not take(where, part, "sha256", str, ""):
        raise ModelError(f"{where}: a part with 'url' needs its 'sha256'")
    return url


def check_keys(where: str, table: dict[str, Any], keys: frozenset[str]) -> None:
    """Refuse a key that nothing reads: it is a typing error.  Raises ModelError."""
    for key in table:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, 1)
            raise ModelError(f"{where}: unknown key {key!r}", f"Is {near[0]!r} meant?" if near else "")


def part_of(where: str, part: Any) -> PartFile:
    """One table of `parts` as a value.  Raises ModelError."""
    if not isinstance(part, dict):
        raise ModelError(f"{where} is no table")
    if not is_safe_path(take(where, part, "path", str)):
        raise ModelError(f"{where}: the path {part['path']!r} leaves its folder, or is no plain path")
    if take(where, part, "size", int, 1) < 1:
        raise ModelError(f"{where}: 'size' is not positive")
    for key, pattern in (("repo", REPO), ("revision", REVISION), ("sha256", SHA256)):
        if take(where, part, key, str, "") and not pattern.fullmatch(part[key]):
            raise ModelError(f"{where}: {key!r} is not one: {part[key]!r}")
    if take(where, part, "kind", str, "model") not in KINDS:
        raise ModelError(f"{where}: 'kind' is none of {', '.join(KINDS)}")
    if take(where, part, "role", str, "") not in ("", *ROLES, *PLANNED_ROLES):
        raise ModelError(f"{where}: 'role' is none of {', '.join(ROLES)}: {part['role']!r}")
    check_keys(where, part, PART_KEYS)
    return PartFile(
        path=take(where, part, "path", str),
        role=take(where, part, "role", str, ""),
        url=address(where, part),
        repo=take(where, part, "repo", str, ""),
        kind=take(where, part, "kind", str, "model"),
        revision=take(where, part, "revision", str, ""),
        size=take(where, part, "size", int, None),
        sha256=take(where, part, "sha256", str, ""),
        optional=take(where, part, "optional", bool, False),
        sizes=take(where, part, "sizes", dict, {}),
    )


def parse_entry(path: Path, name: str, table: Any) -> Entry:
    """One `[models.NAME]` table as a value.  Raises ModelError that names file, table and key."""
    where = f"{path}: [models.{name}]"
    if not isinstance(table, dict):
        raise ModelError(f"{where} is no table")
    if not NAME.fullmatch(name):
        raise ModelError(f"{where}: a model's name is letters, digits, '.', '_' and '-'")
    parts = take(where, table, "parts", list, [])
    found = Entry(
        parts=tuple(part_of(f"{where} part {number}", part) for number, part in enumerate(parts, 1)),
        name=name,
        family=take(where, table, "family", str),
        tasks=many(where, table, "tasks", str),
        scales=many(where, table, "scales", int),
        license=take(where, table, "license", str),
        paper=take(where, table, "paper", str, ""),
        about=take(where, table, "about", str, ""),
        takes_prompt=take(where, table, "takes_prompt", bool, False),
        parameters=take(where, table, "parameters", int, None),
        memory=take(where, table, "memory", int, None),
        source=take(where, table, "source", str),
        available=take(where, table, "available", bool, False),
    )
    check_keys(where, table, MODEL_KEYS)
    check_family(where, found)
    return found


def check_family(where: str, found: Entry) -> None:
    """Refuse what no family of this version is or does.  Raises ModelError that names the key."""
    if found.family not in (*FAMILIES, *PLANNED):
        raise ModelError(f"{where}: 'family' is none of {', '.join(FAMILIES)}: {found.family!r}")
    if found.available and found.family in PLANNED:
        raise ModelError(f"{where}: 'available': this version cannot run the family {found.family!r}")
    rules = FAMILIES.get(found.family, FamilyRules(TASKS, SCALES))
    for key, values, allowed in (("tasks", found.tasks, rules.tasks), ("scales", found.scales, rules.scales)):
        for value in values:
            if value not in allowed:
                does = ", ".join(map(str, allowed))
                raise ModelError(f"{where}: {key!r} has {value!r}, and {found.family} does {does}")
    if not found.tasks:
        raise ModelError(f"{where}: 'tasks' is empty")
    if "upscale" in found.tasks and not found.scales:
        raise ModelError(f"{where}: 'scales' is empty, and the model is said to enlarge")
    roles = [part.role for part in found.parts if part.role]
    twice = sorted({role for role in roles if roles.count(role) > 1})
    if twice:
        raise ModelError(f"{where}: two parts have the 'role' {twice[0]!r}")
    if found.family != EMBEDDED and len(roles) < len(found.parts):
        raise ModelError(f"{where}: a part has no 'role'")


UNUSABLE = Entry(
    name="",
    family="",
    tasks=(),
    scales=(),
    license="",
    paper="",
    about="",
    takes_prompt=False,
    parameters=None,
    memory=None,
    source="",
    available=False,
    parts=(),
)
