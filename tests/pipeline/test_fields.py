"""What results of interlaced sources are tagged as, in container and stream."""

from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest

from tests.clips import INTERLACED_SIZE, stripes
from tests.conftest import Command
from vrx.media.ffmpeg import FFmpegProcess
from vrx.media.fields import find_field_order
from vrx.media.read import Reader, Span

FRAMES = 4


def write(path: Path, order: str, codec: str = "libx264", pix_fmt: str = "yuv420p") -> Path:
    """An interlaced clip, black at first, with a field order."""
    plain = path.with_suffix(".nut")
    with av.open(str(plain), "w") as box:
        video = box.add_stream("rawvideo", rate=25)
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = *INTERLACED_SIZE, "rgb24"
        for number in range(FRAMES):
            picture = stripes(number) if number else np.zeros((*INTERLACED_SIZE[::-1], 3), np.uint8)
            box.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        box.mux(video.encode(None))
    extra = ["-x264-params", f"{order}=1"] if codec == "libx264" else []
    words = ["-y", "-i", str(plain), "-vf", f"setfield={order}", "-c:v", codec, "-flags", "+ilme+ildct", *extra]
    FFmpegProcess([*words, "-pix_fmt", pix_fmt, str(path)]).finish()
    plain.unlink()
    return path


def fields(path: Path) -> tuple[bool, str]:
    """Whether headers say that a video is interlaced, and the order that its pictures have, empty: progressive."""
    with av.open(str(path)) as box:
        header = cast(Any, box.streams.video[0]).field_order  # 1: progressive; PyAV has no type for it
        orders = {find_field_order(frame) or "" for frame in box.decode(video=0)}
    (order,) = orders
    known = {"tff": (2, 4), "bff": (3, 5), "": (0, 1)}[order]  # FFmpeg's AVFieldOrder
    assert header in known
    return header > 1, str(order)


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize(
    ("source", "codec", "pix_fmt", "result", "words", "encoder"),
    [
        ("a.mp4", "libx264", "yuv420p", "r.mp4", [], "h264"),
        ("a.mkv", "libx264", "yuv422p10le", "r.mkv", [], "h264"),  # not HEVC, which has no fields
        ("a.mov", "prores_ks", "yuv422p10le", "r.mov", [], "prores"),
        ("a.mkv", "libx264", "yuv420p", "r.mkv", ["--codec", "ffv1"], "ffv1"),
        ("a.mp4", "libx264", "yuv420p", "r.ts", [], "h264"),
    ],
)
def test_fields_that_stay_are_tagged_in_their_order(
    tmp_path: Path, vrx: Command, order: str, source: str, codec: str, pix_fmt: str, result: str, words: list[str],
    encoder: str,
) -> None:  # fmt: skip
    write(tmp_path / source, order, codec, pix_fmt)
    done = vrx("inpaint", source, "--box", "8,8,8,8", "-o", result, "--device", "cpu", *words)
    assert done.returncode == 0, done.stderr
    told = "a.mkv: source is interlaced: encoded by libx264, as libx265 cannot tag fields" in done.stderr
    assert told == (pix_fmt == "yuv422p10le" and encoder == "h264")
    assert fields(tmp_path / result) == (True, order)
    with Reader(tmp_path / result, Span(), lambda note: None) as reader:
        assert (reader.info.video.codec, reader.info.video.interlaced) == (encoder, order)


def test_what_is_deinterlaced_is_progressive(tmp_path: Path, vrx: Command) -> None:
    source = write(tmp_path / "a.mkv", "bff")
    assert vrx("deblur", source, "-o", "r.mkv", "--device", "cpu").returncode == 0
    assert fields(tmp_path / "r.mkv") == (False, "")
    assert "yes, bottom field first" in vrx("info", source).stdout


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["upscale", "-s", "2", "--deinterlace", "off"], "resizing or turning mixes the fields"),
        (
            ["inpaint", "--box", "8,8,8,8", "--codec", "hevc"],
            "libx265 cannot tag fields (--codec h264, prores and ffv1",
        ),
        (["inpaint", "--box", "8,8,8,8", "--crop", "96:62:0:0"], "the height is a multiple of 4"),
    ],
)
def test_fields_that_go_or_cannot_be_tagged_are_said(
    tmp_path: Path, vrx: Command, words: list[str], reason: str
) -> None:
    source = write(tmp_path / "a.mkv", "tff")
    done = vrx(words[0], source, *words[1:], "-o", "r.mkv", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert reason in done.stderr
    assert "the result is tagged as progressive" in done.stderr
    assert fields(tmp_path / "r.mkv") == (False, "")


def test_fields_that_begin_later_are_tagged_and_said(tmp_path: Path, vrx: Command) -> None:
    source = tmp_path / "a.ts"
    for number, flags in enumerate(([], ["-flags", "+ilme+ildct"], [])):
        part = tmp_path / f"{number}.ts"
        filters = f"testsrc2=size=96x64:rate=25:duration=0.16,setfield={'tff' if flags else 'prog'}"
        words = ["-y", "-f", "lavfi", "-i", filters, "-c:v", "libx264", "-output_ts_offset", str(0.16 * number)]
        FFmpegProcess([*words, "-pix_fmt", "yuv420p", *flags, str(part)]).finish()
        with source.open("ab") as file:
            file.write(part.read_bytes())
    done = vrx("inpaint", source, "--box", "8,8,8,8", "-o", "r.mkv", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "a part of the source is interlaced and stays so" in done.stderr
    assert fields(tmp_path / "r.mkv") == (True, "tff")
