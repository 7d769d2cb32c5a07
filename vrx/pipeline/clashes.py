"""Results compared, as files, with each other and with everything that a run reads: none replaces another.

Names are compared by what they lead to: links are followed, `..` is resolved, and names that differ in case
are one where the file system takes them for one.
"""

from __future__ import annotations

import os
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vrx.environment import Environment
from vrx.errors import UsageError
from vrx.media.earlier_results import results_among_masks
from vrx.media.file_types import PATTERN, is_media, is_pattern, is_still, pattern_of, sequence_members
from vrx.media.masks import pictures_in
from vrx.pipeline.paths import Destination
from vrx.settings import Job

Identity = tuple[object, ...]


@dataclass(frozen=True)
class Source:
    """A file that a run reads; `role` names its use."""

    path: Path
    role: str


def sources(job: Job) -> Iterator[Source]:
    """Everything that a job reads."""
    if job.source != "-":
        yield from members(Path(job.source), f"the input {job.source}")
    if job.restore.mask is not None:
        yield from mask_members(job.restore.mask)
    if job.selection.scenes not in ("auto", "off"):
        yield Source(Path(job.selection.scenes), f"the cut list {job.selection.scenes}")
    if os.path.lexists(job.model.name):
        yield from members(Path(job.model.name), f"the checkpoint {job.model.name}")
    weights = Environment.read().weights
    yield Source(weights, f"the catalogue {weights}")


def mask_members(path: Path) -> Iterator[Source]:
    """As `members`, of a mask; results of earlier runs in a folder of masks are none, and may be replaced."""
    results = results_among_masks(pictures_in(path)) if path.is_dir() else []
    yield from (found for found in members(path, f"the mask {path}") if found.path not in results)


def members(path: Path, role: str) -> Iterator[Source]:
    """A file, the pictures of a sequence, or a folder and the files in it."""
    if is_pattern(path):
        yield from (Source(member, role) for member in sequence_members(path))
        return
    yield Source(path, role)
    if path.is_dir():
        yield from (Source(member, role) for member in path.iterdir() if member.is_file())


def refuse_shared(written: Sequence[tuple[str, Path]], others: Sequence[tuple[str, Path]]) -> None:
    """Refuse files that a run writes besides its results where they are also something else, each with its option.

    `others`: what else the command line names.  A log with the name of a video or a picture is refused, as it may be a
    result's.  Pipes and devices may be shared.  Raises UsageError.
    """
    seen: dict[Identity, str] = {}
    for option, path in written:
        if option == "--log" and is_media(Path(os.path.realpath(path))):
            raise UsageError(f"the log {path} has the name of a video or picture", "Name another file with --log")
        if path.exists() and not path.is_file():
            continue
        other = seen.setdefault(identity(path), option)
        if other != option:
            raise UsageError(f"{other} and {option} are both {path}", f"Name another file with {option}")
    for what, path in others:
        if identity(path) in seen:
            option = seen[identity(path)]
            raise UsageError(f"{option} is {what} {path}", f"Name another file with {option}")


def refuse_clashes(results: Sequence[tuple[Job, Destination | None]], trace: Path | None = None) -> None:
    """Refuse results that would replace each other, something that is read, or the file of --trace.

    Raises UsageError: no option allows it.
    """
    read: dict[Identity, Source] = {}
    for job, _ in results:
        for source in sources(job):
            read.setdefault(identity(source.path), source)
    if trace is not None:
        found = read.setdefault(identity(trace), Source(trace, "the file of --trace"))
        if found.path is not trace:
            raise UsageError(f"the file of --trace, {trace}, is {found.role}", "Name another file with --trace")
    taken = OutputRegistry()
    piped = [job.source for job, destination in results if destination is None]
    if len(piped) > 1:
        raise UsageError(f"{piped[0]} and {piped[1]} cannot share standard output", "Name a folder with -o")
    for job, destination in results:
        if destination is None:
            continue
        for path in files_of(destination):
            clash = read.get(identity(path))
            if clash is not None:
                raise UsageError(f"the output {path} is {clash.role}", "Choose another name with -o")
        taken.add(destination, job.source)


