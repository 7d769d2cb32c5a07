"""Sizes people think in: what the network enlarges by, and what the result measures."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from tests.clips import ClipMaker, read
from tests.conftest import Command
from vrx.errors import UsageError
from vrx.geometry import TargetSize, choose_size, fit, parse_size
from vrx.media.ffmpeg import FFmpegProcess
from vrx.media.orientation import Orientation
from vrx.pipeline.convert import resize
from vrx.pipeline.sizing import choose_scale, result_size, size_note
from vrx.settings import Job, ModelSettings, OutputSettings, RestoreSettings, SelectionSettings, Task


def upscale(size: TargetSize | None, scale: int = 4) -> RestoreSettings:
    return RestoreSettings(task=Task.UPSCALE, scale=scale, size=size)


def scale_of(source: tuple[int, int], size: TargetSize | None, scales: tuple[int, ...] = (2, 3, 4)) -> int:
    job = Job(
        source="x",
        model=ModelSettings(),
        restore=upscale(size),
        selection=SelectionSettings(),
        output=OutputSettings(),
    )
    return choose_scale(job, source, scales, Orientation()).restore.scale


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (TargetSize(height=1080), (1440, 1080)),
        (TargetSize(width=1920), (1920, 1440)),
        (TargetSize(width=1920, height=1080), (1440, 1080)),
        (TargetSize(width=1000, height=5000), (1000, 750)),
        (TargetSize(factor=1.5), (960, 720)),
        (TargetSize(factor=1), (640, 480)),
        (TargetSize(width=1001), (1001, 750)),
    ],
)
def test_the_shape_is_kept(size: TargetSize, expected: tuple[int, int]) -> None:
    assert fit((640, 480), size) == expected
    assert result_size((640, 480), upscale(size)) == expected


def test_sizes_are_those_that_are_shown() -> None:
    turned = Orientation(turns=1)  # stored 640x360, shown 360x640
    assert result_size((640, 360), upscale(TargetSize(width=720)), turned) == (1280, 720)
    assert result_size((640, 360), upscale(None, 2), turned) == (1280, 720)


def test_a_result_of_the_same_size_has_odd_sides_where_the_source_has() -> None:
    assert choose_size(1) == (4, TargetSize(factor=1))
    assert fit((641, 481), TargetSize(factor=1)) == (641, 481)
    assert fit((641, 481), TargetSize(factor=1.5)) == (962, 722)
    assert scale_of((641, 481), TargetSize(factor=1), (1, 2, 3, 4)) == 1
    assert scale_of((641, 481), TargetSize(factor=1), (2, 3, 4)) == 2


def test_what_would_shrink_is_refused() -> None:
    with pytest.raises(UsageError, match="the result would be 640x360, the video is 1280x720"):
        result_size((1280, 720), upscale(TargetSize(height=360)))
    assert result_size((1280, 720), upscale(TargetSize(height=720))) == (1280, 720)


@pytest.mark.parametrize(
    ("height", "scale"), [(480, 2), (700, 2), (960, 2), (962, 3), (1440, 3), (1500, 4), (1920, 4), (2400, 4)]
)
def test_the_network_takes_the_smallest_scale_that_reaches_it(height: int, scale: int) -> None:
    assert scale_of((640, 480), TargetSize(height=height)) == scale


def test_a_network_of_one_scale_is_used_for_all_sizes() -> None:
    assert scale_of((640, 480), TargetSize(height=700), (4,)) == 4
    assert scale_of((640, 480), None, (2,)) == 4  # as it was asked for


def test_options_become_a_scale_or_a_size() -> None:
    assert choose_size() == (4, None)
    assert choose_size(3) == choose_size(3.0) == (3, None)
    assert choose_size(2.5) == (4, TargetSize(factor=2.5))
    assert choose_size(height=720) == (4, TargetSize(height=720))
    assert parse_size("1920x1080") == parse_size("1920X1080") == (1920, 1080)
    for wrong in (lambda: choose_size(2, height=5), lambda: choose_size(0.5), lambda: choose_size(17)):
        with pytest.raises(UsageError):
            wrong()
    for text in ("1920", "x", "19200000x5", ""):
        with pytest.raises(UsageError, match="WIDTHxHEIGHT"):
            parse_size(text)
    with pytest.raises(UsageError, match="does not change the size"):
        RestoreSettings(task=Task.DEBLUR, size=TargetSize(height=720))


@pytest.mark.parametrize(
    ("source", "aspect", "wanted", "expected"),
    [
        ((720, 576), Fraction(16, 15), 2, (1536, 1152)),  # PAL 4:3: wider
        ((720, 576), Fraction(64, 45), 2, (2048, 1152)),  # PAL 16:9
        ((720, 480), Fraction(8, 9), 4, (2880, 2160)),  # NTSC 4:3: higher
        ((720, 480), Fraction(32, 27), 3, (2560, 1440)),
        ((1440, 1080), Fraction(4, 3), 2, (3840, 2160)),  # HDV
        ((101, 67), Fraction(12, 11), 3, (330, 201)),  # what does not grow stays as it is, odd
        ((720, 576), Fraction(1), 2, (1440, 1152)),
        ((720, 576), Fraction(0), 2, (1440, 1152)),  # unknown
        ((720, 576), Fraction(16, 15), TargetSize(height=1080), (1440, 1080)),
        ((720, 576), Fraction(64, 45), TargetSize(width=1920), (1920, 1080)),
        ((720, 480), Fraction(8, 9), TargetSize(width=1920, height=1080), (1440, 1080)),
        ((1440, 1080), Fraction(4, 3), TargetSize(width=1920, height=1080), (1920, 1080)),  # one side alone grows
        ((720, 576), Fraction(16, 15), TargetSize(factor=1), (768, 576)),
        ((720, 576), Fraction(16, 15), TargetSize(factor=1.5), (1152, 864)),
    ],
)
def test_square_pixels(source: tuple[int, int], aspect: Fraction, wanted: object, expected: tuple[int, int]) -> None:
    size = wanted if isinstance(wanted, TargetSize) else None
    restore = replace(upscale(size, 4 if size else wanted), square=True)  # type: ignore[arg-type]
    assert result_size(source, restore, aspect=aspect) == expected
    turned = Orientation(turns=1)  # stored pixels as they were, shown on their side
    if size is None:
        assert result_size(source, restore, turned, aspect) == expected
    assert result_size(source, replace(restore, square=False, size=None, scale=2), aspect=aspect) == (
        2 * source[0],
        2 * source[1],
    )


def test_square_pixels_that_would_shrink_a_side_are_refused() -> None:
    with pytest.raises(UsageError, match="the result would be 640x480, the video is 720x480"):
        result_size((720, 480), replace(upscale(TargetSize(height=480)), square=True), aspect=Fraction(8, 9))
    for task in (Task.DEBLUR, Task.INPAINT):
        with pytest.raises(UsageError, match=f"{task} does not change the size. Remove --square"):
            RestoreSettings(task=task, square=True)


@pytest.mark.parametrize(
    ("aspect", "turned", "words", "size"),
    [
        ("16/15", 0, ["-s", "2"], (154, 96)),
        ("8/9", 0, ["-s", "2"], (144, 96 * 9 // 8)),
        ("4/3", 0, ["-s", "1"], (96, 48)),
        ("4/3", 90, ["-s", "2"], (192, 96)),
        ("1/1", 0, ["-s", "2"], (144, 96)),
        ("0/1", 0, ["-s", "2"], (144, 96)),
    ],
)
def test_the_command_makes_pixels_square(
    vrx: Command, tmp_path: Path, aspect: str, turned: int, words: list[str], size: tuple[int, int]
) -> None:
    """HDV on its side, too: a circle of the source is one in the result."""
    circle = "color=black:size=72x48:rate=25,geq=lum='255*lt(hypot((X-35.5)*ASPECT,Y-23.5),16)':cb=128:cr=128"
    ratio = str(float(Fraction(aspect)) or 1.0)
    filters = f"{circle.replace('ASPECT', ratio)},setsar={aspect}"
    source = ["-y", "-f", "lavfi", "-i", filters, "-frames:v", "2", "-c:v", "mpeg4", "-q:v", "2"]
    FFmpegProcess([*source, str(tmp_path / "plain.mp4")]).finish()
    turn = ["-display_rotation", str(turned)] if turned else []
    FFmpegProcess(["-y", *turn, "-i", str(tmp_path / "plain.mp4"), "-c", "copy", str(tmp_path / "in.mp4")]).finish()
    done = vrx("upscale", "in.mp4", *words, "--square", "-o", "out.mp4")
    assert done.returncode == 0, done.stderr
    assert ("with square pixels" in done.stderr) == (aspect not in ("1/1", "0/1"))
    with av.open(str(tmp_path / "out.mp4")) as box:
        stream = box.streams.video[0]
        assert stream.sample_aspect_ratio == 1
        picture = next(box.decode(stream))
        luma = picture.to_ndarray(format="gray").astype(float)
    assert (picture.width, picture.height) == size
    assert abs(int(picture.rotation)) == turned
    wide, high = ((luma > 128).any(axis).sum() for axis in (0, 1))
    assert abs(int(wide) - int(high)) <= 4


def test_resizing_is_said_and_keeps_a_plain_picture_plain() -> None:
    assert size_note((64, 48), (128, 96), upscale(None, 2)) == ()
    assert size_note((64, 48), (128, 96), upscale(TargetSize(height=96), 2)) == ()
    (note,) = size_note((64, 48), (120, 90), upscale(TargetSize(height=90), 2))
    assert note.text == "enlarged by 2, then resized to 120x90"
    picture = torch.full((3, 8, 8), 0.25)
    assert resize(picture, (8, 8)) is picture
    assert torch.allclose(resize(picture, (6, 5)), torch.full((3, 5, 6), 0.25), atol=1e-6)


@pytest.mark.parametrize(
    ("words", "name", "size"),
    [
        (["--height", "90"], "a.h90.mkv", (120, 90)),
        (["--width", "128"], "a.w128.mkv", (128, 96)),
        (["--size", "200x100"], "a.200x100.mkv", (134, 100)),
        (["-s", "1.5"], "a.x1.5.mkv", (96, 72)),
        (["--height", "300", "--blend", "0.5"], "a.h300.mkv", (400, 300)),
    ],
)
def test_the_command_makes_results_of_that_size(
    vrx: Command, clip: ClipMaker, tmp_path: Path, words: list[str], name: str, size: tuple[int, int]
) -> None:
    source = read(clip("a.mkv", frames=2)).frames
    done = vrx("upscale", "a.mkv", *words)
    assert done.returncode == 0, done.stderr
    found = read(tmp_path / name).frames
    assert found.shape[1:3] == (size[1], size[0])
    scale = 4 if size[1] > 192 else 3 if size[1] > 96 else 2
    said = f"enlarged by {scale}, then resized to {size[0]}x{size[1]}"
    assert (said in done.stderr) == (size != (128, 96))
    assert abs(float(np.mean(found)) - float(np.mean(source))) < 2


def test_a_model_of_one_scale_is_resized_once(vrx: Command, clip: ClipMaker) -> None:
    clip("a.mkv", frames=1)
    done = vrx("upscale", "a.mkv", "--height", "90", "--model", "instavsr-small")
    assert done.returncode == 0, done.stderr
    assert "enlarged by 4, then resized to 120x90" in done.stderr
    assert "times the source" not in done.stderr


def test_sizes_that_contradict_each_other_are_one_line(vrx: Command, clip: ClipMaker) -> None:
    clip("a.mkv", frames=2)
    for words in (["-s", "2", "--height", "90"], ["--size", "9x9", "--width", "90"], ["--height", "20"]):
        done = vrx("upscale", "a.mkv", *words)
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1
