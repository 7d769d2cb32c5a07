"""Inputs with the same name but for the suffix: a batch of them runs, and every result has a name of its own."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.clips import ClipMaker, save_picture, scenery
from tests.conftest import Command
from tests.pipeline.jobs import make_job
from vrx.pipeline.paths import find_destination
from vrx.pipeline.same_names import Files, name_apart
from vrx.settings import Job


def find_files(job: Job) -> Files:
    return [find_destination(job, Path(job.source), "embedded")]


def named(sources: Sequence[str], output: str | None = None) -> tuple[list[str], str]:
    """The results of some inputs, and what is noted about them."""
    jobs = [make_job(source, None if output is None else output) for source in sources]  # type: ignore[arg-type]
    found, note = name_apart(jobs, find_files)
    return [str(file.path) for _, files in found for file in files if file], "" if note is None else note.text


@pytest.mark.parametrize(
    ("sources", "results"),
    [
        (["a.avi", "a.mp4"], ["a.avi.x2.mp4", "a.x2.mp4"]),
        (["a.mp4", "a.avi", "a.wmv"], ["a.x2.mp4", "a.avi.x2.mp4", "a.wmv.x2.mp4"]),
        (["a.avi", "a.wmv", "b.avi"], ["a.avi.x2.mp4", "a.wmv.x2.mp4", "b.x2.mp4"]),
        (["A.avi", "a.mp4"], ["A.avi.x2.mp4", "a.x2.mp4"]),  # many disks take A and a for the same
        (["a.MP4", "a.mp4"], ["a.MP4.x2.mp4", "a.x2.mp4"]),
        (["a.mov", "a.mp4", "a.mkv"], ["a.x2.mov", "a.x2.mp4", "a.x2.mkv"]),
        (["d/a.avi", "a.mp4"], ["d/a.x2.mp4", "a.x2.mp4"]),
        (["d/a.avi", "a.avi"], ["d/a.x2.mp4", "a.x2.mp4"]),
    ],
)
def test_results_that_would_share_a_name_keep_the_suffixes_of_their_inputs(
    sources: list[str], results: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found, text = named(sources)
    assert found == results
    assert (text != "") == any(name.count(".") > 2 for name in results)


def test_some_of_many_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert named([f"a.{suffix}" for suffix in ("mp4", "avi", "flv", "ogv", "wmv", "vob")])[1].endswith(
        ": a.avi.x2.mp4, a.flv.x2.mp4, a.ogv.x2.mp4 and 2 more"
    )


def test_templates_take_the_names_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert named(["a.avi", "d/a.mp4"], "{stem}.mp4")[0] == ["a.avi.mp4", "a.mp4"]
    assert named(["a.avi", "a.mp4"], "new/")[0] == ["new/a.avi.x2.mp4", "new/a.x2.mp4"]
    assert named(["a.avi", "a.mp4"], "one.mp4") == (["one.mp4", "one.mp4"], "")
    assert named(["a.avi", "d/a.avi"], "{stem}.mp4") == (["a.mp4", "a.mp4"], "")


def test_a_folder_of_them_is_restored_and_left_alone_the_next_time(clip: ClipMaker, vrx: Command) -> None:
    folder = clip.folder
    for name in ("a.avi", "a.mp4"):
        clip(name, frames=2, codec="mpeg4")
    save_picture(folder / "a.png", scenery(0, (64, 48)), "rgb24")
    done = vrx("upscale", ".", "-s", "2")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("named with it: a.avi.x2.mp4") == 1
    assert {path.name for path in folder.glob("a.*x2*")} == {"a.avi.x2.mp4", "a.x2.mp4", "a.x2.png"}
    again = vrx("upscale", ".", "-s", "2", "-n")
    assert again.returncode == 0, again.stderr
    assert len(list(folder.glob("a.*"))) == 6


def test_previews_have_names_of_their_own(clip: ClipMaker, vrx: Command) -> None:
    for name in ("a.mkv", "a.mp4"):
        clip(name, frames=2, codec="mpeg4")
    done = vrx("preview", "a.mkv", "a.mp4", "-s", "2", "--length", "frame")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in clip.folder.glob("*.png")} == {"a.mkv.x2.preview.png", "a.mp4.x2.preview.png"}
