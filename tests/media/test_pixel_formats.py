import shlex
from pathlib import Path

import av
import numpy as np
import pytest

from tests.clips import ClipMaker
from tests.conftest import Command
from vrx.errors import InputError
from vrx.media.ffmpeg import FFmpegProcess
from vrx.media.frame import Color
from vrx.media.pixel_formats import layout_from_pix_fmt, merge_color, refine_layout


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


@pytest.mark.parametrize(
    ("before", "wanted", "after"),
    [
        ("yuv420p", "yuv444p", "yuv444p"),
        ("yuv420p", "p010le", "yuv420p10le"),
        ("yuv422p", "yuv444p12le", "yuv444p12le"),
        ("yuva420p", "yuv444p", "yuva444p"),
        ("yuv444p", "yuv420p10le", "yuv444p"),  # less chroma
        ("yuv420p10le", "yuv444p", "yuv420p10le"),  # less depth
        ("yuv411p", "yuv420p", "yuv411p"),
        ("yuv420p", "rgb48le", "yuv420p"),
        ("gbrp", "yuv444p10le", "gbrp"),
        ("yuv420p", "gray10le", "yuv420p"),
        ("yuv420p", "nonsense", "yuv420p"),
        ("yuv420p", "grayf32le", "yuv420p"),
    ],
)
def test_finer_formats_refine_a_layout(before: str, wanted: str, after: str) -> None:
    assert refine_layout(layout_from_pix_fmt(before), wanted).pix_fmt == after


def planes_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as box:
        picture = next(box.decode(video=0))
    kind = np.uint8 if picture.format.components[0].bits == 8 else np.uint16
    return [np.frombuffer(bytes(plane), kind).reshape(plane.height, -1)[:, : plane.width] for plane in picture.planes]


def test_what_enlarging_finds_is_stored_as_finely_as_was_asked_for(
    clip: ClipMaker, tmp_path: Path, vrx: Command
) -> None:
    """Depth and chroma beyond the source's are the result's own, not the container's padding."""
    clip("in.mkv", frames=1)
    for pix_fmt in ("yuv420p10le", "yuv444p"):
        words = ["-s", "2", "-o", f"{pix_fmt}.mkv", "--codec", "ffv1", "--pix-fmt", pix_fmt, "--device", "cpu"]
        assert vrx("upscale", "in.mkv", *words).returncode == 0
    deep, fine = (planes_of(tmp_path / f"{pix_fmt}.mkv") for pix_fmt in ("yuv420p10le", "yuv444p"))
    assert all(share > 0.1 for share in np.bincount(deep[0].ravel() % 4, minlength=4) / deep[0].size)
    assert fine[1].shape == fine[0].shape
    assert (fine[1].astype(int)[:, 2:-2:2] != fine[1].astype(int)[:, 3:-1:2]).mean() > 0.3


def test_samples_that_inpainting_leaves_stay_the_same_in_a_deeper_format(
    clip: ClipMaker, tmp_path: Path, vrx: Command
) -> None:
    clip("in.mkv", frames=1)
    words = ["--box", "4,4,8,8", "-o", "out.mkv", "--codec", "ffv1", "--pix-fmt", "yuv420p10le", "--device", "cpu"]
    assert vrx("inpaint", "in.mkv", *words).returncode == 0
    before, after = (planes_of(tmp_path / name)[0] for name in ("in.mkv", "out.mkv"))
    assert np.array_equal(after[32:, 32:], before[32:, 32:].astype(np.uint16) * 4)


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
