"""Where results go: their names, and whether they can be written there."""

from __future__ import annotations

import math
import os
import re
import stat
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from vrx.errors import InputError, OutputError, UsageError
from vrx.media.animations import is_animation
from vrx.media.containers import SAME_AS_SOURCE, choose_container
from vrx.media.encoders import LOSSLESS, MEZZANINES, STILL_ENCODERS
from vrx.media.file_types import (
    PATTERN,
    SEQUENCE_RATE,
    VIDEO_SUFFIXES,
    is_media,
    is_pattern,
    sequence_members,
    sequence_numbers,
)
from vrx.media.probe import describe_source, open_input
from vrx.media.target import FORMATS
from vrx.media.video_stream import pick_video
from vrx.pipeline.addresses import refuse_address_to_write
from vrx.pipeline.transfer import other_streams
from vrx.settings import Job, SelectionSettings, Task

FALLBACK_SUFFIX = ".mkv"  # holds every stream there is
EDITING_SUFFIX = ".mov"
STDOUT = "-"
FIELD = re.compile(r"\{\{|\}\}|\{(stem|task|model|ext)\}|[{}]")
FIELDS = "{stem}, {task}, {model}, {ext}"


@dataclass(frozen=True)
class Destination:
    """Where a result goes.  A `sequence` is a pattern that names one picture a frame.

    `new_folder`: its folder is made where it is not there yet.
    """

    path: Path
    sequence: bool = False
    new_folder: bool = False

    def existing(self) -> list[Path]:
        """The files that exist now.  Raises OutputError for names the file system refuses."""
        try:
            if self.sequence:
                return sequence_members(self.path)
            self.path.lstat()
            return [self.path]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}") from error


def tag(job: Job) -> str:
    """`x4`, `h1080`, `deblur` or `inpaint`: the middle of a result's name."""
    restore = job.restore
    if restore.task is not Task.UPSCALE:
        return str(restore.task)
    return f"x{restore.scale}" if restore.size is None else str(restore.size)


def default_suffix(source: Path | None, audio: bool = True, stream: int | None = None) -> str:
    """The container of a result without -o: as the source's where it can be written, else MP4 or MKV, or MOV for codecs
    of editing, and MKV for lossless ones.

    `audio`: whether the result has the source's sound; `stream` which of several videos is
    restored.  The reader reports a source that cannot be opened.
    """
    if source is None:
        return FALLBACK_SUFFIX
    suffix = source.suffix.lower()
    if is_animation(source):
        return FALLBACK_SUFFIX  # it has the times of a video, and may be transparent
    if suffix in {*STILL_ENCODERS, *SAME_AS_SOURCE}:
        return suffix
    if suffix not in VIDEO_SUFFIXES and is_media(source):
        return ".png"
    try:
        with open_input(source, str(source)) as container:
            video = pick_video(container, str(source), stream)
            if video.codec_context.name in MEZZANINES:
                return EDITING_SUFFIX
            if video.codec_context.name in LOSSLESS:
                return FALLBACK_SUFFIX
            others = other_streams(describe_source(container, str(source), source, video), audio)
    except InputError:
        others = []
    return choose_container(others, suffix)[0]


def find_destination(job: Job, source: Path | None, model: str) -> Destination | None:
    """Where the result goes; None is standard output.  Raises UsageError and OutputError.

    A `%d` in a source's own name makes no pattern of its result's: only one in -o does, or a source that is one.
    """
    wanted = job.output.path
    refuse_address_to_write(wanted or "")
    if wanted == STDOUT or (wanted is None and source is None):
        return None
    suffix = default_suffix(source, job.output.audio, job.selection.stream)
    stem = job.stem or (source.stem if source is not None else "stdin")
    named = f"{stem}.{tag(job)}{suffix}"
    numbered, folder = source is not None and is_pattern(source), is_folder(wanted)
    if wanted is None:
        assert source is not None
        path = source.with_name(named)
    elif folder and Path(wanted).is_dir():
        path = Path(wanted) / named
    else:
        values = {"stem": stem, "task": tag(job), "model": model, "ext": suffix[1:]}
        path = Path(fill(wanted, values)) / named if folder else Path(fill(wanted, values))
        check_name(path)
        if not folder and path.is_dir():
            path, folder = path / named, True
        if not folder:
            check_suffix(path, wanted)
            numbered = numbered or bool(PATTERN.search(Path(fill(wanted, dict.fromkeys(values, ""))).name))
    check_name(path)
    if numbered and is_numbered(path.name):
        return Destination(path, sequence=True, new_folder=folder)
    return Destination(follow_link(path), new_folder=folder)


def check_suffix(path: Path, wanted: str) -> None:
    """Refuse a name without the suffix of a file type.  Raises UsageError."""
    if path.suffix.lower() not in FORMATS | STILL_ENCODERS:
        known = " ".join(sorted(FORMATS | STILL_ENCODERS))
        new = not path.suffix and not path.exists()
        folder = f". For a new folder add a slash: {wanted}/" if new else ""
        raise UsageError(f"unknown format: {path}", f"Known endings: {known}{folder}")


