"""Inputs from the words of a command line: files, numbered pictures, and what folders and globs hold."""

from __future__ import annotations

import errno
import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from vrx.errors import InputError, UsageError
from vrx.events import Note
from vrx.media.earlier_results import results_among
from vrx.media.file_types import (
    check_numbered,
    is_media,
    is_pattern,
    sequence_members,
)
from vrx.pipeline.addresses import refuse_address
from vrx.pipeline.paths import in_subfolder
from vrx.pipeline.picture_runs import find_only_run, find_runs, join_runs
from vrx.settings import Job, Task

STDIN = "-"
LISTED = 3  # names in a line about files that are left out


@dataclass(frozen=True)
class Input:
    """One input of a run; `subfolder` is where in the named folder it was found."""

    source: str
    subfolder: str = ""

    @property
    def numbered(self) -> bool:
        """Whether it is numbered pictures as one video."""
        return is_pattern(Path(self.source))


@dataclass(frozen=True)
class Expansion:
    """What arguments expand to: inputs in natural order; by argument, what is left out and what cannot be read."""

    inputs: tuple[Input, ...] = ()
    notes: tuple[tuple[str, Note], ...] = ()
    problems: tuple[tuple[str, InputError], ...] = ()

    @classmethod
    def join(cls, parts: Sequence[Expansion]) -> Expansion:
        """Several in one."""
        return cls(
            tuple(found for part in parts for found in part.inputs),
            tuple(note for part in parts for note in part.notes),
            tuple(problem for part in parts for problem in part.problems),
        )

    def check_rate(self) -> None:
        """As the function, of the inputs, of which there is one at least."""
        check_rate(self.inputs)


@dataclass(frozen=True)
class Choice:
    """What of a folder is taken: files of subfolders if `recursive`, results of earlier runs if `results`, numbered
    pictures as one video if `sequence`.

    A folder `beside` the inputs that results go to is passed over, and so are the `mask` that they share and files that
    are `written` besides results, such as a log.  `command` is the one that takes them, None where it reads no standard
    input.
    """

    recursive: bool = False
    results: bool = False
    beside: Path | None = None
    mask: Path | None = None
    written: Sequence[Path] = ()
    command: str | None = Task.UPSCALE
    sequence: bool = False


def expand_inputs(words: Sequence[str], choice: Choice) -> Expansion:
    """The inputs that words name.

    Raises UsageError for an empty word, for standard input named twice, and where numbered pictures are wanted as a
    video of which some are named only.

    A missing file, an address, and a folder or a glob that holds nothing are problems of the expansion, so
    that all of them can be reported.
    """
    if not all(words):
        raise UsageError("an input is empty", "Name a file; a shell variable may be unset")
    if list(words).count(STDIN) > 1:
        raise UsageError("standard input is named twice", "Remove one -")
    parts = []
    for place, word in enumerate(words):
        try:
            parts.append(expand_word(word, choice))
        except InputError as error:
            wished = (
                not choice.results
                and 0 < place == len(words) - 1
                and is_media(Path(word))
                and "no such file" in error.message
            )
            hint = f"To name the result, use -o: {words[0]} -o {word}" if wished else error.hint
            parts.append(Expansion(problems=((word, InputError(error.message, hint)),)))
        except OSError as error:  # a name too long, a folder that may not be entered
            parts.append(Expansion(problems=((word, InputError(f"cannot read {word}: {error.strerror}")),)))
    found = Expansion.join(parts)
    return with_sequences(found) if choice.sequence else with_note_of_runs(found)


def with_sequences(found: Expansion) -> Expansion:
    """The same with each run of numbered pictures as one input.  Raises UsageError where a part of one is named."""
    joined = join_runs([one.source for one in found.inputs])
    inputs = tuple(dict.fromkeys(replace(one, source=joined[one.source]) for one in found.inputs))
    if not inputs or any(one.numbered for one in inputs):
        return replace(found, inputs=inputs)
    note = Note("no-sequence", "--sequence: no input is one of several numbered pictures", {}, "warning")
    return replace(found, notes=(*found.notes, (inputs[0].source, note)))


def with_note_of_runs(found: Expansion) -> Expansion:
    """The same with a note of pictures that are numbered as the frames of a video are, and are taken one by one."""
    runs = [run for run in find_runs(Path(one.source) for one in found.inputs) if run.looks_like_frames()]
    if not runs:
        return found
    count = sum(len(run.members) for run in runs)
    text = (
        f"{listed([str(run.pattern) for run in runs])}: {count} numbered pictures, taken one by one; "
        "for one video of them add --sequence"
    )
    note = Note("numbered-pictures", text, {"count": count})
    return replace(found, notes=(*found.notes, (str(runs[0].pattern), note)))


