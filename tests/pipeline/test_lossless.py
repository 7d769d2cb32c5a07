"""Encoders of results whose source is lossless, or RGB of more than 8 bits."""

from pathlib import Path

import av
import numpy as np
import pytest

from tests.conftest import Command
from vrx.media.encoders import ENCODERS, LOSSLESS_IN, encoder_pix_fmt, lossless_encoder
from vrx.media.ffmpeg import FFmpegProcess
from vrx.media.fields import find_field_order
from vrx.media.frame import Kind, Layout


def write(path: Path, codec: str, pix_fmt: str) -> Path:
    """Three frames of 64x48."""
    words = ["-y", "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=0.3"]
    FFmpegProcess([*words, "-c:v", codec, "-pix_fmt", pix_fmt, str(path)]).finish()
    return path


def samples(path: Path) -> tuple[str, list[np.ndarray]]:
    """The codec, and the bytes [H, N] of the first plane of each frame."""
    with av.open(str(path)) as box:
        planes = [frame.planes[0] for frame in box.decode(video=0)]
        name = box.streams.video[0].codec_context.name
    return name, [np.frombuffer(bytes(plane), np.uint8).reshape(plane.height, -1) for plane in planes]


@pytest.mark.parametrize(
    ("source", "codec", "pix_fmt", "result", "expected", "told"),
    [
        ("a.avi", "huffyuv", "yuv422p", "r.avi", "huffyuv", "HuffYUV stays HuffYUV, lossless"),
        ("a.avi", "huffyuv", "bgra", "r.avi", "huffyuv", "HuffYUV stays HuffYUV"),
        ("a.avi", "utvideo", "gbrp", "r.avi", "utvideo", "Ut Video stays Ut Video"),
        ("a.avi", "ffv1", "yuv420p", "r.avi", "ffv1", "FFV1 stays FFV1"),
        ("a.avi", "utvideo", "yuv420p", None, "ffv1", "Ut Video becomes FFV1, lossless"),
        ("a.mov", "v210", "yuv422p10le", None, "v210", "v210 stays v210, lossless; for a smaller file: --codec prores"),
    ],
)
def test_lossless_sources_stay_lossless(
    tmp_path: Path, vrx: Command, source: str, codec: str, pix_fmt: str, result: str | None, expected: str, told: str
) -> None:
    write(tmp_path / source, codec, pix_fmt)
    words = [] if result is None else ["-o", result]
    done = vrx("inpaint", source, "--box", "8,8,4,4", "--dilate", "0", "--device", "cpu", *words)
    assert done.returncode == 0, done.stderr
    assert told in done.stderr
    name = result or ("a.inpaint.mov" if codec == "v210" else "a.inpaint.mkv")
    before, after = samples(tmp_path / source)[1], samples(tmp_path / name)[1]
    assert samples(tmp_path / name)[0] == expected
    assert len(before) == len(after) == 3
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(one[:8, :64], other[:8, :64])


@pytest.mark.parametrize(
    ("source", "codec", "pix_fmt", "words", "encoder", "told"),
    [
        ("a.avi", "huffyuv", "yuv422p", ["-o", "r.mp4"], "libx264", "HuffYUV is lossless, and libx264 is not"),
        ("a.mov", "v210", "yuv422p10le", ["-o", "r.mp4"], "libx265", "to keep it so: -o NAME.mkv"),
        ("a.avi", "ffv1", "yuv420p", ["-o", "r.avi", "--crf", "20"], "libx264", ""),
        ("a.avi", "ffv1", "yuv420p", ["-o", "r.mp4", "--codec", "h264"], "libx264", ""),
        ("a.mkv", "ffv1", "yuv420p", ["-o", "r_%d.png"], "png", ""),
        ("a1.png", "png", "rgb48be", ["--sequence", "-o", "r.mov"], "prores_ks, yuv444p10le", "cannot hold 16 bits"),
        ("a1.dpx", "dpx", "gbrp10be", ["--sequence", "-o", "r.mov"], "prores_ks, yuv444p10le", "cannot hold RGB"),
        ("a1.dpx", "dpx", "gbrp10be", ["--sequence", "-o", "r.mov", "--crf", "20"], "libx265", ""),
        ("a1.png", "png", "rgb24", ["--sequence", "-o", "r.mov"], "libx264", ""),
    ],
)
def test_other_encoders_are_said(
    tmp_path: Path, vrx: Command, source: str, codec: str, pix_fmt: str, words: list[str], encoder: str, told: str
) -> None:
    pattern = source.replace("1.", "%d.")
    write(tmp_path / pattern, codec, pix_fmt)
    done = vrx("deblur", *([tmp_path] if "1." in source else [source]), *words, "--device", "cpu", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"{encoder}," in done.stdout
    said = " ".join(done.stdout.split())
    assert told in said
    assert told or "lossless" not in said


def test_v210_with_fields_stays_v210_and_tells_of_them(tmp_path: Path, vrx: Command) -> None:
    words = ["-y", "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=0.3,setfield=tff", "-c:v", "v210"]
    FFmpegProcess([*words, "-flags", "+ilme+ildct", "-field_order", "tt", str(tmp_path / "a.mov")]).finish()
    done = vrx("inpaint", "a.mov", "--box", "8,8,4,4", "--device", "cpu", "-o", "r.mov")
    assert done.returncode == 0, done.stderr
    with av.open(str(tmp_path / "r.mov")) as box:
        picture = next(box.decode(video=0))
        assert box.streams.video[0].codec_context.name == "v210"
    assert find_field_order(picture) == "tff"


def test_a_lossless_codec_is_kept_where_it_holds_all_there_is() -> None:
    size = (64, 48)
    assert lossless_encoder("huffyuv", Layout(Kind.YUV, 8, 1, 1), ".avi", size) == "ffv1"  # it has 4:2:2 only
    assert lossless_encoder("utvideo", Layout(Kind.YUV, 8, 1, 1), ".avi", (63, 48)) == "ffv1"
    assert lossless_encoder("v210", Layout(Kind.YUV, 8, 1, 0), ".mov", size) is None
    assert lossless_encoder("h264", Layout(Kind.YUV, 8, 1, 1), ".avi", size) is None
    assert {name for names in LOSSLESS_IN.values() for name in names} <= ENCODERS.keys()
    assert encoder_pix_fmt(Layout(Kind.RGB, 8), "huffyuv") == "rgb24"
