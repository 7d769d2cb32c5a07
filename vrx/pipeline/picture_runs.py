"""Numbered pictures among files: which of them are the frames of one video."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from vrx.errors import InputError, UsageError
from vrx.media.file_types import HEIF_CONTAINERS, is_still, sequence_members
from vrx.media.image_sequence import read_header

NUMBER = re.compile(r"(\d+)")  # splits a name so that every other part is a number
LEAST_RUN = 10  # pictures that are pointed out as frames of a video: fewer are likely to be just pictures
SAMPLES = 5  # pictures of a run whose sizes are compared
LISTED = 3  # patterns in a line about several


@dataclass(frozen=True)
class PictureRun:
    """Pictures whose names differ in one number only, in its order, and the pattern (`f_%04d.png`) that names them."""

    pattern: Path
    numbers: tuple[int, ...]
    members: tuple[Path, ...]

    @property
    def complete(self) -> bool:
        """Whether each number is there once."""
        return all(after == before + 1 for before, after in pairwise(self.numbers))

    def looks_like_frames(self) -> bool:
        """Whether they are as the frames of a video are: many, none missing, all of one size as far as looked at."""
        if len(self.members) < LEAST_RUN or not self.complete:
            return False
        step = (len(self.members) - 1) // (SAMPLES - 1)
        try:
            return len({read_header(path).display_size for path in self.members[::step]}) == 1
        except InputError:  # reported where it is read
            return False


def find_runs(paths: Iterable[Path]) -> list[PictureRun]:
    """The runs of two and more pictures among some files; a run's number is the last one that differs."""
    alike: dict[tuple[str, ...], list[tuple[Path, list[str]]]] = {}
    for path in dict.fromkeys(paths):
        parts = NUMBER.split(path.name)
        if is_still(path) and path.suffix.lower() not in HEIF_CONTAINERS and len(parts) > 1 and "%" not in path.name:
            alike.setdefault((str(path.parent), *parts[::2]), []).append((path, parts))
    return [run for files in alike.values() for run in split_runs(files)]


def split_runs(files: Sequence[tuple[Path, list[str]]]) -> list[PictureRun]:
    """The runs among files of one folder whose names are alike but for numbers, each with its name's parts."""
    places = [place for place in range(1, len(files[0][1]), 2) if len({parts[place] for _, parts in files}) > 1]
    if not places:
        return []
    place = places[-1]
    runs: dict[tuple[str, ...], list[tuple[int, str, Path]]] = {}
    for path, parts in files:
        key = (*parts[:place], *parts[place + 1 :])
        runs.setdefault(key, []).append((int(parts[place]), parts[place], path))
    found = []
    for key, members in runs.items():
        if len(members) < 2:
            continue
        members.sort()
        padded = any(digits.startswith("0") and len(digits) > 1 for _, digits, _ in members)
        digits = f"%0{min(len(digits) for _, digits, _ in members)}d" if padded else "%d"
        name = "".join((*key[:place], digits, *key[place:]))
        numbers, paths = tuple(m[0] for m in members), tuple(m[2] for m in members)
        found.append(PictureRun(members[0][2].with_name(name), numbers, paths))
    return found


def join_runs(sources: Sequence[str]) -> Mapping[str, str]:
    """By source what is read in its place where runs of pictures are videos: for each of a run, its pattern.

    Raises UsageError where only a part of a run's pictures is among the sources.
    """
    joined: dict[str, str] = {}
    for run in find_runs(map(Path, sources)):
        there = sequence_members(run.pattern)
        if len(there) > len(run.members):
            raise UsageError(
                f"{len(run.members)} of the {len(there)} pictures {run.pattern} are named",
                "For a part of a sequence name all of it, and add --start and --frames",
            )
        joined |= dict.fromkeys(map(str, run.members), str(run.pattern))
    return {source: joined.get(str(Path(source)), source) for source in sources}


def find_only_run(folder: str, files: Iterable[Path]) -> PictureRun:
    """The run of numbered pictures among the files of a folder.  Raises InputError where there is none, or several."""
    runs = find_runs(files)
    if not runs:
        raise InputError(f"cannot read {folder}: it is a folder without numbered pictures", "Name a file in it")
    if len(runs) > 1:
        patterns = ", ".join(sorted(str(run.pattern) for run in runs)[:LISTED])
        raise InputError(f"cannot read {folder}: it holds {len(runs)} numbered sequences", f"Name one: {patterns}")
    return runs[0]