def expand_word(word: str, choice: Choice) -> Expansion:
    """The inputs that one word names.  Raises InputError and OSError."""
    path = Path(word)
    if word == STDIN:
        return Expansion((Input(word),))
    check_name(path)
    if path.is_dir():
        return expand_folder(word, choice)
    refuse_address(word, choice.command)
    if is_pattern(path):
        if not sequence_members(path):
            raise InputError(f"cannot read {word}: no such files")
        return Expansion((Input(word),))
    if path.exists():
        return Expansion((Input(word),))
    if glob.has_magic(word):
        return expand_glob(word, choice)
    if path.is_symlink():
        raise InputError(f"cannot read {word}: it is a link to a file that does not exist")
    raise InputError(f"cannot read {word}: no such file")


def make_jobs(template: Job, inputs: Sequence[Input], needs_rate: bool) -> list[Job]:
    """The jobs of inputs with the settings of `template`, whose frame rate is that of numbered pictures among them.

    Raises UsageError where it `needs_rate` and none are numbered pictures.
    """
    if needs_rate:
        check_rate(inputs)
    jobs = [in_subfolder(replace(template, source=found.source), found.subfolder) for found in inputs]
    return [job if found.numbered else without_rate(job) for job, found in zip(jobs, inputs, strict=True)]


def check_rate(inputs: Sequence[Input]) -> None:
    """Refuse a frame rate where no input is numbered pictures as one video.  Raises UsageError."""
    if any(found.numbered for found in inputs):
        return
    runs = find_runs(Path(found.source) for found in inputs)
    if runs:
        text = f"--fps is for numbered pictures as one video, and {runs[0].pattern} are taken one by one"
        raise UsageError(text, "Add --sequence")
    check_numbered(inputs[0].source, Path(inputs[0].source))


def without_rate(job: Job) -> Job:
    """A job, and what is previewed of it, without a frame rate."""
    if job.selection.fps is None:
        return job
    shown = job.preview
    if shown is not None:
        variants = tuple(replace(v, selection=replace(v.selection, fps=None)) for v in shown.variants)
        shown = replace(shown, variants=variants)
    return replace(job, selection=replace(job.selection, fps=None), preview=shown)


def to_path(source: str | os.PathLike[str]) -> Path:
    """The path of a file that is not piped; of a folder of numbered pictures their pattern.

    Raises InputError for an address, and for a folder that holds anything but one run of numbered pictures, and
    UsageError for standard input.
    """
    if os.fspath(source) == STDIN:
        raise UsageError("only upscale, restore, deblur and inpaint read standard input", "Save it to a file first")
    refuse_address(os.fspath(source))
    path = Path(source)
    if not path.is_dir():
        return path
    try:
        found = expand_folder(str(path), Choice())
    except InputError as error:
        raise InputError(error.message, "Name a file") from error
    return find_only_run(str(path), (Path(one.source) for one in found.inputs)).pattern


def command_of(template: Job) -> str:
    """The words that begin the command of some jobs, after `vrx`."""
    return template.restore.task if template.preview is None else f"preview {template.restore.task}"


def check_name(path: Path) -> None:
    """Refuse a name that no file can have, or that cannot be looked up.  Raises InputError."""
    try:
        path.lstat()
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) or error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES):
            reason = getattr(error, "strerror", None) or "not a valid file name"
            raise InputError(f"cannot read {path!s:.300}: {reason}") from error


def expand_folder(word: str, choice: Choice) -> Expansion:
    """The videos and pictures of a folder.  Raises InputError where there are none."""
    top = Path(word)
    media: list[Path] = []
    others: list[str] = []
    folders: list[str] = []
    for folder, names, passed in walk(top, choice):
        names = [name for name in names if not is_own(folder / name, choice)]
        taken = [name for name in names if is_media(Path(name)) and (folder / name).is_file()]
        media += [folder / name for name in taken]
        others += [name for name in names if name not in taken]
        folders += passed
    results = set() if choice.results else results_among({path.name: path for path in media})
    found = [Input(str(path), relative_subfolder(path.parent, top)) for path in media if path.name not in results]
    if not found:
        hint = f"To include its subfolders ({listed(folders)}), add -r" if folders and not choice.recursive else ""
        raise InputError(f"cannot read {word}: no videos or pictures in this folder", hint)
    notes = [earlier_results_note(word, [path.name for path in media if path.name in results])] if results else []
    if others:
        notes.append(skipped_note(word, f"files that are not videos or pictures: {listed(others)}", len(others)))
    if choice.recursive and choice.beside is not None and contains(top, choice.beside):
        notes.append(skipped_note(word, f"{choice.beside}, the folder for results", 1))
    if choice.mask is not None and contains_mask(top, choice):
        notes.append(skipped_note(word, f"{choice.mask}, the mask", 1))
    if folders and choice.recursive:
        notes.append(skipped_note(word, f"links to folders: {listed(folders)}", len(folders)))
    elif folders:
        notes.append(skipped_note(word, f"subfolders ({listed(folders)}); include them with -r", len(folders)))
    return Expansion(tuple(found), tuple((word, note) for note in notes))


