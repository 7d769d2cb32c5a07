"""Packets of an open source on a continuous clock."""

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

from vrx.media.clock_scan import FREE_RUNNING, TICK, ClockScan, Timeline, TimestampShifts, plausible_pts
from vrx.media.probe import VideoInfo, describe_video, open_input

MAX_DAMAGED = 10_000  # packets that cannot be read, after which a source is taken to have ended


def scan_timeline(source: Path, name: str, video: VideoInfo) -> Timeline:
    """The timeline of a source with a free-running clock, from all its packets.  Raises InputError."""
    with open_input(source, name) as container:
        scan = ClockScan({s.index: s.type for s in container.streams}, video.index, video.rate)
        scales = {s.index: simplify((s.time_base or TICK) / TICK) for s in container.streams}
        keys = {}
        for packet in iter_packets(container):
            scale = scales[packet.stream_index]
            dts, pts = (None if t is None else round(t * scale) for t in (packet.dts, packet.pts))
            scan.add(packet.stream_index, dts, pts, round((packet.duration or 0) * scale), packet.pos)
            if packet.stream_index == video.index and packet.is_keyframe and packet.pts is not None:
                keys[packet.pts] = packet.size
        return replace(scan.timeline(), keys=keys)


def find_shifts(source: Path, container: InputContainer, stream: VideoStream) -> TimestampShifts | None:
    """How the pictures of an open source move to its continuous clock; None where its own is one."""
    if container.format.name not in FREE_RUNNING:
        return None
    timeline = scan_timeline(source, str(source), describe_video(stream, str(source), source))
    return None if timeline.is_continuous else timeline.shifts[stream.index]


def simplify(scale: Fraction) -> Fraction | int:
    """A factor as an integer where it is one: much faster, and all of MPEG's are."""
    return scale.numerator if scale.denominator == 1 else scale


def iter_packets(container: InputContainer, timeline: Timeline | None = None) -> Iterator[Packet[Stream]]:
    """Packets of all streams in the file's order, moved to the continuous clock where a timeline is given.

    Skips damaged packets, and sound that would overlap that of the next part.
    """
    counts: dict[int, int] = defaultdict(int)
    damaged = 0
    packets = container.demux()
    while damaged < MAX_DAMAGED:
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
        if timeline is None or shift_packet(
            packet, timeline.shifts.get(packet.stream_index, TimestampShifts()), number
        ):
            yield packet


def shift_packet(packet: Packet[Any], shifts: TimestampShifts, number: int) -> bool:
    """Put packet `number` of its stream on the continuous clock; false where the next part takes its place."""
    shift, end = shifts.at(number)
    scale = packet.time_base / TICK
    by = round(shift / scale)
    pts = plausible_pts(packet.dts, packet.pts, round(shifts.reach / scale))
    packet.pts = None if pts is None else pts + by
    packet.dts = None if packet.dts is None else packet.dts + by
    middle = None if packet.pts is None else packet.pts + (packet.duration or 0) // 2
    return end is None or middle is None or middle * scale <= end
