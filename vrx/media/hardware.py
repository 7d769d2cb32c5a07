"""Decoding on a GPU (NVDEC), where that is switched on: taken only where it gives what the processor gives.

The first pictures are decoded by both and compared, samples and all that is said beside them.  Where the GPU fails
later, the processor goes on from the key frame before.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeAlias

import av.error
import numpy as np
from av.codec.context import CodecContext
from av.codec.hwaccel import HWAccel
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vrx.media.frame_side_data import read_frame_side_data
from vrx.media.source_notes import SourceNotes
from vrx.switches import Switches

logger = logging.getLogger(__name__)

CODECS = {"h264", "hevc", "vp9", "av1"}
FORMATS = {"nv12": "yuv420p", "p010le": "yuv420p10le"}  # of a GPU, and how the processor has the same samples
LEAST_PIXELS = 1280 * 720  # of a picture; smaller ones cost a processor next to nothing
CHECKED = 12  # pictures that are compared
IGNORED = {"SEI_UNREGISTERED"}  # side data: what an encoder says of itself, which is lost on the way
MOST_PACKETS = 600  # that are kept, for the processor to go on from a key frame

Work: TypeAlias = "Packet[VideoStream] | None"


class Decoder(Protocol):
    """What is used of a stream, or of its codec's context."""

    def decode(self, packet: Work = None) -> Sequence[VideoFrame]:
        """The pictures that a packet completes; None or an empty one for those that are left."""


class Recent:
    """Packets from the key frame before the latest one on: pictures around a key frame may need those before it."""

    def __init__(self) -> None:
        self._groups: deque[list[Packet[VideoStream]]] = deque(maxlen=2)

    def add(self, packet: Packet[VideoStream]) -> None:
        """The next one."""
        if packet.is_keyframe or not self._groups:
            self._groups.append([])
        self._groups[-1].append(packet)

    @property
    def packets(self) -> list[Packet[VideoStream]]:
        """All of them, in order."""
        return [packet for group in self._groups for packet in group]


class CheckedDecoder:
    """A GPU's decoder beside the processor's: both at first, then the one that is to be believed."""

    def __init__(self, host: Decoder, device: Decoder, renew: Callable[[], Decoder], notes: SourceNotes) -> None:
        """`renew` makes another decoder of the processor, to go on after a failure of the `device`."""
        self._host: Decoder | None = host
        self._device: Decoder | None = device
        self._renew, self._notes = renew, notes
        self._expected: deque[VideoFrame] = deque()  # of the processor, which the GPU has not given yet
        self._early: deque[VideoFrame] = deque()  # of the GPU, which the processor has not given yet
        self._checked, self._recent = 0, Recent()
        self._latest: int | None = None  # the time of the latest picture that was given
        self._given: int | None = None  # that of the last one before the GPU failed
        self._late: list[VideoFrame] = []  # what was found before a damaged packet, to be given with the next one

    def decode(self, packet: Work = None) -> list[VideoFrame]:
        """The pictures that a packet completes, as the processor gives them."""
        if packet is not None and packet.size and self._device is not None:
            self._recent.add(packet)
        found = self._decode(packet)
        for picture in found:
            self._latest = picture.pts
        return found

    def _decode(self, packet: Work) -> list[VideoFrame]:
        if self._device is None:
            assert self._host is not None
            found = [*self._late, *self._ungiven(self._host.decode(packet))]
            self._late.clear()
            return found
        if self._host is not None:
            return self._compare(packet)
        if len(self._recent.packets) > MOST_PACKETS:
            return self._go_back(packet, "key frames are too far apart")
        try:
            return self._without_repeats([as_host(picture) for picture in self._device.decode(packet)])
        except (av.error.FFmpegError, OSError, ValueError) as error:
            return self._go_back(packet, str(error))

    def _go_back(self, packet: Work, why: str) -> list[VideoFrame]:
        """Have the processor decode from the key frame before; its pictures after those that were given.

        Raises InvalidDataError if the packet is damaged; what came before it is given with the next one.
        """
        packets = self._recent.packets
        self._leave(why)
        self._host, self._given = self._renew(), self._latest
        for earlier in packets:
            try:
                self._late += self._ungiven(self._host.decode(earlier))
            except av.error.InvalidDataError:
                if earlier is packet:  # others were counted as damaged when it was their turn
                    raise
        if packet is None or not packet.size:
            self._late += self._ungiven(self._host.decode(packet))
        found, self._late = self._late, []
        return found

    def _ungiven(self, found: Sequence[VideoFrame]) -> list[VideoFrame]:
        """Pictures of the processor that the GPU did not give before it failed."""
        given = self._given
        return [p for p in found if given is None or (p.pts is not None and p.pts > given)]

    def _compare(self, packet: Work) -> list[VideoFrame]:
        """Have both decode; the processor's pictures count."""
        assert self._host is not None
        assert self._device is not None
        found = list(self._host.decode(packet))
        try:
            self._early += [as_host(picture) for picture in self._device.decode(packet)]
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self._leave(str(error))
            return found
        self._expected += found
        while self._expected and self._early:
            difference = difference_of(self._early.popleft(), self._expected.popleft())
            if difference:
                self._leave(f"its pictures have {difference}")
                return found
            self._checked += 1
        if self._checked >= CHECKED:
            self._host = None
            logger.debug("decoded on the GPU")
        return found

    def _without_repeats(self, found: list[VideoFrame]) -> list[VideoFrame]:
        """Pictures of the GPU after those that the processor gave."""
        found = [*self._early, *found]
        self._early.clear()
        while self._expected and found:
            self._expected.popleft()
            found.pop(0)
        return found

    def _leave(self, why: str) -> None:
        warn(self._notes, why)
        self._device, self._recent = None, Recent()
        self._expected.clear()
        self._early.clear()


