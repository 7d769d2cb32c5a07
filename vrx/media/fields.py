"""Fields of interlaced pictures: which of the two is shown first."""

from __future__ import annotations

from enum import StrEnum

import av.error
from av.video.frame import VideoFrame

from vrx.media.field_filters import make_graph


class FieldOrder(StrEnum):
    """The field that is shown first, by ffmpeg's names: of even or of odd rows."""

    TOP = "tff"
    BOTTOM = "bff"


def find_field_order(picture: VideoFrame) -> FieldOrder | None:
    """The order of a picture's fields as it is flagged; None where it is not interlaced.

    PyAV does not show that flag, but ffmpeg's filters heed it: pictures with the top field first pass this one.
    """
    if not picture.interlaced_frame:
        return None
    graph = make_graph(picture, [("select", "eq(interlace_type,TOPFIRST)")])
    graph.vpush(picture)
    graph.vpush(None)
    try:
        graph.vpull()
    except (av.error.BlockingIOError, av.error.EOFError):
        return FieldOrder.BOTTOM
    return FieldOrder.TOP