def files_of(destination: Destination) -> list[Path]:
    """The files a result may replace; for a sequence the existing ones of its names, in any case."""
    if not destination.sequence:
        return [destination.path]
    pattern = destination.path
    head, tail = PATTERN.split(pattern.name, maxsplit=1)
    found = sequence_members(pattern)
    if pattern.parent.is_dir():
        for member in pattern.parent.iterdir():
            number = member.name[len(head) : len(member.name) - len(tail)]
            same = pattern.with_name(f"{head}{number}{tail}")
            if number.isdecimal() and same.name.casefold() == member.name.casefold() and same.exists():
                found.append(same)
    return found


def sharing_hint(one: Path, other: Path, output: Path) -> str:
    """How two inputs get results of their own, or numbered pictures become one video."""
    pattern = pattern_of(one)
    one_result = not is_still(output) or PATTERN.search(output.name)
    if pattern is not None and pattern == pattern_of(other) and one_result:
        return f"For one video of all these pictures add --sequence, or name {pattern}"
    return "Name a folder with -o, or use {stem}; with -r a folder keeps subfolders apart"


class OutputRegistry:
    """Registry of the result files of a batch.  Two results for one file are refused with a UsageError."""

    def __init__(self) -> None:
        self._exact: dict[Identity, str] = {}  # inputs by their result's identity
        self._folded: dict[Identity, str] = {}  # the same where names are taken without their case
        self._files: dict[Identity, list[tuple[Path, str]]] = {}  # results and inputs by folder
        self._sequences: dict[Identity, list[tuple[Path, str]]] = {}

    def add(self, destination: Destination, source: str) -> None:
        """Add the file, or the pattern, of one result."""
        path = destination.path
        exact, folder = identity(path), identity(path.parent)
        folded = tuple(fold_case(part) for part in exact)
        earlier = self._exact.get(exact) or self._numbered(destination, folder)
        if earlier is None and folded in self._folded and ignores_case(path.parent):
            earlier = self._folded[folded]
        if earlier is not None and identity(Path(earlier)) == identity(Path(source)):
            raise UsageError(f"{source} is named twice", "Remove one of them")
        if earlier is not None:
            raise UsageError(
                f"{earlier} and {source} cannot share the output {path}",
                sharing_hint(Path(earlier), Path(source), path),
            )
        self._exact[exact] = self._folded[folded] = source
        kind = self._sequences if destination.sequence else self._files
        kind.setdefault(folder, []).append((path, source))

    def _numbered(self, destination: Destination, folder: Identity) -> str | None:
        """The input whose result in the same folder shares a name with a sequence, or is one that does."""
        path, sequences = destination.path, self._sequences.get(folder, [])
        if destination.sequence:
            shared = [source for pattern, source in sequences if split_pattern(pattern) == split_pattern(path)]
            shared += [source for file, source in self._files.get(folder, []) if is_member(file, path)]
        else:
            shared = [source for pattern, source in sequences if is_member(path, pattern)]
        return next(iter(shared), None)


def split_pattern(pattern: Path) -> list[str]:
    """The text before and after the number, case folded."""
    return [part.casefold() for part in PATTERN.split(pattern.name, maxsplit=1)]


def is_member(path: Path, pattern: Path) -> bool:
    """Whether a name is one of a pattern's, whatever its case."""
    head, tail = split_pattern(pattern)
    name = path.name.casefold()
    fits = name.startswith(head) and name.endswith(tail) and len(name) > len(head) + len(tail)
    return fits and name[len(head) : len(name) - len(tail)].isdecimal()


def identity(path: Path) -> Identity:
    """Identity of a file under all of its names: the file's number, or its folder's and the names below that."""
    found = file_id(path)
    if found is not None:
        return found
    real = Path(os.path.realpath(path))  # of a loop of links too, which `resolve` refuses
    for folder in real.parents:
        found = file_id(folder)
        if found is not None:
            return (*found, *real.relative_to(folder).parts)
    return real.parts


def file_id(path: Path) -> Identity | None:
    """Device and number of a file that exists."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def fold_case(part: object) -> object:
    """A name as a file system sees it that ignores case and how letters are composed."""
    return unicodedata.normalize("NFC", part).casefold() if isinstance(part, str) else part


def ignores_case(folder: Path) -> bool:
    """Whether a folder ignores the case of names: tried with an existing file, or a temporary one."""
    place = next((parent for parent in (folder, *folder.absolute().parents) if parent.is_dir()), folder)
    try:
        with tempfile.NamedTemporaryFile(prefix=".vrx-case-", dir=place) as file:
            return Path(file.name).with_name(Path(file.name).name.swapcase()).exists()
    except OSError:
        return True  # nothing can be written there anyway
