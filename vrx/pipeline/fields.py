"""Fields of interlaced video: whether frames are deinterlaced, and whether a result has fields of its own."""

from __future__ import annotations

from vrx.events import Note, Notify
from vrx.media import encoders
from vrx.media.deinterlace import Deinterlace
from vrx.media.encoders import EncoderSpec
from vrx.media.fields import FieldOrder
from vrx.media.frame import Layout
from vrx.media.orientation import UPRIGHT
from vrx.media.read import Reader
from vrx.settings import Job, SelectionSettings, Task

AS_FRAMES = "tagged as progressive, as players would show its frames; to deinterlace: --deinterlace on"


def deinterlacing(selection: SelectionSettings, task: Task) -> Deinterlace:
    """How frames are deinterlaced for a task: never to inpaint, unless that is asked for, as what is known stays."""
    which = Deinterlace(selection.deinterlace)
    return Deinterlace.OFF if task is Task.INPAINT and which is Deinterlace.AUTO else which


def preserved_fields(job: Job, reader: Reader, size: tuple[int, int]) -> FieldOrder | None:
    """The order of the fields that a result of `size` has: those of an interlaced source whose rows stay as they are.

    Of a source of both kinds that of its first interlaced picture: what is tagged progressive is shown with combing.
    None where there are none, or where they are mixed, as resizing and turning do.
    """
    if deinterlacing(job.selection, job.restore.task) is not Deinterlace.OFF:
        return None
    order = reader.info.video.interlaced or reader.later_fields
    return FieldOrder(order) if order and size == reader.size and reader.applied_orientation == UPRIGHT else None


def choose_fields(
    job: Job, reader: Reader, form: tuple[EncoderSpec, Layout, tuple[int, int]], notify: Notify
) -> FieldOrder | None:
    """The order of the fields as it is tagged, of a result in a form (encoder, layout, size); None is progressive.

    Warns where an interlaced source loses its fields, and where the encoder cannot tag those that there are.
    """
    rule, layout, size = form
    stays = deinterlacing(job.selection, job.restore.task) is Deinterlace.OFF
    if (
        not stays
        or not (reader.info.video.interlaced or reader.later_fields)
        or rule.name in encoders.STILL_ENCODERS.values()
    ):
        return None
    order = preserved_fields(job, reader, size)
    reason = "resizing or turning mixes the fields of its frames"
    if order is not None:
        reason = encoders.interlacing_trouble(rule, layout, size)
    if not reason:
        return order
    text = f"{job.source}: source is interlaced, and {reason}; the result is {AS_FRAMES}"
    notify(Note("interlaced", text, {"deinterlaced": False}, "warning"))
    return None
