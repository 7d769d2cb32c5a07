"""--fps: the rate of numbered pictures, for every command that reads them."""

import csv
import json
from fractions import Fraction
from io import StringIO
from itertools import pairwise
from pathlib import Path

import pytest

import vrx as package
from tests.clips import ClipMaker, read, save_picture, scenery
from tests.conftest import Command
from vrx.errors import UsageError
from vrx.rates import to_rate

SIZE = (48, 32)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Eight numbered pictures of one shot."""
    for number in range(1, 9):
        save_picture(tmp_path / f"f_{number:02d}.png", scenery(number, SIZE), "rgb24")
    return tmp_path / "f_%02d.png"


@pytest.mark.parametrize(
    ("given", "rate"),
    [
        ("25", Fraction(25)),
        ("24000/1001", Fraction(24000, 1001)),
        ("23.976", Fraction(24000, 1001)),
        ("29.97", Fraction(30000, 1001)),
        (59.94, Fraction(60000, 1001)),
        ("12.5", Fraction(25, 2)),
        (Fraction(30000, 1001), Fraction(30000, 1001)),
        (None, None),
    ],
)
def test_rates_are_exact(given: float | str | None, rate: Fraction | None) -> None:
    assert to_rate(given) == rate


@pytest.mark.parametrize(
    "given", ["fast", "0", "-25", "24/0", "1001", "nan", float("inf"), pytest.param(10**400, id="huge"), True, ""]
)
def test_other_values_are_refused(given: float | str) -> None:
    with pytest.raises(UsageError, match="--fps"):
        to_rate(given)


def test_a_result_has_the_rate_of_its_pictures(pictures: Path, vrx: Command) -> None:
    done = vrx("upscale", pictures.name, "-s", "2", "--fps", "24000/1001", "-o", "out.mp4")
    assert done.returncode == 0, done.stderr
    assert read(pictures.with_name("out.mp4")).times == [n * Fraction(1001, 24000) for n in range(8)]
    assert package.probe(pictures.with_name("out.mp4")).video.rate == Fraction(24000, 1001)


def test_times_of_a_part_are_at_that_rate(pictures: Path, vrx: Command) -> None:
    words = ("upscale", pictures.name, "-s", "2", "--fps", "2", "--start", "1", "--end", "3", "-o", "out/f_%02d.png")
    pictures.with_name("out").mkdir()
    done = vrx(*words)
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in pictures.with_name("out").iterdir())
    assert names == ["f_03.png", "f_04.png", "f_05.png", "f_06.png"]


def test_the_page_of_a_run_reads_both_at_that_rate(pictures: Path, vrx: Command) -> None:
    words = ("--fps", "4", "-s", "2", "--start", "0.5", "--html", "page.html", "-o", "o_%02d.png")
    done = vrx("upscale", pictures.name, *words)
    assert done.returncode == 0, done.stderr
    assert "From 0.00 to 1.25 s" in pictures.with_name("page.html").read_text()


def test_a_preview_shows_places_at_that_rate(pictures: Path, vrx: Command) -> None:
    done = vrx("preview", pictures.name, "-s", "2", "--fps", "4", "--at", "1.5", "--length", "0.5", "--json")
    assert done.returncode == 0, done.stderr
    (found,) = [line for line in map(json.loads, done.stdout.splitlines()) if line["type"] == "previewed"]
    assert found["places"] == [1.5]
    late = vrx("preview", pictures.name, "-s", "2", "--at", "1.5", "-y")
    assert (late.returncode, "ends at 0:00:00.333" in late.stderr) == (2, True)  # eight at 24 a second


@pytest.mark.parametrize("name", ["in.mkv", "f_01.png", "."])
def test_what_is_not_numbered_has_no_rate(name: str, pictures: Path, clip: ClipMaker, vrx: Command) -> None:
    clip("in.mkv", frames=2)
    done = vrx("upscale", name, "--fps", "25")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--fps is for numbered pictures" in done.stderr
    if name != ".":
        with pytest.raises(UsageError, match="--fps is for numbered pictures"):
            package.upscale(pictures.with_name(name), pictures.with_name("out.mkv"), fps=25)


@pytest.mark.parametrize("command", ["upscale", "info"])
def test_pictures_taken_one_by_one_are_told_how_to_be_a_video(command: str, pictures: Path, vrx: Command) -> None:
    done = vrx(command, ".", "--fps", "25")
    refusal = "vrx: --fps is for numbered pictures as one video, and f_%02d.png are taken one by one. Add --sequence"
    assert (done.returncode, done.stdout, done.stderr.splitlines()) == (2, "", [refusal])


def test_in_a_batch_it_is_the_rate_of_the_numbered_pictures(pictures: Path, clip: ClipMaker, vrx: Command) -> None:
    clip("in.mkv", frames=3)
    done = vrx("restore", "in.mkv", pictures.name, "--fps", "10", "-o", "{stem}.out.mkv")
    assert done.returncode == 0, done.stderr
    assert read(pictures.with_name("in.out.mkv")).times == [Fraction(n, 25) for n in range(3)]
    assert read(pictures.with_name("f_%02d.out.mkv")).times == [Fraction(n, 10) for n in range(8)]


def test_a_default_rate_leaves_videos_alone(pictures: Path, clip: ClipMaker, vrx: Command) -> None:
    clip("in.mkv", frames=3)
    default = {"VRX_DEFAULT_FPS": "10"}
    for words in (("restore", "in.mkv"), ("preview", "in.mkv", "-s", "2", "--vary", "blend=0.5,1", "--at", "0")):
        done = vrx(*words, env=default)
        assert done.returncode == 0, done.stderr
    assert read(pictures.with_name("in.x1.mkv")).times == [Fraction(n, 25) for n in range(3)]
    assert vrx("restore", pictures.name, "-o", "out.mkv", env=default).returncode == 0
    assert read(pictures.with_name("out.mkv")).times == [Fraction(n, 10) for n in range(8)]


def test_scenes_and_masks_have_times_at_that_rate(pictures: Path, vrx: Command) -> None:
    rows = list(csv.DictReader(StringIO(vrx("scenes", pictures.name, "--fps", "4", "--csv").stdout)))
    assert float(rows[-1]["end_seconds"]) == 2
    done = vrx("mask", pictures.name, "--fps", "4", "--write-empty", "-o", "m.mkv")
    assert done.returncode == 0, done.stderr
    assert "--mask m.mkv --fps 4" in done.stderr
    assert [after - before for before, after in pairwise(read(pictures.with_name("m.mkv")).times)] == [
        Fraction(1, 4)
    ] * 7
    assert vrx("scenes", "m.mkv", "--fps", "4").returncode == 2


def test_pictures_are_compared_with_a_video_at_that_rate(pictures: Path, vrx: Command) -> None:
    assert vrx("restore", pictures.name, "--fps", "4", "-o", "out.mkv", "--codec", "ffv1").returncode == 0
    rows = list(csv.DictReader(StringIO(vrx("compare", pictures.name, "out.mkv", "--fps", "4", "--csv").stdout)))
    assert {row["frame"] for row in rows} == {str(n) for n in range(8)}
    assert vrx("compare", "out.mkv", "out.mkv", "--fps", "4").returncode == 2


def test_python_reads_them_at_that_rate(pictures: Path) -> None:
    with package.VideoReader(pictures, fps="23.976", start=Fraction(2002, 24000)) as video:
        assert video.fps == Fraction(24000, 1001)
        assert next(frame.time for frame in video) == Fraction(2002, 24000)
    assert package.detect_scenes(pictures, fps=2)[-1].end_time == 4
