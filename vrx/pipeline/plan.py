"""What a run will do, decided before it starts: model, output, encoder, colour, memory and time."""

from __future__ import annotations

import errno
import glob
import tempfile
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

from vrx.errors import InputError, OutputError, UsageError
from vrx.media.containers import OWN, choose_container
from vrx.media.encoders import RULES, SHORT_NAMES, STILL_ENCODERS, automatic, rule_for
from vrx.media.probe import describe, opened
from vrx.media.stills import VIDEO_SUFFIXES, is_media, is_pattern
from vrx.media.write import FORMATS
from vrx.pipeline.transfer import other_streams
from vrx.settings import Job, OutputSettings, Task

BASE_MEMORY = 350 << 20  # bytes: the interpreter, torch and the libraries
BYTES_A_PIXEL = 690  # of output, all stages and queues together; measured from 640x360 to 1920x1080
FALLBACK_SUFFIX = ".mkv"  # holds every stream there is
STDOUT = "-"
TEMPLATE_KEYS = ("stem", "task", "model", "ext")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What `--dry-run` shows.  Sizes are (width, height); memory in bytes, time in seconds, both rough."""

    source: str
    output: str
    model: str
    checkpoint: str
    device: str
    dtype: str
    frames: int | None
    source_size: tuple[int, int]
    target_size: tuple[int, int]
    encoder: str
    pix_fmt: str
    container: str
    chunk: int
    scenes: str
    memory: int | None
    seconds: float | None
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def expand_inputs(words: list[str]) -> list[str]:
    """Files of folders, globs and names; a pattern of numbered pictures stays one input.

    The results of earlier runs inside a folder are left out.  Raises InputError for a folder or glob
    that holds nothing.
    """
    found: list[str] = []
    for word in words:
        path = Path(word)
        check_input_name(path)
        if word == "-" or is_pattern(path) or path.is_file():
            found.append(word)
        elif path.is_dir():
            members = sorted(p for p in path.iterdir() if p.is_file() and is_media(p) and not p.name.startswith("."))
            members = [p for p in members if not is_result(p)]
            if not members:
                raise InputError(f"cannot read {word}: the folder holds no videos or pictures")
            found += [str(p) for p in members]
        elif glob.has_magic(word):
            members = sorted(Path(name) for name in glob.iglob(word))  # noqa: PTH207 - a pattern may be absolute
            if not members:
                raise InputError(f"cannot read {word}: nothing matches")
            found += [str(p) for p in members if p.is_file()]
        else:
            found.append(word)
    return found


def check_input_name(path: Path) -> None:
    """Refuse a name that no file can have.  Raises InputError."""
    try:
        path.lstat()
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) or error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES):
            reason = getattr(error, "strerror", None) or "no file can have such a name"
            raise InputError(f"cannot read {path!s:.300}: {reason}") from error


def is_result(path: Path) -> bool:
    """Whether a name is one that vrx gives."""
    marks = {".x2", ".x3", ".x4", ".deblur", ".inpaint"}
    return Path(path.stem).suffix in marks


def tag(job: Job) -> str:
    """`x4`, `deblur` or `inpaint`: the middle of a result's name."""
    restore = job.restore
    return f"x{restore.scale}" if restore.task is Task.UPSCALE else str(restore.task)


def default_suffix(source: Path | None, audio: bool = True) -> str:
    """The container of a result without -o: as the source's where it can be written, else MP4 or MKV.

    `audio` says whether the result is to have the source's sound.  A source that cannot be opened is
    told of by who reads it.
    """
    if source is None:
        return FALLBACK_SUFFIX
    suffix = source.suffix.lower()
    if suffix in {*STILL_ENCODERS, *OWN}:
        return suffix
    if suffix not in VIDEO_SUFFIXES and is_media(source):
        return ".png"
    try:
        with opened(source, str(source)) as container:
            others = other_streams(describe(container, str(source), source), audio)
    except InputError:
        others = []
    return choose_container(others, suffix)[0]