def as_host(picture: VideoFrame) -> VideoFrame:
    """A GPU's picture with its samples as the processor has them.  Raises ValueError for a format that is not known."""
    name = picture.format.name
    if name in FORMATS.values():
        return picture
    if name not in FORMATS:
        raise ValueError(f"pictures are {name}")
    found = picture.reformat(format=FORMATS[name])
    found.colorspace, found.color_range = picture.colorspace, picture.color_range  # the filter writes its own
    found.color_primaries, found.color_trc = picture.color_primaries, picture.color_trc
    return found


def difference_of(found: VideoFrame, expected: VideoFrame) -> str:
    """What two pictures do not have in common, in words; empty where they are the same."""
    if found.pts is None:
        return "no times"  # by which the processor goes on where the GPU fails
    one, other = (facts_of(picture) for picture in (found, expected))
    different = [f"other {name}" for name, value in one.items() if other[name] != value]
    if not different and not np.array_equal(found.to_ndarray(), expected.to_ndarray()):
        different.append("other samples")
    return ", ".join(different)


def facts_of(picture: VideoFrame) -> dict[str, object]:
    """What is said of a picture beside its samples, by its name."""
    return {
        "formats": (picture.format.name, picture.width, picture.height),
        "times": (picture.pts, picture.duration),
        "fields": picture.interlaced_frame,
        "colors": (picture.colorspace, picture.color_range, picture.color_primaries, picture.color_trc),
        "side data": sorted(set(read_frame_side_data(picture, "")) - IGNORED),
        "flags": picture.is_corrupt,
    }


def warn(notes: SourceNotes, why: str) -> None:
    """Say that the GPU is not used, or no longer."""
    notes.warn("decoded-without-gpu", f"the processor decodes, not the GPU: {why}")


def device_decoder(stream: VideoStream, notes: SourceNotes) -> CheckedDecoder | None:
    """A decoder on the GPU, to be checked; None where none is wanted or of use, or there is none, which is said."""
    context = stream.codec_context
    if not Switches.read().nvdec or context.name not in CODECS or context.pix_fmt not in FORMATS.values():
        return None
    if context.width * context.height < LEAST_PIXELS:
        return None
    try:
        device = make_decoder(stream, HWAccel("cuda", allow_software_fallback=False))
    except (av.error.FFmpegError, OSError, NotImplementedError, RuntimeError) as error:
        warn(notes, str(error))
        return None
    return CheckedDecoder(stream, device, partial(make_decoder, stream), notes)


def make_decoder(stream: VideoStream, accelerator: HWAccel | None = None) -> VideoCodecContext:
    """Another decoder of a stream."""
    known = stream.codec_context
    decoder = CodecContext.create(known.name, "r", accelerator)
    assert isinstance(decoder, VideoCodecContext)
    decoder.extradata, decoder.thread_type = known.extradata, "AUTO"
    decoder.colorspace, decoder.color_range = known.colorspace, known.color_range  # which the container may tell alone
    decoder.color_primaries, decoder.color_trc = known.color_primaries, known.color_trc
    return decoder