def contains(top: Path, folder: Path) -> bool:
    """Whether a folder that is not empty is somewhere in another one."""
    inner, outer = os.path.realpath(folder), os.path.realpath(top)
    return inner.startswith(os.path.join(outer, "")) and inner != outer and any(Path(inner).glob("*"))  # noqa: PTH118


def is_mask(path: Path, choice: Choice) -> bool:
    """Whether a file or a folder is the mask of all inputs."""
    return choice.mask is not None and same_file(path, choice.mask)


def is_own(path: Path, choice: Choice) -> bool:
    """Whether a file is the mask of all inputs, or one that the command writes besides results.

    Videos and pictures are none of those: they would be lost, so that such a command is refused later.
    """
    return is_mask(path, choice) or (not is_media(path) and any(same_file(path, file) for file in choice.written))


def contains_mask(top: Path, choice: Choice) -> bool:
    """Whether the mask of all inputs is in a folder, or in one of those in it that are taken, too."""
    inner, outer = Path(os.path.realpath(choice.mask or "")), Path(os.path.realpath(top))
    return inner.exists() and (inner.parent == outer or (choice.recursive and outer in inner.parents))


def skipped_note(word: str, what: str, count: int) -> Note:
    """The note about what a folder holds and a run does not restore."""
    return Note("inputs-skipped", f"{word}: skipping {what}", {"count": count})


def relative_subfolder(folder: Path, top: Path) -> str:
    """Where in `top` a folder is; empty for itself."""
    return "" if folder == top else str(folder.relative_to(top))


def earlier_results_note(word: str, names: Sequence[str]) -> Note:
    """The note about results of earlier runs."""
    return skipped_note(word, f"results of earlier runs ({listed(names)}); to restore one, name it", len(names))


def walk(top: Path, choice: Choice) -> Iterator[tuple[Path, list[str], list[str]]]:
    """A folder and, if asked, those in it: each with its files, and with the folders in it that are left out.

    Names in natural order, without hidden ones.  Links to folders are passed by, as they may lead back.
    Raises OSError for a folder that cannot be read.
    """
    for base, folders, files in os.walk(top, onerror=raise_error):
        folder = Path(base)
        shown = sorted((name for name in folders if not name.startswith(".")), key=natural_key)
        if choice.beside is not None:
            shown = [name for name in shown if not same_file(folder / name, choice.beside)]
        shown = [name for name in shown if not is_mask(folder / name, choice)]
        folders[:] = [name for name in shown if choice.recursive and not (folder / name).is_symlink()]
        passed = [name for name in shown if name not in folders]
        yield folder, sorted((n for n in files if not n.startswith(".")), key=natural_key), passed


def raise_error(error: OSError) -> NoReturn:
    """Raise the error of a folder that cannot be read."""
    raise error


def expand_glob(word: str, choice: Choice) -> Expansion:
    """The files that a glob matches, and the contents of the folders it matches.  Raises InputError for none."""
    matches = sorted(glob.iglob(literal_folders(word), recursive=True), key=natural_key)  # noqa: PTH207 - may be absolute
    if not matches:
        raise InputError(f"cannot read {word}: nothing matches")
    matches = [name for name in matches if len(matches) == 1 or not is_own(Path(name), choice)]
    files = [name for name in matches if not Path(name).is_dir()]
    results = set() if choice.results else results_among({name: Path(name) for name in files})
    parts = [Expansion(tuple(Input(name) for name in files if name not in results))]
    if results:
        parts.append(
            Expansion(notes=((word, earlier_results_note(word, [name for name in files if name in results])),))
        )
    parts += [expand_folder(name, choice) for name in matches if Path(name).is_dir() and "**" not in word]
    expansion = Expansion.join(parts)
    if not expansion.inputs:
        raise InputError(f"cannot read {word}: nothing matches")
    return expansion


def literal_folders(word: str) -> str:
    """A glob in which folders that exist by their literal name, such as `[Group] Show`, are that."""
    parts = Path(word).parts
    count = 0
    while count < len(parts) - 1 and Path(*parts[: count + 1]).is_dir():
        count += 1
    return str(Path(*map(glob.escape, parts[:count]), *parts[count:]))


def same_file(one: Path, other: Path) -> bool:
    """Whether two names are those of one file or folder that exists."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """What names are sorted by, so that `clip2` comes before `clip10`."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part.casefold()) for part in parts if part]


def listed(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    rest = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {rest} more" if rest > 0 else "")
