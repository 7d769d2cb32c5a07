"""Jobs and open sessions for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vrx import events
from vrx.events import Event
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.session import Session
from vrx.settings import Job, ModelSettings, OutputSettings, RestoreSettings, SelectionSettings, Task


def make_job(
    source: Path | str,
    output: Path | None = None,
    *,
    restore: RestoreSettings | None = None,
    selection: dict[str, Any] | None = None,
    **written: Any,
) -> Job:
    """A job of the embedded model on the CPU: upscaling by 2, unless `restore` is another task."""
    return Job(
        source=str(source),
        model=ModelSettings(device="cpu", dtype="fp32"),
        restore=restore or RestoreSettings(task=Task.UPSCALE, scale=2),
        selection=SelectionSettings(**(selection or {})),
        output=OutputSettings(path=None if output is None else str(output), **written),
    )


@contextmanager
def open_session(job: Job, heard: list[Event] | None = None) -> Iterator[Session]:
    """The open session of a job; its events go into `heard`."""
    watch = events.ignore if heard is None else heard.append
    with Session(job, watch, ModelPool()) as session:
        session.open()
        yield session


def notes(heard: list[Event]) -> dict[str, events.Noted]:
    """Notes by their code."""
    return {event.code: event for event in heard if isinstance(event, events.Noted)}
