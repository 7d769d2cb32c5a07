"""Names of a preview's files: those of the result that a run would write, with `.preview` before the suffix."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from vrx.errors import UsageError
from vrx.media.earlier_results import PREVIEW_MARK
from vrx.media.encoders import STILL_ENCODERS
from vrx.media.file_types import PATTERN, is_pattern, is_still, sequence_stem
from vrx.pipeline import paths
from vrx.pipeline.existing import refuse
from vrx.pipeline.paths import Destination
from vrx.settings import Job

PICTURE, CLIP = ".png", ".mp4"


@dataclass(frozen=True)
class PreviewFiles:
    """Where the picture goes, and the clip, where there is one; `result` is what a run would call its own file."""

    picture: Destination
    clip: Destination | None
    result: str

    @property
    def all(self) -> list[Destination]:
        """What is written."""
        return [self.picture, *([] if self.clip is None else [self.clip])]

    def exist(self) -> bool:
        """Whether all are there.  Raises OutputError for what is not a file."""
        for destination in self.all:
            paths.check_kind(destination)
        return all(destination.existing() for destination in self.all)

    def check(self, overwrite: bool) -> None:
        """Refuse what cannot be written, and existing files unless they may be replaced.  Raises OutputError."""
        for destination in self.all:
            paths.check_folder(destination)
            paths.check_kind(destination)
            if not overwrite:
                refuse(destination)


def find_files(job: Job, source: Path | None, model: str) -> PreviewFiles:
    """The files of a preview of a job, whose source is None for standard input.  Raises UsageError and OutputError."""
    wanted = paths.find_destination(job, source, model)
    if wanted is None or job.preview is None:
        raise UsageError("a preview cannot be written to standard output", "Name a file or a folder with -o")
    still = source is not None and is_still(source) and not is_pattern(source)
    picture = mark(wanted, PICTURE)
    clip = None if still or job.preview.length is None else mark(wanted, CLIP)
    result = wanted.path
    if not still and not wanted.sequence and result.suffix.lower() in STILL_ENCODERS:  # it names the picture
        suffix = paths.default_suffix(source)
        numbered = None if source is None or not is_pattern(source) else source
        result = result.with_suffix(suffix) if numbered is None else result.with_name(f"{numbered.stem}{suffix}")
    return PreviewFiles(picture, clip, result.name)


def mark(result: Destination, suffix: str) -> Destination:
    """A preview's file beside a result."""
    numbered = PATTERN.search(result.path.stem) is not None
    stem = sequence_stem(result.path) if numbered else result.path.stem.lstrip(".")
    path = result.path.with_name(f"{stem.removesuffix(PREVIEW_MARK)}{PREVIEW_MARK}{suffix}")
    paths.check_name(path)
    return replace(result, path=paths.follow_link(path), sequence=False)
