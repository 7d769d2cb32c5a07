"""ffmpeg's filters that work on fields, through a graph that counts pictures in place of their times."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from math import floor

import av.error
import av.filter
from av.video.frame import VideoFrame

TICK = Fraction(1, 30)  # seconds between pictures as the filters see them; any would do


def filter_pictures(
    pictures: Iterable[VideoFrame], filters: Sequence[tuple[str, str]], divisor: int, step: int
) -> Iterator[VideoFrame]:
    """What a chain of filters (name, arguments) makes of pictures of one size, in the format of the first.

    Their times increase.  A result's is counted in ticks `divisor` times as fine, and lies between those of the
    pictures around it; `step` ticks are what the last is shown for, unless it tells.
    """
    graph, times = None, PictureTimes(divisor)
    name = ""
    for picture in pictures:
        if graph is None:
            graph, name = make_graph(picture, filters), picture.format.name
        times.add(picture.pts or 0, picture.duration or step)
        picture = picture.reformat(format=name)  # itself where nothing changes
        picture.pts, picture.time_base = times.count - 1, TICK
        graph.vpush(picture)
        yield from pull(graph, times)
    if graph is not None:
        graph.vpush(None)
        yield from pull(graph, times)


def make_graph(like: VideoFrame, filters: Sequence[tuple[str, str]]) -> av.filter.Graph:
    """A configured chain of filters for pictures like one."""
    graph = av.filter.Graph()
    form = f"video_size={like.width}x{like.height}:pix_fmt={like.format.name}"
    last = graph.add("buffer", f"{form}:time_base={TICK}:frame_rate={1 / TICK}:pixel_aspect=1/1")
    for name, arguments in (*filters, ("buffersink", "")):
        following = graph.add(name, arguments) if arguments else graph.add(name)
        last.link_to(following)
        last = following
    graph.configure()
    return graph


def pull(graph: av.filter.Graph, times: PictureTimes) -> Iterator[VideoFrame]:
    """The results that are ready."""
    while True:
        try:
            done = graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        assert isinstance(done, VideoFrame)
        done.pts = times.at((done.pts or 0) * Fraction(done.time_base or TICK) / TICK)
        yield done


class PictureTimes:
    """The times of the pictures that went into a graph, for places that never go back."""

    def __init__(self, divisor: int) -> None:
        self._divisor = divisor
        self._times: deque[int] = deque()
        self._last = 1  # ticks that the latest is shown for
        self._place = Fraction(-1)  # of the latest result
        self.count = 0  # pictures added

    def add(self, time: int, duration: int) -> None:
        """Add the next picture, shown at `time` for `duration` ticks."""
        self._times.append(time)
        self._last = duration
        self.count += 1

    def at(self, place: Fraction) -> int:
        """The time of a place, in fine ticks: pictures from the first, and a part of the way on."""
        place = max(place, self._place + Fraction(1, self._divisor))  # a lone picture's second field comes without one
        self._place = place
        while self.count - len(self._times) < floor(place) and len(self._times) > 1:
            self._times.popleft()
        begin = self._times[0]
        end = self._times[1] if len(self._times) > 1 else begin + self._last
        way = place - (self.count - len(self._times))
        return begin * self._divisor + round((end - begin) * self._divisor * way)