def output_path(job: Job, source: Path | None, model: str) -> Path | None:
    """Where the result goes; None is standard output.  Raises UsageError and OutputError."""
    wanted = job.output.path
    if wanted == STDOUT or (wanted is None and source is None):
        return None
    suffix = default_suffix(source, job.output.audio)
    stem = source.stem if source is not None else "stdin"
    named = f"{stem}.{tag(job)}{suffix}"
    if wanted is None:
        assert source is not None
        return source.with_name(named)
    if "{" in wanted:
        try:
            wanted = wanted.format(stem=stem, task=tag(job), model=model, ext=suffix[1:])
        except (KeyError, IndexError, ValueError) as error:
            known = ", ".join(f"{{{key}}}" for key in TEMPLATE_KEYS)
            raise UsageError(f"cannot fill the output name {wanted!r}", f"Known parts: {known}") from error
    path = Path(wanted)
    check_name(path)
    if wanted.endswith("/") or path.is_dir():
        return path / named
    if path.suffix.lower() not in FORMATS | STILL_ENCODERS:
        known = " ".join(sorted(FORMATS | STILL_ENCODERS))
        raise UsageError(f"cannot tell the format of {path} by its ending", f"Known endings: {known}")
    return path


def check_output(path: Path, source: Path | None, settings: OutputSettings) -> None:
    """Refuse what would fail at the end or destroy something.  Raises OutputError."""
    check_name(path)
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(f"cannot write {path}: the folder {folder} does not exist", f"Make it: mkdir -p {folder}")
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise OutputError(f"the output {path} is the input", "Choose another name with -o")
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder")
    if path.exists() and not settings.overwrite:
        raise OutputError(f"{path} exists", "Add -y to replace it")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror}") from error


def check_name(path: Path) -> None:
    """Refuse a name that no file can have there.  Raises OutputError."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}", "Choose another name with -o") from error
    except ValueError as error:  # a zero byte, or what is no character
        raise OutputError(f"cannot write {path!s:.80}: no file can have such a name") from error


def container_of(path: Path | None) -> str:
    """ffmpeg's name of the container; pipes get Matroska, which needs no seeking."""
    if path is None:
        return "matroska"
    return FORMATS.get(path.suffix.lower(), "image2")


def choose_encoder(settings: OutputSettings, path: Path | None, automatic_name: str) -> str:
    """The encoder's ffmpeg name.  Raises UsageError for one that is unknown."""
    if path is not None and path.suffix.lower() in STILL_ENCODERS:
        if settings.codec not in ("auto", STILL_ENCODERS[path.suffix.lower()]):
            raise UsageError(f"pictures are not encoded with {settings.codec}", "Leave --codec out")
        return automatic_name
    if settings.codec == "auto":
        return automatic_name
    name = rule_for(settings.codec).name
    if name in STILL_ENCODERS.values():
        raise UsageError(f"{settings.codec} is no video codec", f"Choose one of {', '.join(SHORT_NAMES)}")
    return name


def memory_needed(target: tuple[int, int], source: tuple[int, int], depth: int) -> int:
    """Bytes a run takes, roughly: the network's maps and the queues, and the frames scenes look ahead."""
    ahead = 17 * source[0] * source[1] * (2 if depth > 8 else 1) * 2
    return BASE_MEMORY + BYTES_A_PIXEL * target[0] * target[1] + ahead


def span_of(
    start: Fraction | None, end: Fraction | None, frames: int | None, rate: Fraction
) -> tuple[Fraction, Fraction | None] | None:
    """Seconds of the source that the other streams are cut to; None where nothing is left out."""
    if start is None and end is None and frames is None:
        return None
    begin = start or Fraction(0)
    limit = end
    if frames is not None and rate:
        by_count = begin + frames / rate
        limit = by_count if limit is None else min(limit, by_count)
    return begin, limit


__all__ = ["RULES", "Plan", "automatic", "expand_inputs", "output_path"]
