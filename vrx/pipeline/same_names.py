"""Inputs whose names differ in the suffix only, such as a.avi and a.mp4: their results get names that differ, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from vrx.events import Note
from vrx.pipeline.clashes import identity
from vrx.pipeline.paths import Destination
from vrx.settings import Job

LISTED = 3  # names in the note

Files = Sequence[Destination | None]


def name_apart(jobs: Sequence[Job], find_files: Callable[[Job], Files]) -> tuple[list[tuple[Job, Files]], Note | None]:
    """Jobs with the files that they write; a note where those of some keep the suffixes of their inputs.

    They do where several inputs would share a name otherwise.  The one whose result has the suffix of its input keeps
    the usual name.  Names that do not come from the inputs are left as they are.
    """
    found = [(job, find_files(job)) for job in jobs]
    rivals = find_rivals(found)
    renamed: list[str] = []
    changed = list(found)
    for number, others in rivals.items():
        job, files = found[number]
        name = Path(job.source).name
        if all(Path(found[other][0].source).name == name for other in others):
            continue  # of another folder
        if keeps_suffix(*found[number]) and not any(keeps_suffix(*found[other]) for other in others):
            continue
        job = replace(job, stem=name)
        after = find_files(job)
        if after != files:
            changed[number] = job, after
            renamed += [file.path.name for file in after[:1] if file is not None]
    if not renamed:
        return changed, None
    rest = len(renamed) - LISTED
    listed = ", ".join(renamed[:LISTED]) + (f" and {rest} more" if rest > 0 else "")
    text = f"inputs differ in their suffix only, so results are named with it: {listed}"
    return changed, Note("results-renamed", text, {"count": len(renamed)})


def find_rivals(found: Sequence[tuple[Job, Files]]) -> dict[int, set[int]]:
    """Numbers of jobs that write a file of the same name as others, with the numbers of those."""
    named: dict[tuple[object, ...], set[int]] = {}
    for number, (job, files) in enumerate(found):
        for file in files:
            if file is not None and job.source != "-":
                name = file.path.name.casefold()
                named.setdefault((*identity(file.path.parent), name), set()).add(number)
    rivals: dict[int, set[int]] = {}
    for group in named.values():
        for number in group if len(group) > 1 else ():
            rivals.setdefault(number, set()).update(group - {number})
    return dict(sorted(rivals.items()))


def keeps_suffix(job: Job, files: Files) -> bool:
    """Whether a job's result, the first of its files, has the suffix of its input."""
    return files[0] is not None and Path(job.source).suffix == files[0].path.suffix
