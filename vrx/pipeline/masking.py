"""The mask of a job: as the source is shown, and begun where the chosen part begins."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from pathlib import Path

from vrx.events import Note, Notify
from vrx.media.masks import MaskTrack
from vrx.media.read import Reader
from vrx.pipeline.output import expected_frames
from vrx.settings import Job


def open_mask(job: Job, reader: Reader, path: Path, notify: Notify) -> MaskTrack:
    """The mask at `path` for an open source, whose pixels have been turned where they are to be.

    A folder may have masks for the frames before the chosen part too, or begin with it: what its number is
    nearer to decides.  `notify` gets which, and a warning where there are too few.
    """
    track = MaskTrack(path, reader.size, notify, reader.orientation)
    selection, video = job.selection, reader.info.video
    frames = expected_frames(reader.info_on_timeline(), selection)
    if track.count is None or frames is None:
        return track
    before = ceil((selection.start or Fraction(0)) * video.rate)
    if before and 2 * track.count > before + 2 * frames:
        track.skip(before)
        text = (
            f"the mask {path} has {track.count} pictures for the complete video: number {before + 1} is the first used"
        )
        notify(Note("mask-alignment", text, {"masks": track.count, "first": before + 1}, "warning"))
    elif before:
        text = f"the mask {path} has {track.count} pictures for the chosen part: number 1 is the first used"
        notify(Note("mask-alignment", text, {"masks": track.count, "first": 1}, "warning"))
    exact = reader.info.still or (selection.start is None and selection.end is None and bool(video.frames))
    if exact:
        track.check_count(frames)
    return track
