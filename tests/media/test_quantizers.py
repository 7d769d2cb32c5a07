"""What decoders tell of quantizers, on the scale of H.264."""

import struct
from fractions import Fraction
from pathlib import Path

import pytest

from tests.clips import ClipMaker
from vrx.media import ffmpeg
from vrx.media.deinterlace import Deinterlace
from vrx.media.quantizers import from_step, parse_quantizer, vp9_step
from vrx.media.read import Reader, Span

ASKED = Span(quantizers=True)
STEP_16 = 28.07  # steps of 16 levels on the scale of H.264: 6 log2(16 / 0.625)


def quantizers_of(path: Path, span: Span = ASKED, fields: Deinterlace = Deinterlace.OFF) -> list[float | None]:
    with Reader(path, span, lambda _: None, deinterlace=fields) as reader:
        return [frame.quantizer for frame in reader.frames()]


def coded(folder: Path, *words: str, name: str = "a.mkv") -> Path:
    """16 frames of a moving pattern by an encoder of ffmpeg."""
    path = folder / name
    source = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25,format=yuv420p", "-frames:v", "16"]
    ffmpeg.FFmpegProcess(["-y", *source, *words, str(path)]).finish()
    return path


def test_h264_tells_the_mean_of_a_picture(tmp_path: Path) -> None:
    found = quantizers_of(coded(tmp_path, "-c:v", "libx264", "-qp", "30"))
    assert found[0] == 27  # x264 gives key frames 3 less, and B-frames 2 more
    assert set(found[1:]) <= {30, 31, 32}
    assert len(found) == 16


def test_the_scale_is_that_of_8_bits(tmp_path: Path) -> None:
    """x264 means the same by a quality of any depth; the step of a quantizer is in levels of the depth."""
    paths = [
        coded(tmp_path, "-vf", f"format={name}", "-c:v", "libx264", "-crf", "28", "-bf", "0", name=f"{name}.mkv")
        for name in ("yuv420p", "yuv420p10")
    ]
    eight, ten = (sum(value or 0 for value in quantizers_of(path)) / 16 for path in paths)
    assert ten == pytest.approx(eight, abs=2)


@pytest.mark.parametrize("codec", ["mpeg4", "mpeg2video", "mpeg1video", "flv", "msmpeg4v2", "msmpeg4", "wmv1", "wmv2"])
def test_steps_of_mpeg_are_put_on_the_scale_of_h264(tmp_path: Path, codec: str) -> None:
    first, *others = quantizers_of(coded(tmp_path, "-c:v", codec, "-q:v", "8"))[:15]  # the last one may be without
    assert first == pytest.approx(STEP_16, abs=0.01)
    assert set(others) == {first}


@pytest.mark.parametrize(("crf", "finest", "coarsest"), [(10, 10, 20), (33, 24, 32), (55, 36, 44)])
def test_vp9_tells_too(tmp_path: Path, crf: int, finest: float, coarsest: float) -> None:
    words = ["-c:v", "libvpx-vp9", "-crf", str(crf), "-b:v", "0", "-cpu-used", "8"]
    found = quantizers_of(coded(tmp_path, *words, name="a.webm"))
    assert len(found) == 16
    assert finest < sum(value or 0 for value in found[1:]) / 15 < coarsest
    assert found[0] < found[1]  # type: ignore[operator]  # key frames get more
    ten = quantizers_of(coded(tmp_path, "-vf", "format=yuv420p10", *words, name="b.webm"))
    assert sum(value or 0 for value in ten) == pytest.approx(sum(value or 0 for value in found), abs=16 * 2)


def test_h263_and_lossless_ten_bits_tell(tmp_path: Path) -> None:
    words = ["-vf", "scale=352:288", "-c:v", "h263", "-q:v", "8"]
    assert quantizers_of(coded(tmp_path, *words, name="a.avi"))[0] == pytest.approx(STEP_16, abs=0.01)
    ten = ["-vf", "format=yuv420p10", "-c:v", "libx264", "-qp", "6", "-bf", "0"]
    assert set(quantizers_of(coded(tmp_path, *ten, name="b.mkv"))) == {0}  # finer than any of 8 bits


def test_they_do_not_depend_on_threads_or_runs(tmp_path: Path) -> None:
    path = coded(tmp_path, "-c:v", "libx264", "-crf", "28", "-bf", "3")
    runs = [quantizers_of(path, Span(quantizers=True, threads=threads)) for threads in (1, 4, 4, 4, 0, 0)]
    assert all(run == runs[0] for run in runs)
    assert len(set(runs[0])) > 8  # of each picture its own


def test_they_survive_deinterlacing_and_a_seek(tmp_path: Path) -> None:
    path = coded(tmp_path, "-c:v", "libx264", "-qp", "30", "-g", "8")
    every = quantizers_of(path)
    assert quantizers_of(path, Span(quantizers=True, start=Fraction(8, 25))) == every[8:]
    deinterlaced = quantizers_of(path, fields=Deinterlace.ON)
    assert deinterlaced[0] == 27
    assert None not in deinterlaced


def test_nothing_is_told_where_nobody_asks_or_the_decoder_cannot(clip: ClipMaker, tmp_path: Path) -> None:
    assert set(quantizers_of(coded(tmp_path, "-c:v", "libx264", "-qp", "30"), Span())) == {None}
    assert set(quantizers_of(clip())) == {None}
    assert set(quantizers_of(coded(tmp_path, "-c:v", "libx265", "-x265-params", "log-level=error"))) == {None}


def parameters(kind: int, own: int, differences: list[int], size: int = 20) -> bytes:
    header = struct.pack("=I4xQQii", len(differences), 64, size, kind, own).ljust(64, b"\0")
    return header + b"".join(struct.pack("=5i", 0, 0, 16, 16, value) for value in differences)


@pytest.mark.parametrize(
    ("index", "step"), [(1, 8), (50, 57), (95, 102), (120, 152), (137, 203), (200, 651), (255, 1828)]
)
def test_steps_of_vp9_are_those_of_its_table(index: int, step: int) -> None:
    assert vp9_step(index) == pytest.approx(step / 8, rel=0.08)


def test_the_mean_of_the_blocks_counts() -> None:
    assert parse_quantizer(parameters(0, 95, [])) == pytest.approx(from_step(102 / 8) - 2)
    assert parse_quantizer(parameters(0, 90, [10, 0])) == pytest.approx(from_step(102 / 8) - 2)
    assert parse_quantizer(parameters(0, 95, []), bits=10) == pytest.approx(from_step(102 / 8) - 2)
    assert parse_quantizer(parameters(1, 32, [0]), bits=10) == 20
    assert parse_quantizer(parameters(1, 20, [0, 4, 2, 2])) == 22
    assert parse_quantizer(parameters(2, 0, [16, 16])) == pytest.approx(STEP_16, abs=0.01)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        parameters(1, 20, [0, 4])[:-1],  # cut off
        parameters(1, 20, []),
        parameters(1, 20, [1], size=0),
        parameters(1, 20, [1], size=6),
        parameters(3, 20, [1]),  # of no encoder that is known
        parameters(0, 20, [1])[:-1],
    ],
)
def test_what_cannot_be_read_is_unknown(data: bytes) -> None:
    assert parse_quantizer(data) is None


def test_steps_begin_with_quantizer_zero() -> None:
    assert from_step(0.625) == 0
    assert from_step(0) == 0
    assert from_step(1.25) == pytest.approx(6)
    assert from_step(10) == pytest.approx(24)
