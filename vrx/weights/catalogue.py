"""The catalogue of models, `weights.toml`: typed by msgspec, checked, as frozen values."""

from __future__ import annotations

import difflib
import logging
import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import msgspec

from vrx.environment import Environment
from vrx.errors import ModelError
from vrx.files import read_text
from vrx.weights import sharded
from vrx.weights.families import Families, missing_roles
from vrx.weights.origin import is_private
from vrx.weights.safe_paths import is_safe_path

log = logging.getLogger(__name__)

PACKAGED = "weights.toml"
MODELS, MEASURES = "models", "measures"  # the tables of what restores pictures, and of what measures them
HALF_PRECISION = 2  # bytes of a parameter; no published checkpoint here stores less
EMBEDDED = "embedded"  # the name, the family and the only role of the default model, which is in the package
UNPUBLISHED = "not published"  # the source of a model whose weights no one can have
MAX_CATALOGUE = 1_000_000  # bytes
MAX_DOTS = 100  # in one key: the time to parse a key grows with the square of its parts
SHA256 = re.compile(r"[0-9a-f]{64}")
COMMIT = re.compile(r"/[0-9a-f]{40}/")  # in the address of a file in a repository
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")  # of models, and of a revision's parts: plain file names
REPO = re.compile(rf"(?!.*(\.\.|--))({NAME.pattern}/)?{NAME.pattern}")
REVISION = re.compile(rf"{NAME.pattern}(/{NAME.pattern})*")
PATTERNS = {"repo": REPO, "revision": REVISION, "sha256": SHA256}
DRIVE = re.compile(r"(https?://[^/?#\s]+)/drive/folders/([\w-]{10,})")  # server, and id of a folder
KINDS = ("model", "space", "dataset")
TOML_TYPES = {"object": "table", "array": "list", "str": "string", "int": "integer", "bool": "boolean"}


@dataclass(frozen=True, kw_only=True)
class PartFile:
    """One file of a checkpoint: `path` in its repository, or in the package's data; size in bytes; sha256.

    `url`: where it is downloaded from in place of a repository; then its hash is required, unless the address names
    a commit, whose files cannot change.
    `drive`: a public folder of Google Drive, in place of a repository, in which `path` has the names of folders that
    the file is in, others between them or not, and its own; of several files the newest counts.

    `role` is what the file is to the model; `kind` the repository's (model, space, dataset); `optional`
    files are downloaded only on request; `sizes` hold what the tensors' shapes do not tell.  `alternatives`: other
    paths in the repository, for a part whose published name is not certain; the first that there is counts.
    Raises ValueError for values that are unsafe or malformed.
    """

    path: str
    role: str = ""
    url: str = ""
    drive: str = ""
    repo: str = ""
    kind: str = "model"
    revision: str = ""
    size: int | None = None
    sha256: str = ""
    optional: bool = False
    sizes: dict[str, Any] = field(default_factory=dict)
    alternatives: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for path in (self.path, *self.alternatives):
            if not is_safe_path(path):
                raise ValueError(f"the path {path!r} leaves its folder, or is not a plain path")
        if self.alternatives and (self.size or self.sha256 or self.url):
            raise ValueError("'alternatives' excludes 'size', 'sha256' and 'url', which are those of one file")
        if self.size is not None and self.size < 1:
            raise ValueError(f"'size' is {self.size}; it must be positive")
        for key, pattern in PATTERNS.items():
            value = getattr(self, key)
            if value and not pattern.fullmatch(value):
                raise ValueError(f"invalid {key} {value!r}")
        if self.kind not in KINDS:
            raise ValueError(f"'kind' is {self.kind!r}; choose one of {', '.join(KINDS)}")
        if self.url:
            check_url(self)
        if self.drive:
            check_drive(self)

    @property
    def location(self) -> str:
        """Repository, folder or nothing, and path; or address: for people."""
        return self.url or "/".join(filter(None, (self.repo or self.drive, self.path)))

    @property
    def variants(self) -> tuple[PartFile, ...]:
        """The part under each of its paths, the preferred one first."""
        return tuple(replace(self, path=path, alternatives=()) for path in (self.path, *self.alternatives))

    @property
    def downloadable(self) -> bool:
        """Whether it can be downloaded."""
        return bool(self.repo or self.url or self.drive)


def check_url(part: PartFile) -> None:
    """Refuse a plain address that is unsafe, or that nothing could verify.  Raises ValueError."""
    if not is_private(part.url):
        raise ValueError("'url' must be an https address, without a user name")
    if not is_safe_path(PurePosixPath(urlsplit(part.url).path).name):
        raise ValueError("'url' does not end in a file name")
    if not (part.sha256 or COMMIT.search(urlsplit(part.url).path)):
        raise ValueError("a part with 'url' needs its 'sha256'")
    if sharded.is_sharded(part.path):
        raise ValueError("'url' is the address of one file, and the checkpoint is in several: use 'repo'")
    if part.repo:
        raise ValueError("'url' and 'repo' are mutually exclusive")


