"""Video decoder: the frames of a stream in display order, with seeking."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from fractions import Fraction
from functools import partial
from itertools import chain
from typing import TypeVar

import av.error
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vrx.media.alpha import alpha_decoder
from vrx.media.clock_scan import TimestampShifts
from vrx.media.hardware import CheckedDecoder, device_decoder
from vrx.media.probe import input_error
from vrx.media.source_notes import SourceNotes
from vrx.media.timeline import MAX_DAMAGED, shift_packet
from vrx.media.timing import DisplayOrder

UNTIMED_CODECS = {"h264", "hevc", "vvc"}  # codecs with wrong timestamps in AVI, which stores none
Result = TypeVar("Result")
FIRST_STEP = Fraction(1)  # seconds by which a seek that came too late is tried earlier; doubled every time


class FrameDecoder:
    """Decodes a video stream forward; `damaged` counts packets that could not be decoded.

    `shifts` move the packets onto the source's continuous clock.  With `notes`, which say where it fails, a GPU decodes
    if that is switched on.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        name: str,
        shifts: TimestampShifts | None = None,
        notes: SourceNotes | None = None,
    ) -> None:
        self._container, self._stream, self._name, self._notes = container, stream, name, notes
        self._shifts = shifts
        self.is_reordered = container.format.name == "avi" and stream.codec_context.name in UNTIMED_CODECS
        self.damaged = 0

    def decode(self, packets: Iterable[Packet[VideoStream]] | None = None) -> Generator[VideoFrame]:
        """Frames of all packets, or of those given; damaged ones are skipped."""
        order = DisplayOrder() if self.is_reordered else None
        # new at each start: no state from before a seek
        decoder = alpha_decoder(self._stream) or self._on_device() or self._stream
        for number, packet in enumerate(self._demux() if packets is None else packets):
            if self._shifts is not None:
                shift_packet(packet, self._shifts, number)
            if order is not None and packet.dts is not None:
                packet.pts = order.push(packet.dts)
            for picture in self._call(partial(decoder.decode, packet)) or ():
                if order is not None and picture.pts is not None:
                    picture.pts = order.pop(picture.pts)
                yield picture

    def _on_device(self) -> CheckedDecoder | None:
        """A decoder on the GPU, where times need no repair."""
        return None if self.is_reordered or self._notes is None else device_decoder(self._stream, self._notes)

    def _demux(self) -> Iterator[Packet[VideoStream]]:
        """Packets of the stream, then an empty one that flushes the decoder."""
        packets = self._container.demux(self._stream)
        while self.damaged <= MAX_DAMAGED:
            before = self.damaged
            packet = self._call(lambda: next(packets, None))
            if packet is not None:
                yield packet
            elif self.damaged == before:
                return

    def _call(self, work: Callable[[], Result]) -> Result | None:
        """The result of a libav call; None at the end of the source and for damaged data, which is counted."""
        try:
            return work()
        except EOFError:
            return None
        except av.error.InvalidDataError:
            self.damaged += 1
            return None
        except (av.error.FFmpegError, OSError) as error:
            raise input_error(error, self._name) from error

    def seek(self, target: Fraction, first: Fraction, keys: Mapping[int, int]) -> Iterator[VideoFrame] | None:
        """Frames from one shown at `target` seconds or before; the file's first is shown at `first`.

        What a seek gives is looked at: many containers lead to a later picture, and then an earlier place is
        tried.  `keys` are the sizes of key frames by time where they are known: some containers lead to packets
        with times of others.  None where nothing but decoding from the start leads there.
        """
        if self.is_reordered or self._shifts is not None:
            return None
        base = self._stream.time_base or Fraction(1, 1000)
        back = Fraction(0)
        while target - back > first:
            try:
                self._container.seek(int((target - back) / base), stream=self._stream, backward=True)
            except (av.error.FFmpegError, OSError):
                return None
            pictures = self.decode(self._demux_from_key_frame(keys))
            found = next(pictures, None)
            if found is not None and found.pts is not None and found.pts * base <= target:
                return chain([found], pictures)
            back = 2 * back or FIRST_STEP
        return None

    def key_frame(self, target: Fraction) -> VideoFrame | None:
        """The key frame that a seek to `target` seconds leads to; None where it leads to none.

        Nothing but that is decoded, so this is for looking around, not for reading on.
        """
        try:
            place = int(target / (self._stream.time_base or Fraction(1, 1000)))
            self._container.seek(place, stream=self._stream, backward=True)
        except (av.error.FFmpegError, OSError):
            return None
        packet, decoder = next(self._demux_from_key_frame({}), None), self._stream.codec_context
        if packet is None:
            return None
        pictures = [*(self._call(partial(decoder.decode, packet)) or ()), *(self._call(decoder.decode) or ())]
        return pictures[0] if pictures else None

    def _demux_from_key_frame(self, keys: Mapping[int, int]) -> Iterator[Packet[VideoStream]]:
        """Packets from the next key frame; none where its size differs from the one in `keys`."""
        packets = self._demux()
        for packet in packets:
            if packet.is_keyframe:
                if not keys or (packet.pts is not None and keys.get(packet.pts) == packet.size):
                    yield packet
                    yield from packets
                return
