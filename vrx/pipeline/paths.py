"""Where results go: their names, and whether they can be written there."""

from __future__ import annotations

from pathlib import Path

from vrx.errors import OutputError, UsageError
from vrx.media.encoders import STILL_ENCODERS
from vrx.media.stills import VIDEO_SUFFIXES, is_media
from vrx.media.write import FORMATS
from vrx.settings import Job, OutputSettings, Task

FALLBACK_SUFFIX = ".mkv"  # holds every stream there is
STDOUT = "-"
TEMPLATE_KEYS = ("stem", "task", "model", "ext")


def tag(job: Job) -> str:
    """`x4`, `deblur` or `inpaint`: the middle of a result's name."""
    restore = job.restore
    return f"x{restore.scale}" if restore.task is Task.UPSCALE else str(restore.task)


def default_suffix(source: Path | None) -> str:
    """The container of a result without -o: as the source's where it can be written, else MP4 or MKV."""
    if source is None:
        return FALLBACK_SUFFIX
    suffix = source.suffix.lower()
    if suffix in STILL_ENCODERS or suffix in {".mp4", ".mkv", ".mov", ".webm"}:
        return suffix
    return ".png" if suffix not in VIDEO_SUFFIXES and is_media(source) else ".mp4"


def output_path(job: Job, source: Path | None, model: str) -> Path | None:
    """Where the result goes; None is standard output.  Raises UsageError and OutputError."""
    wanted = job.output.path
    if wanted == STDOUT or (wanted is None and source is None):
        return None
    suffix = default_suffix(source)
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
    if wanted.endswith("/") or path.is_dir():
        return path / named
    if path.suffix.lower() not in FORMATS | STILL_ENCODERS:
        known = " ".join(sorted(FORMATS | STILL_ENCODERS))
        raise UsageError(f"cannot tell the format of {path} by its ending", f"Known endings: {known}")
    return path


def check_output(path: Path, source: Path | None, settings: OutputSettings) -> None:
    """Refuse what would fail at the end or destroy something.  Raises OutputError."""
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(f"cannot write {path}: the folder {folder} does not exist", f"Make it: mkdir -p {folder}")
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise OutputError(f"the output {path} is the input", "Choose another name with -o")
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder")
    if path.exists() and not settings.overwrite:
        raise OutputError(f"{path} exists", "Add -y to replace it")
    probe = folder / f".vrx-{path.name[:40]}.probe"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror}") from error


def container_of(path: Path | None) -> str:
    """ffmpeg's name of the container; pipes get Matroska, which needs no seeking."""
    if path is None:
        return "matroska"
    return FORMATS.get(path.suffix.lower(), "image2")
