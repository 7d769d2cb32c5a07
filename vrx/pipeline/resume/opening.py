"""Opening the journal of an earlier run of the same command, and reporting whether it is continued."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from vrx.errors import StoppedError
from vrx.events import Note
from vrx.files import path_exists
from vrx.pipeline.resume import published
from vrx.pipeline.resume.fingerprint import fingerprint_of
from vrx.pipeline.resume.journal import Journal
from vrx.pipeline.resume.workspace import JOURNAL, claim, folder_of
from vrx.pipeline.resume.writer import SEGMENT_FRAMES, can_segment
from vrx.pipeline.session import Session

logger = logging.getLogger(__name__)


def open_journal(stack: ExitStack, session: Session, checkpoints: list[Path]) -> Journal | None:
    """The journal of a result that is written in segments, until `stack` closes; None for one written at once.

    Either way no other process may write the same result meanwhile.  Raises OutputError.
    """
    path = session.output
    if path is None:
        return None
    if not is_resumable(session):
        lock_result(stack, session, path)
        warn_of_deadline(session, path)
        return None
    journal = stack.enter_context(Journal(path, fingerprint_of(session, checkpoints)))
    published.forget(path)  # it is of another result
    stack.push(partial(report_saved_frames, session, journal))
    frames = journal.resume_point.frames
    logger.debug("%s: %d frames of an earlier run, differences: %s", path, frames, journal.differs)
    if journal.differs:
        differs = ", ".join(journal.differs)
        text = f"{path}: cannot resume (changed: {differs}); starting over"
        session.notify(Note("starting-over", text, {"changed": differs}, "warning"))
    elif frames:
        text = f"{path}: resuming after {frames} frames of an earlier run"
        session.notify(Note("resuming", text, {"frames": frames}))
    return journal


def is_resumable(session: Session) -> bool:
    """Whether a run writes its result in segments that a later run can continue.

    Short results are written at once, unless they are to stop at a deadline, or an earlier run of theirs was.
    """
    long = session.frames is None or session.frames > SEGMENT_FRAMES or session.deadline.moment is not None
    if not long and session.output is not None:
        long = path_exists(folder_of(session.output) / JOURNAL)
    return session.job.source != "-" and long and can_segment(session.target) and session.job.output.resume


def lock_result(stack: ExitStack, session: Session, path: Path) -> None:
    """Lock a result that is written at once, and drop an earlier run's segments with --no-resume."""
    workspace = stack.enter_context(claim(path))
    if workspace is None:
        return
    published.forget(path)  # it is of another result
    if workspace.has_segments() and not session.job.output.resume:
        workspace.discard()
        session.notify(Note("earlier-work-deleted", f"{path}: the unfinished work of an earlier run is deleted"))


def warn_of_deadline(session: Session, path: Path) -> None:
    """Say that a run which stops at the deadline will have to start again."""
    moment = session.deadline.moment
    if moment is not None:
        text = f"{path}: what is not complete at {moment:%H:%M} starts again, as it cannot be resumed"
        session.notify(Note("not-resumable", text, {"output": str(path)}, "warning"))


def report_saved_frames(session: Session, journal: Journal, kind: type[BaseException] | None, *_: object) -> None:
    """Report what a failed run leaves to the next; a stopped one reports it in its own event."""
    frames = 0 if kind is None or issubclass(kind, KeyboardInterrupt | StoppedError) else journal.count_saved_frames()
    if frames:
        text = f"{frames} frames saved; rerun the same command to resume"
        session.notify(Note("frames-saved", text, {"frames": frames}))
