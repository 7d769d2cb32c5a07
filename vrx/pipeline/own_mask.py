"""The mask of one of several inputs, in a folder that has one for each, named after it."""

from __future__ import annotations

from pathlib import Path

from vrx.errors import UsageError
from vrx.media.earlier_results import results_among_masks
from vrx.media.file_types import VIDEO_SUFFIXES, is_pattern, is_still
from vrx.media.masks import pictures_in
from vrx.pipeline.picture_runs import find_runs

MARKS = (".mask", "_mask", "-mask", "")  # behind the name of the input; vrx mask writes the first


def own_mask(path: Path, source: str) -> Path:
    """The file of a folder `path` that is named after a source; `path` itself where it has none, or is no folder.

    Of `clip.mp4` these are `clip.mask.mkv`, `clip_mask.png`, `clip.png` and the like.  A name without a mark is none
    where pictures are numbered so: these are the masks of a video's frames.  Raises UsageError for a single picture
    that none of several is named after.
    """
    if not path.is_dir() or source == "-" or is_pattern(Path(source)):
        return path
    pictures = pictures_in(path)
    is_picture = is_still(Path(source))
    frames = set() if is_picture else {member for run in find_runs(pictures) for member in run.members}
    videos = [p for p in sorted(path.iterdir()) if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file()]
    stem, itself = Path(source).stem, Path(source).resolve()
    named = {file.stem: file for file in (*videos, *pictures) if file not in frames and file.resolve() != itself}
    for mark in MARKS:
        if stem + mark in named:
            return named[stem + mark]
    if is_picture and len(pictures) - len(results_among_masks(pictures)) > 1:
        hint = f"Name it {stem}.png or {stem}.mask.png; for numbered pictures as one video add --sequence"
        raise UsageError(f"the mask folder {path} has no picture named after {Path(source).name}", hint)
    return path