def check_drive(part: PartFile) -> None:
    """Refuse what is not the address of a folder, or excludes one.  Raises ValueError."""
    if not DRIVE.fullmatch(part.drive) or not is_private(part.drive):
        raise ValueError("'drive' must be the address of a folder: https://drive.google.com/drive/folders/ID")
    if part.repo or part.url:
        raise ValueError("'drive' excludes 'repo' and 'url'")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One model: what it does, what it is made of, where it comes from.

    `takes_prompt` where --prompt has an effect; `packaged` whether its files are in the package; `available` whether
    this version of vrx can run it.
    `memory` in bytes, for 1280x720 output.  For those who prefer one or the other: `speed` in frames of 1920x1080 a
    second on an A100, and `quality`, a rank by published comparisons; 0 where not known.
    """

    name: str
    family: str
    tasks: tuple[str, ...]
    license: str
    source: str
    scales: tuple[int, ...] = ()
    paper: str = ""
    about: str = ""
    takes_prompt: bool = False
    packaged: bool = False
    parameters: int | None = None
    memory: int | None = None
    speed: float = 0
    quality: int = 0
    available: bool = False
    parts: tuple[PartFile, ...] = ()
    local: Path | None = None  # a checkpoint that was given by its path
    fault: str = ""  # why an entry of the user's catalogue cannot be used
    missing_roles: tuple[str, ...] = ()  # that its family requires and its parts do not have

    @property
    def size(self) -> int | None:
        """Bytes of all parts, None where one is unknown."""
        sizes = [part.size for part in self.parts if not part.optional]
        return sum(s for s in sizes if s is not None) if sizes and None not in sizes else None

    @property
    def minimum_size(self) -> int:
        """Bytes that the files have at least: those of known size, or all parameters in half precision."""
        known = sum(part.size or 0 for part in self.parts if not part.optional)
        return max(known, HALF_PRECISION * (self.parameters or 0))

    def minimum_size_of(self, part: PartFile) -> int:
        """Bytes that one part of unknown size has at least, where it is the only such: what the others leave."""
        others = sum(other.size or 0 for other in self.parts if not other.optional and other is not part)
        return max(0, self.minimum_size - others)


PART_KEYS = frozenset(item.name for item in fields(PartFile))
MODEL_KEYS = frozenset(item.name for item in fields(Entry)) - {"name", "local", "fault", "missing_roles"}
UNUSABLE = Entry(name="", family="", tasks=(), license="", source="")


def packaged_path() -> Path:
    """The catalogue inside the package, or at the top of a checkout."""
    inside = Path(str(resources.files("vrx"))) / "data" / PACKAGED
    return inside if inside.exists() else Path(str(resources.files("vrx"))).parent / PACKAGED


def load_all(families: Families, table: str = MODELS) -> dict[str, Entry]:
    """The package's entries of a table, and over them those of the user's own catalogue, checked against `families`.

    An entry of the user's that cannot be used is included with its `fault`, so that the others still work; the
    package's embedded model is never replaced.  Raises ModelError for a catalogue that cannot be read at all.
    """
    entries = load_file(packaged_path(), families, table)
    environment = Environment.read()
    if environment.weights_named or os.path.lexists(environment.weights):
        log.debug("reading the user's catalogue %s", environment.weights)
        for name, values in read_tables(environment.weights, table).items():
            try:
                entries[name] = parse_user_entry(environment.weights, name, values, families, table)
            except ModelError as error:
                entries[name] = replace(entries.get(name, UNUSABLE), name=name, fault=str(error))
    return entries


def load_names() -> list[str]:
    """The names of all entries, unchecked: for completion, which must be quick.  Raises ModelError."""
    environment = Environment.read()
    paths = [packaged_path(), *([environment.weights] if os.path.lexists(environment.weights) else [])]
    return list(dict.fromkeys(name for path in paths for name in read_tables(path)))


def load_file(path: Path, families: Families, table: str = MODELS) -> dict[str, Entry]:
    """Read a catalogue.  Raises ModelError that names file, table and key."""
    return {name: parse_entry(path, name, values, families, table) for name, values in read_tables(path, table).items()}


def read_tables(path: Path, table: str = MODELS) -> dict[str, Any]:
    """The tables of a catalogue's models, or measures, not yet checked.  Raises ModelError."""
    try:
        text = read_text(path, MAX_CATALOGUE)
        if any(piece.count(".") > MAX_DOTS for piece in re.split(r"[\n=]", text)):
            raise ValueError(f"a key has more than {MAX_DOTS} parts")
        tables = tomllib.loads(text.replace("\r\n", "\n"))
    except RecursionError as error:
        raise ModelError(f"cannot read the catalogue {path}: it is nested too deeply") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read the catalogue {path}: {getattr(error, 'strerror', error)}") from error
    found = tables.get(table, {})
    if not isinstance(found, dict):
        raise ModelError(f"{path}: [{table}] is not a table")
    return found


