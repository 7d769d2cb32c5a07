"""A page about a run: its source beside its result, read as the run read it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vrx.errors import UsageError
from vrx.events import Note, Noted, Watcher
from vrx.media.file_types import is_pattern
from vrx.media.read import Span
from vrx.pipeline.compare import run
from vrx.pipeline.compare.page import build
from vrx.pipeline.compare.run import Reading
from vrx.pipeline.fields import deinterlacing
from vrx.pipeline.session import resolve_crop, select_span
from vrx.settings import Job

OPTION = "--html"
NAMES = ("source", "result")


def check(jobs: Sequence[Job], page: Path) -> None:
    """Refuse, before any work, a page that cannot be made of a run.  Raises UsageError and OutputError."""
    if len(jobs) != 1:
        raise UsageError(
            f"{OPTION} is for one input", "Name one, or compare later: vrx compare SOURCE RESULT --html FILE"
        )
    (job,) = jobs
    if job.preview is not None:
        raise UsageError(f"{OPTION} is for runs, and this is a preview", "Remove it")
    if "-" in (job.source, job.output.path):
        raise UsageError(f"{OPTION} and pipes are mutually exclusive", "Name the input, and the result with -o")
    replaced = job.output.overwrite or job.output.skip_existing
    build.check_path(page, [Path(job.source)], replaced)


def write(job: Job, result: Path, page: Path, command: str, watch: Watcher) -> None:
    """Compare the source of a job with its result, and write the page.  Raises InputError and OutputError."""
    wanted = resolve_crop(job.selection, Path(job.source))
    shown = Span(fps=wanted.fps if is_pattern(result) else None)
    readings = (Reading(select_span(wanted), deinterlacing(wanted, job.restore.task)), Reading(shown))
    found = run.compare([Path(job.source), result], False, watch=watch, readings=readings)
    for note in found.notes:
        watch(Noted.of(job.source, note))
    build.write(found, page, NAMES, command)
    watch(Noted.of(job.source, Note("page-written", f"wrote {page}", {"page": str(page)})))
