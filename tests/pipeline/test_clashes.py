"""No result replaces another one, or anything that is read."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from vrx.errors import UsageError
from vrx.pipeline import clashes
from vrx.pipeline.clashes import refuse_clashes
from vrx.pipeline.paths import find_destination
from vrx.settings import Job, ModelSettings, OutputSettings, RestoreSettings, SelectionSettings, Task


def job(source: str, output: str | None = None) -> Job:
    return Job(
        source=source,
        model=ModelSettings(),
        restore=RestoreSettings(task=Task.UPSCALE, scale=2),
        selection=SelectionSettings(),
        output=OutputSettings(path=output, overwrite=True),
    )


def compare(*jobs: Job) -> None:
    refuse_clashes([(one, find_destination(one, None if one.source == "-" else Path(one.source), "m")) for one in jobs])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VRX_WEIGHTS_FILE", str(tmp_path / "mine.mkv"))
    for name in (
        "a.mkv",
        "a.mp4",
        "d/a.mp4",
        "a.x2.mkv",
        "m.png",
        "masks/m_1.png",
        "cuts.mkv",
        "ck/part.mkv",
        "mine.mkv",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    for number in range(1, 4):
        (tmp_path / f"f_{number:03d}.png").write_text(str(number))
    (tmp_path / "soft.mkv").symlink_to("a.mkv")
    os.link(tmp_path / "a.mkv", tmp_path / "hard.mkv")
    (tmp_path / "way").symlink_to(tmp_path)
    (tmp_path / "out").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "output",
    ["a.mkv", "./a.mkv", "out/../a.mkv", "way/a.mkv", "soft.mkv", "hard.mkv", "mine.mkv"],
)
def test_a_result_is_not_what_is_read(output: str) -> None:
    with pytest.raises(UsageError, match="the output"):
        compare(job("a.mkv", output))


@pytest.mark.parametrize("output", ["f_%03d.png", "way/f_%03d.png", "out/../f_%d.png", "f_002.png"])
def test_a_sequence_is_not_what_is_read(output: str) -> None:
    with pytest.raises(UsageError, match=r"f_%03d\.png"):
        compare(job("a.mkv", output), job("f_%03d.png", "out/"))


@pytest.mark.parametrize(
    ("mask", "output"),
    [("m.png", "m.png"), ("masks", "masks/m_1.png"), ("masks", "masks/m_%d.png"), ("masks/m_%d.png", "masks/m_1.png")],
)
def test_a_mask_is_not_replaced(mask: str, output: str) -> None:
    wanted = job("a.mkv", output)
    wanted = replace(wanted, restore=RestoreSettings(task=Task.INPAINT, mask=Path(mask)))
    with pytest.raises(UsageError, match=f"is the mask {mask}"):
        compare(wanted)


def test_cut_lists_and_checkpoints_are_not_replaced() -> None:
    listed = replace(job("a.mkv", "cuts.mkv"), selection=SelectionSettings(scenes="cuts.mkv"))
    with pytest.raises(UsageError, match="is the cut list"):
        compare(listed)
    for name in ("ck", "ck/part.mkv"):
        with pytest.raises(UsageError, match=f"is the checkpoint {name}"):
            compare(replace(job("a.mkv", "ck/part.mkv"), model=ModelSettings(name=name)))


@pytest.mark.parametrize(
    "jobs",
    [
        [job("a.mkv", "out/{stem}.mkv"), job("d/a.mp4", "out/{stem}.mkv")],
        [job("a.mp4", "out/"), job("d/a.mp4", "out/")],
        [job("a.mp4", "out/"), job("d/a.mp4", "way/out/")],
        [job("a.mp4", "new/"), job("d/a.mp4", "way/new/")],
        [job("a.avi"), job("a.flv")],
        [job("a.mkv", "o_%03d.png"), job("a.mp4", "way/o_%d.png")],
        [job("a.mkv", "o_%03d.png"), job("f_001.png", "o_004.png")],
        [job("f_001.png", "o_004.png"), job("a.mkv", "o_%03d.png")],
        [job("f_%03d.png"), job("f_001.png")],
        [job("-", "-"), job("a.mkv", "-")],
    ],
)
def test_two_results_are_not_one_file(jobs: list[Job]) -> None:
    with pytest.raises(UsageError, match="cannot share"):
        compare(*jobs)


def test_inputs_with_one_result_get_a_hint_that_helps() -> None:
    with pytest.raises(UsageError) as refused:
        compare(*(job(name, "out/a.x2.mp4") for name in ("way/a.mkv", "off/a.mkv")))
    assert "use {stem}" in (refused.value.hint or "")


def test_numbered_pictures_for_one_video_get_their_pattern_as_a_hint() -> None:
    with pytest.raises(UsageError, match=r"For one video of all these pictures add --sequence, or name f_%03d\.png"):
        compare(job("f_001.png", "out/a.mp4"), job("f_002.png", "out/a.mp4"))


def test_an_input_is_named_once() -> None:
    with pytest.raises(UsageError, match=r"a\.mkv is named twice"):
        compare(job("a.mkv"), job("way/a.mkv"))


def test_a_result_is_not_another_input_whatever_their_order() -> None:
    for jobs in ([job("a.mkv"), job("a.x2.mkv")], [job("a.x2.mkv"), job("a.mkv")]):
        with pytest.raises(UsageError, match=r"a\.x2\.mkv is the input a\.x2\.mkv"):
            compare(*jobs)


def test_case_counts_where_the_file_system_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [job("a.mkv", "out/Clip.mkv"), job("a.mp4", "out/clip.mkv")]
    compare(*jobs)
    monkeypatch.setattr(clashes, "ignores_case", lambda folder: True)
    with pytest.raises(UsageError, match="cannot share"):
        compare(*jobs)


def test_different_files_are_left_alone() -> None:
    compare(job("a.mkv", "out/"), job("a.mp4"), job("f_%03d.png"), job("m.png"), job("-", "-"))
    compare(job("a.mkv", "o_%03d.png"), job("a.mp4", "o_%03d.jpg"), job("d/a.mp4", "out/o_%03d.png"))
