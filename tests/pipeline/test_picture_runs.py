"""Numbered pictures: which are the frames of one video, and what commands make of folders of them."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Command
from vrx import api
from vrx.errors import InputError, UsageError
from vrx.pipeline.inputs import Choice, Expansion, Input, expand_inputs, to_path
from vrx.pipeline.picture_runs import LEAST_RUN, find_runs


def write_pictures(folder: Path, names: Sequence[str], size: tuple[int, int] = (16, 16)) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        Image.new("RGB", size).save(folder / name)


def frames(count: int, form: str = "f_{:04d}.png") -> list[str]:
    return [form.format(number) for number in range(1, count + 1)]


def expand(*words: str, sequence: bool = False) -> Expansion:
    return expand_inputs(words, Choice(sequence=sequence))


def notes(expansion: Expansion) -> list[str]:
    return [note.text for _, note in expansion.notes]


@pytest.mark.parametrize(
    ("names", "patterns"),
    [
        (["0001.png", "0002.png"], ["%04d.png"]),
        (["9.png", "10.png"], ["%d.png"]),
        (["0999.x2.png", "1000.x2.png"], ["%04d.x2.png"]),  # results of a run: the last number does not differ
        (["a1_01.png", "a1_02.png", "a2_01.png", "a2_02.png"], ["a1_%02d.png", "a2_%02d.png"]),
        (["2024-05-01.jpg", "2023-06-02.jpg", "cover.jpg", "clip1.mkv", "clip2.mkv"], []),
        (["5%d_1.png", "5%d_2.png"], []),  # would be read as another pattern
        (["1.heic", "2.heic"], []),
    ],
)
def test_runs_are_told_by_the_last_number_that_differs(names: list[str], patterns: list[str]) -> None:
    assert [run.pattern.name for run in find_runs(Path("in") / name for name in names)] == patterns


def test_a_folder_of_frames_stays_a_batch_and_is_pointed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "in", frames(LEAST_RUN))
    text = f"in/f_%04d.png: {LEAST_RUN} numbered pictures, taken one by one; for one video of them add --sequence"
    for words in (["in"], ["in/*.png"], [f"in/{name}" for name in frames(LEAST_RUN)]):
        found = expand(*words)
        assert len(found.inputs) == LEAST_RUN
        assert notes(found) == [text]


@pytest.mark.parametrize("spoil", ["size", "hole", "few"])
def test_photographs_are_not_pointed_out(tmp_path: Path, spoil: str) -> None:
    write_pictures(tmp_path / "in", frames(LEAST_RUN + 2, "IMG_{:04d}.jpg"))
    if spoil == "size":
        write_pictures(tmp_path / "in", ["IMG_0003.jpg"], (16, 24))
    else:
        for number in [5] if spoil == "hole" else range(LEAST_RUN, LEAST_RUN + 3):
            (tmp_path / "in" / f"IMG_{number:04d}.jpg").unlink()
    assert notes(expand(str(tmp_path / "in"))) == []


def test_a_sequence_is_one_input_and_the_rest_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "in", [*frames(3), *frames(2, "g.{}.png"), "cover.png"])
    write_pictures(tmp_path / "in", [f"f_{number:04d}.x2.png" for number in (1, 2, 3)], (32, 32))  # results
    found = expand("in", sequence=True)
    assert found.inputs == (Input("in/cover.png"), Input("in/f_%04d.png"), Input("in/g.%d.png"))
    assert [one.numbered for one in found.inputs] == [False, True, True]
    with pytest.raises(UsageError, match="2 of the 3 pictures in/f_%04d"):
        expand("in/f_0001.png", "in/f_0002.png", sequence=True)
    (tmp_path / "film.mkv").touch()
    for other in ("in/cover.png", "film.mkv"):
        assert notes(expand(other, sequence=True)) == ["--sequence: no input is one of several numbered pictures"]


def test_previews_and_masks_of_a_sequence_are_no_inputs(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", frames(2, "{:04d}.png"))
    for name in ("in.x2.preview.png", "in.x2.preview.mp4", "in.mask.mkv", "in.mask.png", "film.mkv", "film.mask.mkv"):
        (tmp_path / "in" / name).touch()
    found = expand(str(tmp_path / "in"))
    assert [Path(one.source).name for one in found.inputs] == ["0001.png", "0002.png", "film.mkv"]


def test_what_takes_one_video_takes_a_folder_of_frames(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_pictures(folder, [*frames(3), *(f"f_{number:04d}.x2.png" for number in (1, 2, 3)), "cover.png"])
    assert to_path(folder) == folder / "f_%04d.png"
    assert api.probe(folder, fps=12).video.rate == 12
    assert [scene.end for scene in api.detect_scenes(folder)] == [3]
    assert len(api.compare(folder, folder / "f_%04d.x2.png", perceptual=False).frames) == 3
    write_pictures(folder, frames(2, "g_{}.png"))
    with pytest.raises(InputError, match="2 numbered sequences") as several:
        to_path(folder)
    assert several.value.hint == f"Name one: {folder}/f_%04d.png, {folder}/g_%d.png"
    for name in [*frames(3), "g_1.png", "g_2.png"]:
        (folder / name).unlink()
    (folder / "f_0001.x2.png").rename(folder / "only.png")
    for number in (2, 3):
        (folder / f"f_{number:04d}.x2.png").unlink()
    with pytest.raises(InputError, match="a folder without numbered pictures"):
        to_path(folder)


def test_standard_input_is_refused_where_one_file_is_looked_at() -> None:
    for look in (api.probe, api.detect_scenes):
        with pytest.raises(UsageError, match="read standard input"):
            look("-")


def test_a_folder_of_frames_becomes_a_video_at_a_rate(tmp_path: Path, vrx: Command) -> None:
    write_pictures(tmp_path / "in", frames(3))
    refused = vrx("upscale", "in", "-s", "2", "-o", "r.mkv", "--device", "cpu")
    assert refused.returncode == 2
    assert "For one video of all these pictures add --sequence" in refused.stderr
    done = vrx("upscale", "in", "--sequence", "--fps", "12", "-s", "2", "-o", "r.mkv", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    result = api.probe(tmp_path / "r.mkv").video
    assert result.size == (32, 32)
    assert result.rate == 12
    assert vrx("info", "in", "r.mkv", "--sequence", "--fps", "12").stdout.count("at 12.000 fps") == 2
    assert "is a video" in vrx("info", "r.mkv", "--fps", "12").stderr


def test_a_mask_of_a_folder_is_named_after_it_and_its_command_takes_the_folder(tmp_path: Path, vrx: Command) -> None:
    write_pictures(tmp_path / "in", frames(3, "{:04d}.png"), (64, 64))
    found = vrx("mask", "in", "--write-empty")
    assert "vrx inpaint in --mask in/in.mask.mkv --sequence" in found.stderr
    assert (tmp_path / "in" / "in.mask.mkv").exists()


def test_a_dry_run_points_frames_out_as_well(tmp_path: Path, vrx: Command) -> None:
    write_pictures(tmp_path / "in", frames(LEAST_RUN))
    words = ("upscale", "in", "-s", "2", "--dry-run", "--device", "cpu")
    assert "for one video of them add --sequence" in vrx(*words).stderr
    assert "add --sequence" not in vrx(*words, "-q").stderr