def in_subfolder(job: Job, subfolder: str) -> Job:
    """A job whose result goes to the same subfolder of the folder for results that its input is in."""
    wanted = job.output.path
    if not subfolder or wanted is None or not is_folder(wanted):
        return job
    return replace(job, output=replace(job.output, path=f"{Path(wanted) / subfolder}/"))


def is_folder(wanted: str | None) -> bool:
    """Whether -o names a folder: one that is there, or that is to be made.  Raises OutputError."""
    if wanted is None or wanted == STDOUT:
        return False
    check_name(Path(wanted))
    return wanted.endswith("/") or Path(wanted).is_dir()


def results_folder(wanted: str | None) -> Path | None:
    """The folder that -o sends results to, as far as it is the same for all."""
    if wanted is None or wanted == STDOUT:
        return None
    folder = Path(wanted) if is_folder(wanted) else Path(wanted).parent
    return None if "{" in str(folder) else folder


def fill(template: str, values: dict[str, str]) -> str:
    """A template with its fields filled in; `{{` and `}}` are braces.  Raises UsageError for any other field.

    A name without an opening brace is not a template.
    """
    if "{" not in template:
        return template

    def value(match: re.Match[str]) -> str:
        if match[1]:
            return values[match[1]]
        if len(match[0]) == 2:
            return match[0][0]
        raise UsageError(f"unknown field in the output name {template!r}", f"Known fields: {FIELDS}")

    return FIELD.sub(value, template)


def is_numbered(name: str) -> bool:
    """Whether a name is one for many pictures, such as `f_%05d.png`."""
    return bool(PATTERN.search(name)) and Path(name).suffix.lower() in STILL_ENCODERS


def first_number(source: Path, selection: SelectionSettings) -> int:
    """What numbered pictures are numbered from: as those that are selected of the source's are, else from 1."""
    numbers = sequence_numbers(source) if is_pattern(source) else []
    return numbers[0] + first_selected(selection) if numbers else 1


def first_selected(selection: SelectionSettings) -> int:
    """How many of a source's numbered pictures are shown before those that are selected."""
    return math.ceil((selection.start or 0) * (selection.fps or SEQUENCE_RATE))


def follow_link(path: Path) -> Path:
    """The file that a link names, as a result is written through it.  Raises OutputError where that cannot be."""
    if not path.is_symlink():
        return path
    try:
        real = path.resolve()
    except RuntimeError as error:  # a loop of links
        raise OutputError(f"cannot write {path}: it is a link to itself") from error
    if real.suffix.lower() != path.suffix.lower() or real.is_symlink():
        raise OutputError(f"cannot write {path}: it is a link to {real}", "Name the file itself with -o")
    return real


def check_name(path: Path) -> None:
    """Refuse a name that no file can have there.  Raises OutputError."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}", "Choose another name with -o") from error
    except ValueError as error:  # a zero byte, or an invalid character
        raise OutputError(f"cannot write {path!s:.80}: not a valid file name") from error


def check_folder(destination: Destination) -> None:
    """Refuse a folder that nothing can be written into.  Raises OutputError."""
    path, folder = destination.path, destination.path.parent
    if not folder.is_dir():
        if not destination.new_folder and os.path.lexists(folder):
            raise OutputError(f"cannot write {path}: {folder} is not a folder", "Choose another name with -o")
        if not destination.new_folder:
            hint = f"Create it: mkdir -p {folder}"
            raise OutputError(f"cannot write {path}: the folder {folder} does not exist", hint)
        folder = next(parent for parent in folder.absolute().parents if parent.exists())
        if not folder.is_dir():
            raise OutputError(f"cannot create the folder {path.parent}: {folder} is a file")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror}") from error


def check_kind(destination: Destination) -> None:
    """Refuse to replace what is not a plain file: a folder, a pipe, a device.  Raises OutputError."""
    for path in destination.existing():
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:  # a broken link
            raise OutputError(f"cannot write {path}: it is a link to a file that does not exist") from None
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        if stat.S_ISDIR(mode):
            raise OutputError(f"cannot write {path}: it is a folder")
        if not stat.S_ISREG(mode):
            raise OutputError(f"cannot write {path}: it is a pipe or a device", "Use -o - and redirect that")


def make_folder(destination: Destination) -> None:
    """Make the folder of a result.  Raises OutputError."""
    if destination.new_folder:
        try:
            destination.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot create the folder {destination.path.parent}: {error.strerror}") from error


def container_of(path: Path | None) -> str:
    """ffmpeg's name of the container; pipes get Matroska, which needs no seeking."""
    if path is None:
        return "matroska"
    return FORMATS.get(path.suffix.lower(), "image2")
