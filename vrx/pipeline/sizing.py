"""How large a result is, and by what the network enlarges on the way there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from vrx.errors import UsageError
from vrx.events import Note
from vrx.geometry import Size, even, fit
from vrx.media.orientation import UPRIGHT, Orientation
from vrx.settings import Job, RestoreSettings


def result_size(
    source: Size, restore: RestoreSettings, orientation: Orientation = UPRIGHT, aspect: Fraction = Fraction(0)
) -> Size:
    """The size of a result whose source is stored at `source` and shown under an orientation.

    `aspect` is the shape of a stored pixel, width by height, 0 where unknown.  Raises UsageError for a result that is
    smaller than the source.
    """
    shown = orientation.size(source)
    shape = square_shape(shown, orientation.aspect(aspect)) if restore.square else shown
    if restore.size is None:
        width, height = (
            side * restore.scale if side == length else even(length * restore.scale)
            for side, length in zip(shown, shape, strict=True)
        )
        return orientation.inverse.size((width, height))
    wanted = fit(shape, restore.size)
    if wanted[0] < shown[0] or wanted[1] < shown[1]:
        found, larger = f"{wanted[0]}x{wanted[1]}", f"{shown[0]}x{shown[1]}"
        raise UsageError(f"the result would be {found}, the video is {larger}", "Choose a larger size")
    return orientation.inverse.size(wanted)


def square_shape(shown: Size, aspect: Fraction) -> tuple[Fraction | int, Fraction | int]:
    """A shown size with square pixels in place of those of an aspect: the side grows that has too few."""
    width, height = shown
    if aspect > 1:
        return width * aspect, height
    return (width, height / aspect) if aspect else shown


def choose_scale(
    job: Job, source: Size, scales: Sequence[int], orientation: Orientation, aspect: Fraction = Fraction(0)
) -> Job:
    """The job with the scale at which the network comes nearest to its size: the smallest that reaches it."""
    restore = job.restore
    if restore.size is None or not scales:
        return job
    wanted = result_size(source, restore, orientation, aspect)
    ratio = max(wanted[0] / source[0], wanted[1] / source[1])
    scale = next((s for s in sorted(scales) if s >= ratio - 1e-6), max(scales))
    return replace(job, restore=replace(restore, scale=scale))


def size_note(source: Size, result: Size, restore: RestoreSettings) -> tuple[Note, ...]:
    """That frames are resized after the network, where they are."""
    enlarged = (source[0] * restore.scale, source[1] * restore.scale)
    if enlarged == result:
        return ()
    square = ", with square pixels" if restore.square else ""
    text = f"enlarged by {restore.scale}, then resized to {result[0]}x{result[1]}{square}"
    return (Note("result-resized", text, {"scale": restore.scale, "width": result[0], "height": result[1]}),)
