"""Sources of progressive and interlaced pictures: whether those that begin with the first have others later on."""

from __future__ import annotations

from vrx.errors import InputError
from vrx.media.decoder import FrameDecoder
from vrx.media.fields import FieldOrder, find_field_order
from vrx.media.probe import SourceInfo, open_input
from vrx.media.video_stream import pick_video

INTERLACED_CODECS = {"dvvideo", "dnxhd", "ffv1", "h264", "mjpeg", "mpeg2video", "mpeg4", "prores", "vc1"}
MOST_ROWS = 1088  # of interlaced video
PLACES = 12  # key frames that are looked at


def find_later_fields(info: SourceInfo) -> FieldOrder | None:
    """The field order of the first of some key frames across a source that is flagged as interlaced; None for none."""
    video, duration = info.video, info.video.duration or info.duration
    if info.still or not duration or video.codec not in INTERLACED_CODECS or video.size[1] > MOST_ROWS:
        return None
    try:
        with open_input(info.path, info.name) as container:
            decoder = FrameDecoder(container, pick_video(container, info.name, video.index), info.name)
            for place in range(1, PLACES + 1):
                picture = decoder.key_frame((video.start or 0) + duration * place / (PLACES + 1))
                order = None if picture is None else find_field_order(picture)
                if order is not None:
                    return order
    except InputError:  # reported where it is read
        return None
    return None