def parse_user_entry(path: Path, name: str, table: Any, families: Families, kind: str = MODELS) -> Entry:
    """An entry of the user's own catalogue, which cannot be the embedded model.  Raises ModelError."""
    if EMBEDDED in (name, table.get("family") if isinstance(table, dict) else ""):
        raise ModelError(
            f"{path}: [models.{name}]: the embedded model is part of vrx and cannot be replaced",
            "Pass a checkpoint of your own by its path: --model FILE",
        )
    entry = parse_entry(path, name, table, families, kind)
    if entry.packaged:
        raise ModelError(f"{path}: [models.{name}]: 'packaged' is for the models inside vrx", "Remove it")
    return entry


def parse_entry(path: Path, name: str, table: Any, families: Families, kind: str = MODELS) -> Entry:
    """One `[models.NAME]` table, or of another kind, as a value.  Raises ModelError that names file, table and key."""
    where = f"{path}: [{kind}.{name}]"
    try:
        if not NAME.fullmatch(name):
            raise ValueError("a model's name consists of letters, digits, '.', '_' and '-'")
        check_keys(where, table)
        entry = msgspec.convert({**table, "name": name} if isinstance(table, dict) else table, Entry)
        check_entry(entry, families)
    except (ValueError, msgspec.ValidationError) as error:
        raise ModelError(f"{where}: {describe(error)}") from error
    return replace(entry, missing_roles=missing_roles(families[entry.family], (part.role for part in entry.parts)))


def check_keys(where: str, table: Any) -> None:
    """Refuse keys that nothing reads: they are typing errors.  Raises ModelError that suggests the nearest one."""
    for prefix, keys, allowed in key_sets(table):
        for key in keys:
            if key not in allowed:
                near = difflib.get_close_matches(key, allowed, 1)
                hint = f"Did you mean {near[0]!r}?" if near else ""
                raise ModelError(f"{where}: {prefix}unknown key {key!r}", hint)


def key_sets(table: Any) -> Iterator[tuple[str, Iterable[str], frozenset[str]]]:
    """The keys of an entry's table and of its parts', with those that are allowed there."""
    if isinstance(table, dict):
        yield "", table, MODEL_KEYS
        parts = table.get("parts")
        for number, part in enumerate(parts if isinstance(parts, list) else (), 1):
            if isinstance(part, dict):
                yield f"part {number}: ", part, PART_KEYS


def describe(error: Exception) -> str:
    """An error of validation for people: `Expected ... - at `$.parts[0].size`` becomes `part 1: 'size': expected ...`.

    Parts count from 1.
    """
    if not isinstance(error, msgspec.ValidationError):
        return str(error)
    text, found, place = str(error).rpartition(" - at `$")
    if not found:
        text, place = place, ""
    keys = re.match(r"(?:\.parts\[(\d+)\])?(?:\.(\w+))?", place)
    assert keys is not None
    part, key = keys.groups()
    text = re.sub(r"^Object missing required field `(\w+)`$", r"the key '\1' is missing", text)
    text = re.sub(r"^Expected `([^`]+)`, got `(\w+)`$", describe_toml_types, text)
    return (f"part {int(part) + 1}: " if part else "") + (f"{key!r}: " if key else "") + text


def describe_toml_types(match: re.Match[str]) -> str:
    """Two types that disagree, by the names TOML has for them."""
    expected, found = (TOML_TYPES.get(kind, kind) for kind in (match[1].removesuffix(" | null"), match[2]))
    return f"expected {expected}, got {found}"


def check_entry(entry: Entry, families: Families) -> None:
    """Refuse what no family of this version is, does or has.  Raises ValueError that names the key."""
    if entry.family not in families:
        raise ValueError(f"'family' is {entry.family!r}; choose one of {', '.join(families)}")
    supported = families[entry.family].capabilities
    check_members("tasks", entry.tasks, supported.tasks, entry.family)
    check_members("scales", entry.scales, supported.scales, entry.family)
    if not entry.tasks:
        raise ValueError("'tasks' is empty")
    if "upscale" in entry.tasks and not entry.scales:
        raise ValueError("'scales' is empty, but 'tasks' has upscale")
    check_roles(entry, tuple(families[entry.family].components))


def check_members(key: str, values: Iterable[object], allowed: Iterable[object], family: str) -> None:
    """Refuse a task or a scale that a family does not have.  Raises ValueError."""
    for value in values:
        if value not in allowed:
            raise ValueError(f"{key!r} has {value!r}; {family} supports {', '.join(map(str, allowed))}")


def check_roles(entry: Entry, allowed: tuple[str, ...]) -> None:
    """Every part has a role, one of those allowed if any is, and no other part has it.  Raises ValueError."""
    seen: set[str] = set()
    for number, part in enumerate(entry.parts, 1):
        if not part.role:
            raise ValueError(f"part {number}: the key 'role' is missing")
        if allowed and part.role not in allowed:
            raise ValueError(f"part {number}: 'role' is {part.role!r}; choose one of {', '.join(allowed)}")
        if part.role in seen:
            raise ValueError(f"part {number}: another part has the 'role' {part.role!r} too")
        seen.add(part.role)
