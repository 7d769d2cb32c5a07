"""Sizes people think in: what the network enlarges by, and what the result measures."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.clips import ClipMaker, read
from tests.conftest import Command
from vrx.errors import UsageError
from vrx.geometry import TargetSize, choose_size, parse_size
from vrx.media.orientation import Orientation
from vrx.pipeline.convert import resize
from vrx.pipeline.sizing import choose_scale, fit, result_size, size_note
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
