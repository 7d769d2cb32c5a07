"""Interlaced pictures to whole ones, one for one, by ffmpeg's motion-adaptive bwdif."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from enum import StrEnum
from fractions import Fraction
from itertools import chain

import av.error
import av.filter
from av.video.frame import VideoFrame

TICK = Fraction(1, 25)  # seconds between pictures as the filter is told: it only needs their order


class Deinterlace(StrEnum):
    """Which pictures are deinterlaced: none, those that say they are interlaced, or all."""

    OFF = "off"
    AUTO = "auto"
    ON = "on"


def deinterlace(pictures: Iterable[VideoFrame], which: Deinterlace) -> Iterator[VideoFrame]:
    """The same number of pictures with the same times; all of one size, as the filter demands.

    Nothing is touched before the first picture that is meant; from there on all pass the filter, which
    looks one picture ahead and leaves unflagged ones as they are unless `which` is ALL.
    """
    source = iter(pictures)
    for picture in source:
        if which is Deinterlace.ON or (which is Deinterlace.AUTO and picture.interlaced_frame):
            yield from apply_bwdif(chain([picture], source), picture, which)
            return
        yield picture


def apply_bwdif(pictures: Iterable[VideoFrame], like: VideoFrame, which: Deinterlace) -> Iterator[VideoFrame]:
    """Everything through one filter made for pictures `like` this one."""
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
