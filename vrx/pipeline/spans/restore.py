"""Restoring one span: from its frames in the source to an encoded segment."""

from __future__ import annotations

import logging
import secrets
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

from vrx.errors import VrxError, resource_errors
from vrx.events import Watcher
from vrx.media.segments import Segment, segment_target
from vrx.media.signals import defer_signals
from vrx.media.write import Writer
from vrx.models.base import SceneStart
from vrx.pipeline.devices import limit_threads
from vrx.pipeline.executor import StreamState
from vrx.pipeline.fallback import Fallback
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.progress import Progress
from vrx.pipeline.run import Attempt
from vrx.pipeline.spans.part import PartSession, SpanWork
from vrx.pipeline.spans.span import Span, WrongFramesError

logger = logging.getLogger(__name__)


def restore_span(work: SpanWork, folder: Path, pool: ModelPool, watch: Watcher) -> Segment:
    """Restore a span, and encode it into a new file of `folder` that no other attempt has the name of.

    Raises VrxError; then there is no file.  Where a seek led to other frames than those the span was found with, it
    is read again from the source's first frame.
    """
    try:
        return restore_read(work, folder, pool, watch, from_start=False)
    except WrongFramesError as error:
        logger.debug("%s; reading from the start", error)
        return restore_read(work, folder, pool, watch, from_start=True)


def restore_read(work: SpanWork, folder: Path, pool: ModelPool, watch: Watcher, *, from_start: bool) -> Segment:
    """Restore a span that is read from its beginning, or from the source's start."""
    span = work.span
    with resource_errors(), PartSession(work, watch, pool, from_start) as session, ExitStack() as stack:
        session.open()
        stack.enter_context(limit_threads(work.job.model.threads))
        fallback = Fallback(session, before(span))
        with defer_signals():  # else an encoder that was just started could not be stopped
            writer = Writer(segment_target(work.target, new_path(span, folder, work.target.path), span.begin))
            stack.enter_context(writer)
        attempt = Attempt(session, fallback, writer, Progress(session, writer, perf_counter()))
        while (error := attempt.run()) is not None:
            fallback.advance(error)
        if writer.frames != span.frames:
            raise VrxError(f"internal error: {writer.frames} of {span.frames} frames of {work.job.source}, {span}")
        writer.finish()
        assert writer.target.path is not None
        return Segment(writer.target.path, writer.frames, span.begin)


def before(span: Span) -> StreamState:
    """Where the stream of a span begins: its first frame begins the scene after this one."""
    return StreamState(SceneStart(span.scene - 1, (0, 0), (0, 0)), 0, 0)


def new_path(span: Span, folder: Path, result: Path | None) -> Path:
    """An unused name for the segment of a span."""
    assert result is not None
    return folder / f"{span.number:06d}-{secrets.token_hex(4)}{result.suffix.lower()}"
