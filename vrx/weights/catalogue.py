"""The catalogue of models, `weights.toml`, as frozen values."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from vrx.errors import ModelError
from vrx.settings import Environment

PACKAGED = "weights.toml"
LARGEST = 4_000_000  # bytes of a catalogue
SHA256 = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")  # of models and revisions' parts: plain file names
REPO = re.compile(rf"(?!.*(\.\.|--))({NAME.pattern}/)?{NAME.pattern}")
REVISION = re.compile(rf"{NAME.pattern}(/{NAME.pattern})*")
KINDS = ("model", "space", "dataset")


@dataclass(frozen=True, kw_only=True)
class Part:
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
    def fetchable(self) -> bool:
        """Whether it can be downloaded."""
        return bool(self.repo or self.url)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One model: what it does, what it is made of, where it comes from.

    `hears_prompts` where it takes a --prompt; `available` whether this version of vrx can run it.
    `memory` in bytes, for 1280x720 output.
    """

    name: str
    family: str
    tasks: tuple[str, ...]
    scales: tuple[int, ...]
    license: str
    paper: str
    about: str
    hears_prompts: bool
    parameters: int | None
    memory: int | None
    source: str
    available: bool
    parts: tuple[Part, ...]
    local: Path | None = None  # a checkpoint that was given by its path

    @property
    def size(self) -> int | None:
        """Bytes of all parts, None where one is unknown."""
        sizes = [part.size for part in self.parts if not part.optional]
        return sum(s for s in sizes if s is not None) if sizes and None not in sizes else None

    @property
    def known_size(self) -> int:
        """Bytes of those parts whose size is known: at least this much."""
        return sum(part.size or 0 for part in self.parts if not part.optional)


def packaged() -> Path:
    """The catalogue inside the package, or at the top of a checkout."""
    inside = Path(str(resources.files("vrx"))) / "data" / PACKAGED
    return inside if inside.exists() else Path(str(resources.files("vrx"))).parent / PACKAGED


def known() -> dict[str, Entry]:
    """The package's entries, and over them those of the user's own catalogue.  Raises ModelError."""
    entries = load(packaged())
    surroundings = Environment.read()
    if surroundings.weights_named or surroundings.weights.is_file():
        entries |= load(surroundings.weights)
    return entries


def load(path: Path) -> dict[str, Entry]:
    """Read a catalogue.  Raises ModelError that names file, table and key."""
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"larger than {LARGEST:,} bytes")
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"cannot read the catalogue {path}: {error}") from error
    models = tables.get("models", {})
    if not isinstance(models, dict):
        raise ModelError(f"{path}: [models] is no table")
    return {name: entry(path, name, table) for name, table in models.items()}


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


def inside(path: str) -> bool:
    """Whether a relative path stays in the folder it is meant for."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and "\\" not in path and ":" not in path


def address(where: str, part: dict[str, Any]) -> str:
    """The plain address of a part, which must be safe and come with a hash."""
    url = str(take(where, part, "url", str, ""))
    if url and not url.startswith(("https://", "http://127.0.0.1:")):
        raise ModelError(f"{where}: 'url' must be an https address")
    if url and not inside(Path(urlsplit(url).path).name):
        raise ModelError(f"{where}: 'url' names no file")
    if url and not take(where, part, "sha256", str, ""):
        raise ModelError(f"{where}: a part with 'url' needs its 'sha256'")
    return url


def entry(path: Path, name: str, table: Any) -> Entry:
    """One `[models.NAME]` table as a value."""
    where = f"{path}: [models.{name}]"
    if not isinstance(table, dict):
        raise ModelError(f"{where} is no table")
    if not NAME.fullmatch(name):
        raise ModelError(f"{where}: a model's name is letters, digits, '.', '_' and '-'")
    parts = []
    for number, part in enumerate(take(where, table, "parts", list, [])):
        inner = f"{where} part {number + 1}"
        if not isinstance(part, dict):
            raise ModelError(f"{inner} is no table")
        if not inside(take(inner, part, "path", str)):
            raise ModelError(f"{inner}: the path {part['path']!r} leaves its folder")
        if take(inner, part, "size", int, 0) < 0:
            raise ModelError(f"{inner}: 'size' is negative")
        for key, pattern in (("repo", REPO), ("revision", REVISION), ("sha256", SHA256)):
            if take(inner, part, key, str, "") and not pattern.fullmatch(part[key]):
                raise ModelError(f"{inner}: {key!r} is not one: {part[key]!r}")
        if take(inner, part, "kind", str, "model") not in KINDS:
            raise ModelError(f"{inner}: 'kind' is none of {', '.join(KINDS)}")
        parts.append(
            Part(
                path=take(inner, part, "path", str),
                role=take(inner, part, "role", str, ""),
                url=address(inner, part),
                repo=take(inner, part, "repo", str, ""),
                kind=take(inner, part, "kind", str, "model"),
                revision=take(inner, part, "revision", str, ""),
                size=take(inner, part, "size", int, None),
                sha256=take(inner, part, "sha256", str, ""),
                optional=take(inner, part, "optional", bool, False),
                sizes=take(inner, part, "sizes", dict, {}),
            )
        )
    return Entry(
        name=name,
        family=take(where, table, "family", str),
        tasks=many(where, table, "tasks", str),
        scales=many(where, table, "scales", int),
        license=take(where, table, "license", str),
        paper=take(where, table, "paper", str, ""),
        about=take(where, table, "about", str, ""),
        hears_prompts=take(where, table, "hears_prompts", bool, False),
        parameters=take(where, table, "parameters", int, None),
        memory=take(where, table, "memory", int, None),
        source=take(where, table, "source", str),
        available=take(where, table, "available", bool, False),
        parts=tuple(parts),
    )
