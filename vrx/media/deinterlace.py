"""Deinterlacing, frame for frame, with ffmpeg's motion-adaptive bwdif filter."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from enum import StrEnum
from fractions import Fraction
from itertools import chain

import av.error
import av.filter
from av.video.frame import VideoFrame

TICK = Fraction(1, 25)  # nominal seconds between frames: the filter uses only their order


class Deinterlace(StrEnum):
    """Which frames are deinterlaced: none, those flagged as interlaced, or all."""

    OFF = "off"
    AUTO = "auto"
    ON = "on"


def deinterlace(pictures: Iterable[VideoFrame], which: Deinterlace) -> Iterator[VideoFrame]:
    """Deinterlaced frames, as many and with the same times; all must have one size, as the filter requires.

    Frames before the first interlaced one pass unchanged; from there on all go through the filter, which
    looks one frame ahead and passes unflagged ones unchanged unless `which` is ON.
    """
    source = iter(pictures)
    for picture in source:
        if which is Deinterlace.ON or (which is Deinterlace.AUTO and picture.interlaced_frame):
            yield from apply_bwdif(chain([picture], source), picture, which)
            return
        yield picture


def apply_bwdif(pictures: Iterable[VideoFrame], like: VideoFrame, which: Deinterlace) -> Iterator[VideoFrame]:
    """Filter all frames with one graph configured for frames `like` this one."""
    graph = av.filter.Graph()
    entry = graph.add_buffer(width=like.width, height=like.height, format=like.format, time_base=TICK)
    meant = "all" if which is Deinterlace.ON else "interlaced"
    bwdif = graph.add("bwdif", f"mode=send_frame:parity=auto:deint={meant}")
    entry.link_to(bwdif)
    bwdif.link_to(graph.add("buffersink"))
    graph.configure()
    times: deque[int | None] = deque()

    def ready() -> Iterator[VideoFrame]:
        while True:
            try:
                done = graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            done.pts = times.popleft()
            yield done

    for number, picture in enumerate(pictures):
        times.append(picture.pts)
        picture = picture.reformat(format=like.format.name)  # itself where nothing changes
        picture.pts, picture.time_base = number, TICK
        graph.vpush(picture)
        yield from ready()
    graph.vpush(None)
    yield from ready()
