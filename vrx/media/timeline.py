"""The packets of an open source on its continuous clock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av.error
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from vrx.media.probe import VideoInfo, opened, video_info
from vrx.media.timing import FREE_RUNNING, TICK, ClockScan, Moves, Timeline, believed

DAMAGED = 10_000  # packets that cannot be read, after which a source is taken to have ended


def timeline_of(source: Path, name: str, video: VideoInfo) -> Timeline:
    """Read all packets of a source whose clock runs freely, without decoding them.  Raises InputError."""
    with opened(source, name) as container:
        scan = ClockScan({s.index: s.type for s in container.streams}, video.index, video.rate)
        scales = {s.index: whole((s.time_base or TICK) / TICK) for s in container.streams}
        keys = {}
        for packet in packets_of(container):
            scale = scales[packet.stream_index]
            dts, pts = (None if t is None else round(t * scale) for t in (packet.dts, packet.pts))
            scan.add(packet.stream_index, dts, pts, round((packet.duration or 0) * scale), packet.pos)
            if packet.stream_index == video.index and packet.is_keyframe and packet.pts is not None:
                keys[packet.pts] = packet.size
        return replace(scan.timeline(), keys=keys)


def moves_in(source: Path, container: InputContainer, stream: VideoStream) -> Moves | None:
    """How the pictures of an open source move to its continuous clock; None where its own is one."""
    if container.format.name not in FREE_RUNNING:
        return None
    timeline = timeline_of(source, str(source), video_info(stream, str(source), source))
    return None if timeline.plain else timeline.moves[stream.index]


def whole(scale: Fraction) -> Fraction | int:
    """A factor as an integer where it is one: much faster, and all of MPEG's are."""
    return scale.numerator if scale.denominator == 1 else scale


def packets_of(container: InputContainer, timeline: Timeline | None = None) -> Iterator[Packet[Stream]]:
    """Packets of all streams in the file's order, moved to the continuous clock where a timeline is given.

    Damaged ones are left out, and sound that would overlap that of the next part.
    """
    counts: dict[int, int] = defaultdict(int)
    damaged = 0
    packets = container.demux()
    while damaged < DAMAGED:
        try:
            packet = next(packets)
        except (StopIteration, EOFError):
            return
        except av.error.InvalidDataError:
            damaged += 1
            continue
        if not packet.size:
            continue
        number = counts[packet.stream_index]
        counts[packet.stream_index] += 1
        if timeline is None or moved(packet, timeline.moves.get(packet.stream_index, Moves()), number):
            yield packet


def moved(packet: Packet[Any], moves: Moves, number: int) -> bool:
    """Put packet `number` of its stream on the continuous clock; false where the next part takes its place."""
    shift, end = moves.at(number)
    scale = packet.time_base / TICK
    by = round(shift / scale)
    pts = believed(packet.dts, packet.pts, round(moves.reach / scale))
    packet.pts = None if pts is None else pts + by
    packet.dts = None if packet.dts is None else packet.dts + by
    middle = None if packet.pts is None else packet.pts + (packet.duration or 0) // 2
    return end is None or middle is None or middle * scale <= end
