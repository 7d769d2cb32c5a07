"""The masks of a job: as the source is shown, and begun where the chosen part begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import ceil, floor
from pathlib import Path

import numpy as np

from vrx.errors import UsageError
from vrx.events import Note, Notify
from vrx.geometry import Box, TimeRange
from vrx.media.masks import Mask, MaskTrack
from vrx.media.orientation import Orientation
from vrx.media.read import Reader
from vrx.media.window import Window
from vrx.pipeline.mask_growth import Growth
from vrx.pipeline.output import expected_frames
from vrx.pipeline.own_mask import own_mask
from vrx.settings import Job, SelectionSettings, format_time

UNGROWN = Growth(0)


class JobMask:
    """What is filled at a time: a mask's white, and boxes.  A context manager; times must not go back.

    Masks and boxes are of the complete picture, what is given of the part in the `window`.
    """

    def __init__(
        self,
        track: MaskTrack | None,
        boxes: Sequence[tuple[Box, Mask]],
        window: Window,
        stretch: TimeRange | None = None,
        growth: Growth = UNGROWN,
    ) -> None:
        self._track, self._stretch, self._growth = track, stretch or TimeRange(), growth
        self._empty = np.zeros(window.size[::-1], bool)
        self._latest, self._window = self._empty, window
        self._grown = window.cut_mask(self._empty)
        self._boxes = [(box, window.cut_mask(mask)) for box, mask in boxes]

    def __enter__(self) -> JobMask:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._track is not None:
            self._track.__exit__(*exc)

    def skip(self, frames: int) -> None:
        """Begin after the first frames: masks that come one a frame are skipped; call before `at`."""
        if self._track is not None and self._track.count is not None:
            self._track.skip(frames)

    def at(self, time: Fraction) -> Mask:
        """The mask [H, W] of the stored pixels at a time of the video."""
        found = self._empty if self._track is None else self._track.at(time)
        if not self._stretch.holds(time):
            found = self._empty
        if found is not self._latest:  # the same one for many frames, or for all
            self._latest, self._grown = found, self._window.cut_mask(self._growth.apply(found))
        found = self._grown
        for box, mask in self._boxes:
            found = found | mask if box.holds(time) else found
        return found


def open_masks(job: Job, reader: Reader, notify: Notify, complete: SelectionSettings | None = None) -> JobMask | None:
    """All that a job masks of an open source; None for nothing.  Raises UsageError and InputError.

    `complete` is the selection that a folder of masks belongs to, where the job's is a part of it.
    """
    restore = job.restore
    if restore.mask is None and not restore.boxes:
        return None
    margin = Growth.of(restore.dilate, reader.layout)
    boxes = [(box, margin.apply(draw_box(box, reader.window.size, reader.orientation))) for box in restore.boxes]
    track = None
    if restore.mask is not None:
        track = open_mask(replace(job, selection=complete or job.selection), reader, restore.mask, notify)
        if complete is not None and track.count is not None:
            seconds = (job.selection.start or Fraction(0)) - (complete.start or Fraction(0))
            track.skip(ceil(seconds * reader.info.video.rate))
    if complete is None:
        warn_late(job, reader, notify)
    growth = Growth.of(restore.dilate, reader.layout, track is not None and track.has_margin)
    check_part([("a --box", mask) for _, mask in boxes], reader.window, notify)
    if track is not None and track.static and not reader.window.is_all:
        check_part([(f"the mask {track.name}", growth.apply(track.at(reader.origin)))], reader.window, notify)
    return JobMask(track, boxes, reader.window, restore.mask_time, growth)


def check_part(masks: Sequence[tuple[str, Mask]], window: Window, notify: Notify) -> None:
    """Warn where none of some masks of the complete picture, with their names, marks anything of a part of it.

    Raises UsageError for one that marks all of the part.
    """
    parts = [(name, window.cut_mask(mask)) for name, mask in masks]
    for name, part in parts:
        if part.all():
            raise UsageError(f"{name} covers all that is restored: there would be nothing to fill from")
    if parts and not window.is_all and not any(part.any() for _, part in parts):
        name = parts[0][0] if len(parts) == 1 else "every --box"
        notify(Note("empty-mask", f"{name} lies outside of what is cropped: it fills nothing", level="warning"))


def warn_late(job: Job, reader: Reader, notify: Notify) -> None:
    """Warn of a mask and of boxes that begin when the video has ended."""
    info, restore = reader.info_on_timeline(), job.restore
    length = Fraction(0) if info.still else info.video.duration or info.duration
    options = [("--mask", restore.mask_time), *(("--box", TimeRange(box.start, box.end)) for box in restore.boxes)]
    for option, stretch in options:
        begin = None if stretch is None else stretch.start
        if begin and length is not None and begin >= length:
            times = f"begins at {format_time(begin)}, and the video ends at {format_time(length)}"
            notify(Note("empty-mask", f"a {option} {times}: it fills nothing", level="warning"))


def draw_box(box: Box, stored: tuple[int, int], orientation: Orientation) -> Mask:
    """A box of the displayed picture as a mask of the stored pixels; every pixel that it touches.

    Raises UsageError for one that lies outside, or hides everything.
    """
    width, height = orientation.size(stored)
    left, right = cover(box.left.pixels(width), box.width.pixels(width), width)
    top, bottom = cover(box.top.pixels(height), box.height.pixels(height), height)
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = True
    if not mask.any():
        raise UsageError("a --box lies outside of the picture", f"The video is displayed at {width}x{height}")
    if mask.all():
        raise UsageError("a --box covers the complete picture: there would be nothing to fill from")
    return orientation.inverse.turn(mask)


def cover(start: float, length: float, side: int) -> tuple[int, int]:
    """The pixels from where to before where, within a side, that a length touches."""
    return min(floor(start), side), min(ceil(start + length), side)


def open_mask(job: Job, reader: Reader, path: Path, notify: Notify) -> MaskTrack:
    """The mask at `path` for an open source, whose pixels have been turned where they are to be.

    Of a folder it is the one named after the source.  Where there is none, the folder has one a frame, for those before
    the chosen part too, or it begins with that: what its number is nearer to decides.  `notify` gets which, and a
    warning where there are too few.
    """
    track = MaskTrack(own_mask(path, job.source), reader.window.size, notify, reader.orientation)
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
