import shlex
from pathlib import Path

import av
import pytest

from tests.conftest import Command
from vrx.errors import InputError
from vrx.media.ffmpeg import FFmpegProcess
from vrx.media.frame import Color
from vrx.media.pixel_formats import layout_from_pix_fmt, merge_color


@pytest.mark.parametrize(
    ("pix_fmt", "ours"),
    [
        ("nv12", "yuv420p"),
        ("yuvj422p", "yuv422p"),
        ("p010le", "yuv420p10le"),
        ("rgb24", "gbrp"),
        ("pal8", "gbrap"),
        ("yuyv422", "yuv422p"),
        ("yuv411p", "yuv411p"),
        ("ya8", "ya8"),
        ("ya16be", "ya16le"),
        ("rgba64be", "gbrap16le"),
        ("yuva444p12le", "yuva444p12le"),
    ],
)
def test_every_format_has_a_planar_home(pix_fmt: str, ours: str) -> None:
    assert layout_from_pix_fmt(pix_fmt).pix_fmt == ours


@pytest.mark.parametrize("pix_fmt", ["bayer_rggb8", "grayf32le", "xyz12le"])
def test_formats_without_a_home_are_refused(pix_fmt: str) -> None:
    with pytest.raises(InputError, match=pix_fmt):
        layout_from_pix_fmt(pix_fmt)


def test_tags_of_a_frame_precede_those_of_the_stream() -> None:
    stream = Color("bt709", "bt709", "bt709", False, "left")
    assert merge_color(Color(matrix="smpte170m", full_range=True), stream, "yuv420p") == Color(
        "smpte170m", "bt709", "bt709", True, "left"
    )
    assert merge_color(Color(), stream, "yuvj420p") == stream
    assert merge_color(Color(), Color(), "yuvj420p") == Color(full_range=True)
    assert merge_color(Color(), Color(), "yuv420p") == Color()


def test_linear_light_is_refused_with_a_command_that_converts_it(tmp_path: Path, vrx: Command) -> None:
    """By what the standard says of sRGB, within what ffmpeg rounds."""
    words = ["-y", "-f", "lavfi", "-i", "color=0x404040:size=16x16", "-frames:v", "1"]
    FFmpegProcess([*words, "-pix_fmt", "gbrpf32le", str(tmp_path / "e 1.exr")]).finish()
    done = vrx("upscale", "e 1.exr")
    assert done.returncode == 3
    assert "it holds linear light in floats (gbrpf32le)" in done.stderr
    command = done.stderr.split("clipped: ")[1].strip()
    assert command.startswith("ffmpeg -i 'e 1.exr' -vf")
    FFmpegProcess(["-y", *shlex.split(command)[1:]], folder=tmp_path).finish()
    linear, converted = (next(av.open(str(tmp_path / name)).decode(video=0)) for name in ("e 1.exr", "e 1.png"))
    light = float(linear.to_ndarray()[8, 8, 0])
    assert converted.to_ndarray(format="rgb48le")[8, 8, 0] / 65535 == pytest.approx(
        1.055 * light ** (1 / 2.4) - 0.055, abs=0.002
    )
