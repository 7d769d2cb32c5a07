"""Source of the copied streams: the input itself, or a remuxed file with a repaired clock.

ffmpeg copies them, and what it makes of a clock that restarts need not be what the pictures' clock makes of it.
So where the source's clock is not plain, or only a part of it is wanted, they are written on the continuous clock
into a temporary file first.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from vrx.errors import OutputError
from vrx.media.clock_scan import Timeline
from vrx.media.probe import SourceInfo, StreamInfo, open_input
from vrx.media.timeline import iter_packets

FORMATS = {"mpeg": "nut"}  # the source's own container holds its streams best; program streams are hard to write
OPTIONS = {"mpegts": {"mpegts_copyts": "1", "pes_payload_size": "0"}}  # one packet a time stamp, none of them moved
PLAIN_PCM = {"pcm_dvd": "pcm_s24le"}  # sound that only discs hold, and what holds all of it
LEAD_SECONDS = Fraction(1)  # seconds before the first packet: some containers have no times at zero or before
MIN_GAP = Fraction(1, 1000)  # seconds between two packets at least: finer than all clocks they are written with

Span = tuple[Fraction, Fraction | None]


@dataclass(frozen=True)
class StreamSource:
    """The file that other streams are copied from.

    `streams` as numbered there; `video` is the number of the restored one, None where it is not in the file.  All
    times there are `delay` seconds later than on the pictures' clock; `is_trimmed` where it holds only the span.
    `losses` are streams that could not be written, in words.
    """

    path: Path
    streams: tuple[StreamInfo, ...]
    video: int | None
    delay: Fraction = Fraction(0)
    is_trimmed: bool = False
    losses: tuple[str, ...] = ()


def use_source(info: SourceInfo, delay: Fraction = Fraction(0)) -> StreamSource:
    """The source itself."""
    others = tuple(stream for stream in info.streams if stream.index != info.video.index)
    return StreamSource(info.path, others, info.video.index, delay)


def remux(info: SourceInfo, timeline: Timeline, zero: Fraction, span: Span | None, folder: Path) -> StreamSource:
    """Write the other streams into `folder`: `zero` seconds of the timeline becomes zero, trimmed to `span`.

    Raises OutputError where the file cannot be written, InputError where the source cannot be read.
    """
    form = FORMATS.get(info.container, info.container)
    path = folder / f"companions.{form}"
    begin, end = span or (Fraction(0), None)
    others = [stream for stream in info.streams if stream.index != info.video.index]
    try:
        with (
            open_input(info.path, info.name) as source,
            av.open(str(path), "w", format=form, options=OPTIONS.get(form, {})) as box,
        ):
            sinks = open_sinks(source, box, {stream.index for stream in others})
            box.metadata.update(source.metadata)
            streams = tuple(
                replace(stream, index=place, codec=sinks[stream.index].codec)
                for place, stream in enumerate(s for s in others if s.index in sinks)
            )
            for packet in iter_packets(source, timeline):
                sink = sinks.get(packet.stream_index)
                if sink is not None and packet.pts is not None:
                    time = packet.pts * packet.time_base - zero
                    if time >= begin and (end is None or time < end):
                        sink.write(packet, LEAD_SECONDS - zero - begin)
            for sink in sinks.values():
                sink.flush()
    except (av.error.FFmpegError, OSError) as error:
        hint = "Set TMPDIR to a larger disk" if error.errno == errno.ENOSPC else "Use --no-audio to run without sound"
        raise OutputError(f"cannot copy the sound of {info.name} to {path}: {error.strerror}", hint) from error
    if not any(sink.has_packets for sink in sinks.values()):  # the source itself still has metadata
        return StreamSource(info.path, (), info.video.index, is_trimmed=True)
    losses = tuple(f"{s.kind} {s.index} ({s.codec})" for s in others if s.index not in sinks)
    return StreamSource(path, streams, None, LEAD_SECONDS, is_trimmed=True, losses=losses)


class Sink:
    """A stream being copied: times never go back, whatever the source's do.

    `transcode` turns a packet into what is written where it is not copied as it is, None at the end.
    """

    def __init__(
        self,
        stream: Stream,
        mux: Callable[[Packet[Any]], None],
        codec: str,
        transcode: Callable[[Packet[Any] | None], Iterable[Packet[Any]]] | None = None,
    ) -> None:
        self.codec = codec
        self._stream, self._mux, self._transcode = stream, mux, transcode
        self._last: int | None = None

    def write(self, packet: Packet[Any], later: Fraction) -> None:
        """Write a packet so many seconds later."""
        by = round(later / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts + by
        packet.dts = packet.pts if packet.dts is None else packet.dts + by
        for made in [packet] if self._transcode is None else self._transcode(packet):
            self._send(made)

    @property
    def has_packets(self) -> bool:
        """Whether any packet was written."""
        return self._last is not None

    def flush(self) -> None:
        """Write the frames that a conversion has buffered."""
        for made in self._transcode(None) if self._transcode is not None else ():
            self._send(made)

    def _send(self, packet: Packet[Any]) -> None:
        if packet.dts is None or packet.pts is None:
            return
        apart = max(1, round(MIN_GAP / packet.time_base))
        if self._last is not None and packet.dts < self._last + apart:
            packet.dts = self._last + apart
        packet.pts = max(packet.pts, packet.dts)
        self._last = packet.dts
        packet.stream = self._stream
        with contextlib.suppress(av.error.InvalidDataError):  # sound so damaged that no container takes it
            self._mux(packet)


def open_sinks(source: InputContainer, box: OutputContainer, wanted: Collection[int]) -> dict[int, Sink]:
    """A sink for every wanted stream that the file can hold, by index in the source."""
    sinks = {}
    for stream in source.streams:
        codec = stream.codec_context.name if stream.codec_context is not None else ""
        if stream.index not in wanted or not codec:
            continue
        if isinstance(stream, AudioStream) and codec in PLAIN_PCM and box.format.name == "nut":
            sinks[stream.index] = open_pcm_sink(stream, box, PLAIN_PCM[codec])
        elif box.format.name != "nut" or codec in box.supported_codecs:
            sinks[stream.index] = Sink(box.add_stream_from_template(stream, opaque=True), box.mux_one, codec)
    return sinks


def open_pcm_sink(source: AudioStream, box: OutputContainer, codec: str) -> Sink:
    """A sink that writes the same samples in a plain order."""
    made = box.add_stream(codec, rate=source.codec_context.sample_rate)
    assert isinstance(made, AudioStream)
    made.codec_context.layout = source.codec_context.layout

    def transcode(packet: Packet[Any] | None) -> Iterable[Packet[Any]]:
        if packet is None:
            return made.encode(None)
        return [out for frame in source.codec_context.decode(packet) for out in made.encode(frame)]

    return Sink(made, box.mux_one, codec, transcode)
