"""What decoded pictures bring along beside their pixels, as far as PyAV can be asked for it safely."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, cast

import av.filter
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame

TICK = Fraction(1, 25)  # seconds; a filter wants a time base and this one does not use it
KNOWN = {kind.value for kind in Type} - {Type.ICC_PROFILE.value}  # a profile's name would be freed twice
UNREADABLE = sorted(set(range(40)) - KNOWN)  # FFmpeg 8 has 32 kinds; PyAV raises for those it does not know


def side_data(picture: VideoFrame) -> dict[str, bytes]:
    """Side data by PyAV's names of the kinds, without color profiles and kinds that PyAV does not know.

    PyAV makes objects of all kinds at once, stumbles over unknown ones (a photograph's EXIF data among
    them) and crashes later over the profiles of PNG pictures; so FFmpeg takes those away first.
    """
    graph = av.filter.Graph()
    last = graph.add_buffer(width=picture.width, height=picture.height, format=picture.format, time_base=TICK)
    for kind in UNREADABLE:
        deletion = graph.add("sidedata", f"mode=delete:type={kind}")
        last.link_to(deletion)
        last = deletion
    last.link_to(graph.add("buffersink"))
    graph.configure()
    graph.vpush(picture)
    return {data.type.name: bytes(data) for data in cast(Any, graph.vpull()).side_data}
