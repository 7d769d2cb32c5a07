"""The frames of an open job as the stages take them: with their scene boundaries and masks."""

from __future__ import annotations

from collections.abc import Iterator

from vrx.media.file_types import is_pattern
from vrx.pipeline.chunking import MaskedFrame
from vrx.pipeline.session import Session
from vrx.scenes.detect import CUT_THRESHOLD, SceneFrame, apply_cuts, detect_cuts


def iter_masked_frames(session: Session, first: int = 0) -> Iterator[MaskedFrame]:
    """Frames from number `first` on; those before it are read too, as cuts are found by looking at all frames."""
    for number, item in enumerate(find_boundaries(session)):
        mask = None
        if session.mask is not None:
            mask = session.mask.at(item.frame.time - session.reader.origin)
        if number >= first:
            yield MaskedFrame(item.frame, mask, item.boundary)


def find_boundaries(session: Session) -> Iterator[SceneFrame]:
    """Frames with their scene boundaries, found or given; a single picture has none."""
    if session.boundaries is not None:
        return session.boundaries()
    frames = session.trace.each("decode a frame", session.reader.frames())
    threshold = session.job.selection.scene_threshold
    if session.reader.info.still and not is_pattern(session.source):
        return apply_cuts(frames, frozenset())
    if session.cuts is not None:
        return apply_cuts(frames, session.cuts)
    return detect_cuts(frames, CUT_THRESHOLD if threshold is None else threshold)
