"""Decoding on a GPU that is not there: another decoder of the processor stands in for it."""

import subprocess
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vrx.events import Note
from vrx.media import hardware
from vrx.media.ffmpeg import executable
from vrx.media.hardware import CHECKED, CheckedDecoder, Decoder, Work, make_decoder
from vrx.media.read import Reader, Span
from vrx.media.source_notes import SourceNotes

COUNT = 60


@pytest.fixture(scope="module", params=["h264", "hevc"])
def video(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """B-frames around key frames every 16 pictures, groups not closed."""
    path = tmp_path_factory.mktemp("video") / "in.mkv"
    coder = {
        "h264": ["libx264", "-x264-params", "keyint=16:open-gop=1:bframes=3:scenecut=0"],
        "hevc": ["libx265", "-x265-params", "keyint=16:open-gop=1:bframes=3:log-level=none", "-pix_fmt", "yuv420p10le"],
    }
    source = ["-f", "lavfi", "-i", "testsrc2=size=160x96:rate=25", "-frames:v", str(COUNT)]
    subprocess.run([executable(), "-v", "error", *source, "-c:v", *coder[request.param], path], check=True)
    return path


class Heard:
    """Notes about a source."""

    def __init__(self) -> None:
        self.notes = list[Note]()
        self.source = SourceNotes("in.mkv", self.add)

    def add(self, note: Note) -> None:
        assert note.code == "decoded-without-gpu"
        self.notes.append(note)

    @property
    def text(self) -> str:
        return "\n".join(note.text for note in self.notes)


@pytest.fixture
def heard() -> Heard:
    return Heard()


class Gpu:
    """The processor's decoder in the formats of a GPU; it fails, or gives other pictures, from one on."""

    def __init__(self, stream: VideoStream, fails_at: int = -1, wrong_at: int = -1) -> None:
        self._decoder, self._fails_at, self._wrong_at = make_decoder(stream), fails_at, wrong_at
        self._decoder.thread_type = "NONE"  # another delay than the processor's
        self.packets = self.pictures = 0

    def decode(self, packet: Work = None) -> list[VideoFrame]:
        self.packets += 1
        if self.packets == self._fails_at:
            raise av.error.ExternalError(5, "the device is gone")
        found = []
        for picture in self._decoder.decode(packet):
            own = picture.reformat(format={"yuv420p": "nv12", "yuv420p10le": "p010le"}[picture.format.name])
            own.pts, own.duration = picture.pts, picture.duration
            own.colorspace, own.color_range = picture.colorspace, picture.color_range
            own.color_primaries, own.color_trc = picture.color_primaries, picture.color_trc
            if self.pictures == self._wrong_at:
                own.pts = (own.pts or 0) + 1
            self.pictures += 1
            found.append(own)
        return found


def decoded(path: Path, make: Callable[[VideoStream], CheckedDecoder | VideoStream]) -> list[tuple[int | None, bytes]]:
    with av.open(str(path)) as box:
        stream = box.streams.video[0]
        decoder = make(stream)
        pictures = [picture for packet in box.demux(stream) for picture in decoder.decode(packet)]
        return [(picture.pts, picture.to_ndarray().tobytes()) for picture in pictures]


@pytest.mark.parametrize(
    ("fails_at", "wrong_at", "said"),
    [
        (-1, -1, ""),
        (1, -1, "the device is gone"),
        (5, -1, "the device is gone"),
        *((number, -1, "the device is gone") for number in (30, 33, 34, 49, COUNT, COUNT + 1)),
        (-1, 0, "other times"),
        (-1, CHECKED - 1, "other times"),
    ],
)
def test_whatever_the_gpu_does_pictures_are_those_of_the_processor(
    video: Path, fails_at: int, wrong_at: int, said: str, heard: Heard
) -> None:
    used: list[Gpu] = []

    def both(stream: VideoStream) -> CheckedDecoder:
        used.append(Gpu(stream, fails_at, wrong_at))
        return CheckedDecoder(stream, used[-1], lambda: make_decoder(stream), heard.source)

    usual = decoded(video, lambda stream: stream)
    assert decoded(video, both) == usual
    assert len(usual) == COUNT
    assert said in heard.text
    assert bool(heard.text) == bool(said)
    if not said:
        assert used[0].pictures == COUNT


class Damaged:
    """A decoder that cannot decode some packets, by their number."""

    def __init__(self, decoder: Decoder, damaged: set[int]) -> None:
        self._decoder, self._damaged, self._packets = decoder, damaged, 0

    def decode(self, packet: Work = None) -> list[VideoFrame]:
        self._packets += 1
        if self._packets in self._damaged:
            raise av.error.InvalidDataError(5, "damaged")
        return list(self._decoder.decode(packet))


@pytest.mark.parametrize("damaged", [5, 30, 47, COUNT])
def test_a_damaged_packet_costs_what_it_costs_the_processor(video: Path, damaged: int, heard: Heard) -> None:
    """The GPU fails there, and so does the processor that goes on from the key frame before."""
    results: list[list[int | None]] = []
    for way in ("processor", "GPU"):
        with av.open(str(video)) as box:
            stream, seen, missing = box.streams.video[0], list[int | None](), 0
            packets = list(box.demux(stream))
            keys = [n for n, packet in enumerate(packets[:damaged], 1) if packet.is_keyframe]
            again = damaged - ([1, *keys][-2] if damaged > CHECKED else 0) + 1  # its number from the key frame on

            def renew(stream: VideoStream = stream, again: int = again) -> Decoder:
                return Damaged(make_decoder(stream), {again})

            decoder: Decoder = Damaged(make_decoder(stream), {damaged})
            if way == "GPU":
                decoder = CheckedDecoder(decoder, Damaged(Gpu(stream), {damaged}), renew, heard.source)
            for packet in packets:
                try:
                    seen += [picture.pts for picture in decoder.decode(packet)]
                except av.error.InvalidDataError:
                    missing += 1
            assert missing == 1
            results.append(seen)
    assert results[0] == results[1]
    assert len(results[0]) < COUNT


class Numbered:
    """Stands in for a packet, and for the picture that is decoded from it."""

    alive = most = 0

    def __init__(self, number: int) -> None:
        self.pts, self.size, self.is_keyframe = number, 1, number == 0
        self.format = SimpleNamespace(name="yuv420p")


class Decoded(Numbered):
    def __init__(self, number: int) -> None:
        super().__init__(number)
        Numbered.alive += 1
        Numbered.most = max(Numbered.most, Numbered.alive)

    def __del__(self) -> None:
        Numbered.alive -= 1


class Numbers:
    """A decoder of these, which fails at a packet."""

    def __init__(self, fails_at: int = -1) -> None:
        self._fails_at, self.packets = fails_at, 0

    def decode(self, packet: Any = None) -> list[Any]:
        self.packets += 1
        if packet.pts == self._fails_at:
            raise av.error.ExternalError(5, "the device is gone")
        return [Decoded(packet.pts)]


def test_going_back_holds_neither_pictures_that_were_given_nor_packets(
    monkeypatch: pytest.MonkeyPatch, heard: Heard
) -> None:
    monkeypatch.setattr(hardware, "difference_of", lambda *_: "")
    decoder = CheckedDecoder(Numbers(), Numbers(fails_at=400), Numbers, heard.source)
    found = []
    for number in range(800):
        packet: Any = Numbered(number)
        found += [picture.pts for picture in decoder.decode(packet)]
    assert found == list(range(800))
    assert Numbered.most <= 2 * CHECKED
    assert decoder._recent.packets == []  # a film may have one key frame


def test_twelve_pictures_are_compared_and_six_hundred_packets_kept(
    monkeypatch: pytest.MonkeyPatch, heard: Heard
) -> None:
    monkeypatch.setattr(hardware, "difference_of", lambda *_: "")
    host, device = Numbers(), Numbers()
    decoder = CheckedDecoder(host, device, Numbers, heard.source)
    for number in range(700):
        packet: Any = Numbered(number)
        decoder.decode(packet)
    assert (host.packets, device.packets) == (12, 600)


def test_pictures_without_times_are_left_to_the_processor(video: Path, heard: Heard) -> None:
    class Untimed(Gpu):
        def decode(self, packet: Work = None) -> list[VideoFrame]:
            found = super().decode(packet)
            for picture in found:
                picture.pts = None
            return found

    usual = decoded(video, lambda stream: stream)
    assert decoded(video, lambda s: CheckedDecoder(s, Untimed(s), lambda: make_decoder(s), heard.source)) == usual
    assert "its pictures have no times" in heard.text


@pytest.mark.parametrize(
    ("codec", "size", "taken"),
    [
        ("h264", (1280, 720), True),
        ("h264", (1280, 718), False),
        ("vp9", (1280, 720), True),
        ("mpeg4", (1280, 720), False),
    ],
)
def test_the_gpu_is_asked_for_codecs_it_has_and_large_pictures(
    codec: str, size: tuple[int, int], taken: bool, monkeypatch: pytest.MonkeyPatch, heard: Heard
) -> None:
    monkeypatch.setenv("VRX_NVDEC", "on")
    monkeypatch.setattr(hardware, "make_decoder", lambda *_: Numbers())
    context = SimpleNamespace(name=codec, pix_fmt="yuv420p", width=size[0], height=size[1])
    stream: Any = SimpleNamespace(codec_context=context)
    assert (hardware.device_decoder(stream, heard.source) is not None) == taken


def test_the_processor_stops_once_the_gpu_is_believed(video: Path, heard: Heard) -> None:
    packets: list[Work] = []

    class Host:
        def __init__(self, stream: VideoStream) -> None:
            self._stream = stream

        def decode(self, packet: Work = None) -> list[VideoFrame]:
            packets.append(packet)
            return list(self._stream.decode(packet))

    decoded(video, lambda s: CheckedDecoder(Host(s), Gpu(s), lambda: make_decoder(s), heard.source))
    assert CHECKED <= len(packets) < COUNT / 2


def test_key_frames_far_apart_leave_it_to_the_processor(
    video: Path, monkeypatch: pytest.MonkeyPatch, heard: Heard
) -> None:
    monkeypatch.setattr(hardware, "MOST_PACKETS", 24)
    usual = decoded(video, lambda stream: stream)
    assert decoded(video, lambda s: CheckedDecoder(s, Gpu(s), lambda: make_decoder(s), heard.source)) == usual
    assert "key frames are too far apart" in heard.text


def test_a_machine_without_a_gpu_decodes_as_ever(video: Path, monkeypatch: pytest.MonkeyPatch, heard: Heard) -> None:
    monkeypatch.setattr(hardware, "LEAST_PIXELS", 1)

    def frames() -> Iterator[bytes]:
        with Reader(video, Span(frames=5), heard.add) as reader:
            for frame in reader.frames():
                yield b"".join(np.ascontiguousarray(plane).tobytes() for plane in frame.planes)

    usual = list(frames())
    assert heard.text == ""
    monkeypatch.setenv("VRX_NVDEC", "on")
    assert list(frames()) == usual
    assert "the processor decodes, not the GPU" in heard.text


def test_a_reader_takes_the_gpus_pictures(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRX_NVDEC", "on")
    monkeypatch.setattr(hardware, "LEAST_PIXELS", 1)
    made = hardware.make_decoder
    used: list[Gpu] = []

    def gpu(stream: VideoStream, accelerator: object = None) -> object:
        if accelerator is None:
            return made(stream)
        used.append(Gpu(stream))
        return used[-1]

    monkeypatch.setattr(hardware, "make_decoder", gpu)
    with Reader(video, Span(start=Fraction(1)), print) as reader:
        found = [frame.pts for frame in reader.frames()]
    assert len(found) == COUNT - 25
    assert used[-1].pictures > CHECKED
