"""Existing results: replaced, refused, skipped, or recognized as finished by an earlier run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from vrx.errors import ExistsError
from vrx.events import Note
from vrx.pipeline import paths
from vrx.pipeline.resume import published
from vrx.pipeline.resume.fingerprint import fingerprint_of
from vrx.pipeline.resume.journal import Fingerprint
from vrx.pipeline.resume.published import Publication
from vrx.pipeline.resume.workspace import claim
from vrx.pipeline.session import Session

logger = logging.getLogger(__name__)


class Action(StrEnum):
    """What a run does about its result: a file of that name may exist."""

    WRITE = "write"
    REPLACE = "replace"
    SKIP = "skip"
    REFUSE = "refuse"


def fingerprint_of_run(session: Session) -> Fingerprint:
    """The usual fingerprint of an open session.  Raises ModelError."""
    return fingerprint_of(session, session.components().paths())


@dataclass(frozen=True)
class Existing:
    """A complete result that stays; `publication` where an earlier run of the same command made it."""

    publication: Publication | None = None


def open_unless_done(session: Session, marks: Callable[[Session], Fingerprint] = fingerprint_of_run) -> Existing | None:
    """Open the job, unless its result exists and stays.  Raises OutputError for one that must not be replaced.

    `marks`: what gives the fingerprint of the run, once it is open.
    """
    skip = session.job.output.skip_existing
    if skip and exists_unopened(session):
        return Existing()
    if session.job.source == "-":  # all of it is read before the rest can be known
        refuse_existing(session)
    session.open()
    if skip and is_complete(session):
        return Existing()
    publication = find_publication(session, marks)
    if publication is not None:
        return Existing(publication)
    refuse_existing(session)
    return None


def plan_action(session: Session) -> Action:
    """What a run of an open job would do about an existing result."""
    if session.destination is None or not session.destination.existing():
        return Action.WRITE
    if session.job.output.overwrite:
        return Action.REPLACE
    return Action.SKIP if session.job.output.skip_existing and is_complete(session) else Action.REFUSE


def exists_unopened(session: Session) -> bool:
    """Whether the result exists, as far as is known before the source is opened."""
    destination = session.destination
    if destination is None or destination.sequence:
        return False
    paths.check_kind(destination)
    return bool(destination.existing())


def is_complete(session: Session) -> bool:
    """Whether the result exists; of numbered pictures, all of them."""
    destination, frames = session.destination, session.frames
    if destination is None:
        return False
    count = len(destination.existing())
    return count > 0 and (not destination.sequence or (frames is not None and count >= frames))


def refuse_existing(session: Session) -> None:
    """Refuse to replace a result without --overwrite.  Raises OutputError."""
    if session.destination is not None and not session.job.output.overwrite:
        refuse(session.destination)


def refuse(destination: paths.Destination) -> None:
    """Refuse a destination that exists.  Raises OutputError."""
    found = destination.existing()
    if found:
        hint = "Replace it with -y, or skip existing results with -n"
        raise ExistsError(f"{found[0]} exists", "Replace the sequence with -y" if len(found) > 1 else hint)


def find_publication(
    session: Session, marks: Callable[[Session], Fingerprint] = fingerprint_of_run
) -> Publication | None:
    """The record of an earlier run of this command that finished the result and was killed before it cleaned up."""
    path = session.output
    found = None if path is None or not session.job.output.resume else published.find(path)
    if found is None:
        return None
    same = marks(session) == found.fingerprint
    logger.debug("%s was published by an earlier run; same command: %s", path, same)
    return found if same else None


def clean_up(session: Session) -> None:
    """Remove what a killed run left of a result that is complete."""
    result = session.output
    if result is None or (published.find(result) is None):
        return
    with claim(result) as workspace:
        text = f"{result}: already finished by an earlier run, which was stopped before it cleaned up"
        session.notify(Note("already-finished", text, {"output": str(result)}))
        if workspace is not None:
            workspace.discard()
    published.forget(result)
