"""Film at 24000/1001 frames a second, telecined: hard, woven by ffmpeg's filter, and soft, by flags of MPEG-2."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from vrx.media.ffmpeg import FFmpegProcess

FILM = Fraction(24_000, 1001)
FIELD = Fraction(1001, 60_000)  # seconds
SIZE = "128x96"
PICTURES = f"testsrc2=size={SIZE}:rate=24000/1001"  # every frame differs from the one before, at rest or moving
REPEATS = ((1, 1), (0, 0), (0, 1), (1, 0))  # 3:2 pulldown: top field first, first field repeated
SEQUENCE, EXTENSION = 0xB3, 0xB5  # start codes of MPEG-2 (H.262, 6.2)


def make(path: Path, *words: str) -> Path:
    """A file that ffmpeg writes, without a sound."""
    FFmpegProcess(["-y", *words, str(path)]).finish()
    return path


def film(path: Path, frames: int) -> Path:
    """The film itself, lossless."""
    return make(path, "-f", "lavfi", "-i", PICTURES, "-frames:v", str(frames), "-c:v", "ffv1", "-pix_fmt", "yuv420p")


def hard(source: Path, path: Path, order: str = "tff", flags: str = "", codec: str = "ffv1") -> Path:
    """Telecined frames, flagged as interlaced in an order: that of their fields, unless `flags` names another."""
    first = {"tff": "top", "bff": "bottom"}[order]
    filters = f"telecine=first_field={first}:pattern=23,setparams=field_mode={flags or order}"
    fields = ["-flags", "+ildct+ilme"] if codec == "mpeg2video" else []
    return make(path, "-i", str(source), "-vf", filters, "-c:v", codec, *fields)


def soft(path: Path, frames: int) -> Path:
    """Film in MPEG-2 whose flags repeat fields; each frame's time is that of its first field."""
    raw = path.with_suffix(".m2v")
    options = ["-c:v", "mpeg2video", "-bf", "0", "-q:v", "2", "-pix_fmt", "yuv420p"]
    make(raw, "-f", "lavfi", "-i", PICTURES, "-frames:v", str(frames), *options)
    raw.write_bytes(set_pulldown_flags(bytearray(raw.read_bytes())))
    with av.open(str(raw)) as source, av.open(str(path), "w") as result:
        stream = result.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        for number, packet in enumerate(packets):
            packet.stream, packet.time_base = stream, FIELD
            packet.pts = packet.dts = (5 * number + 1) // 2
            packet.duration = 3 - number % 2
            result.mux(packet)
    return path


def join(path: Path, parts: Sequence[Path]) -> Path:
    """Parts one after the other on one clock, as recorders write them."""
    with av.open(str(path), "w") as result:
        stream, begin = None, Fraction(0)
        for part in parts:
            with av.open(str(part)) as source:
                own = source.streams.video[0]
                stream = stream or result.add_stream_from_template(own)
                packets = [packet for packet in source.demux(own) if packet.size]
                first, base, duration = packets[0].pts, own.time_base, packets[-1].duration
                assert first is not None
                assert base is not None
                assert duration is not None
                times = [packet.pts - first for packet in packets if packet.pts is not None]
                end = begin + (times[-1] + duration) * base
                for packet, time in zip(packets, times, strict=True):
                    packet.pts = packet.dts = round((begin + time * base) * 90_000)
                    packet.stream, packet.time_base = stream, Fraction(1, 90_000)
                    result.mux(packet)
            begin = end
    return path


def set_pulldown_flags(data: bytearray) -> bytearray:
    """An elementary stream of progressive frames, as one of 30000/1001 interlaced frames with repeated fields."""
    place, number = data.find(b"\0\0\1"), 0
    while place >= 0:
        code, kind = data[place + 3], data[place + 4] >> 4
        if code == SEQUENCE:
            data[place + 7] = data[place + 7] & 0xF0 | 4  # frame_rate_code: 30000/1001
        elif code == EXTENSION and kind == 1:
            data[place + 5] &= 0xF7  # progressive_sequence
        elif code == EXTENSION and kind == 8:
            top_first, repeat = REPEATS[number % 4]
            data[place + 7] = data[place + 7] & 0x7D | top_first << 7 | repeat << 1
            data[place + 8] |= 0x80  # progressive_frame
            number += 1
        place = data.find(b"\0\0\1", place + 3)
    return data


def lumas(path: Path) -> list[np.ndarray]:
    """The luma of all frames, as stored."""
    with av.open(str(path)) as box:
        return [frame.to_ndarray(format="gray").astype(float) for frame in box.decode(video=0)]
