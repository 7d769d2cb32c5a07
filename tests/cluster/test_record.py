"""The record of a batch: what is complete and unchanged is not done again."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.pipeline.jobs import make_job
from vrx.cluster.record import FOLDER, BatchRecord
from vrx.environment import Environment


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRX_HOME", str(tmp_path / "home"))


def record_of(folder: Path, scale: int = 2, skip_existing: bool = False) -> BatchRecord:
    """The record of two jobs, as a process that begins finds it."""
    jobs = [make_job(folder / f"{name}.mkv", folder / f"{name}.out.mkv", overwrite=scale == 3) for name in "ab"]
    jobs = [replace(job, output=replace(job.output, skip_existing=skip_existing)) for job in jobs]
    return BatchRecord(jobs, [Path(str(job.output.path)) for job in jobs])


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A folder with two inputs and two results, the first one of 90 frames and recorded."""
    for name in ("a.mkv", "a.out.mkv", "b.mkv", "b.out.mkv"):
        (tmp_path / name).write_bytes(name.encode())
    record_of(tmp_path).add(0, 90)
    return tmp_path


def test_a_recorded_result_is_known_to_the_next_run(recorded: Path) -> None:
    assert record_of(recorded).frames_of(0) == 90
    assert record_of(recorded, skip_existing=True).frames_of(0) == 90  # as --until and -n set it
    assert record_of(recorded).frames_of(1) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "a.mkv").write_bytes(b"another film"),
        lambda folder: (folder / "a.out.mkv").write_bytes(b"another result"),
        lambda folder: (folder / "a.out.mkv").unlink(),
        lambda folder: (folder / "a.mkv").unlink(),
    ],
    ids=["input", "result", "no result", "no input"],
)
def test_what_changed_meanwhile_is_done_again(recorded: Path, change: Callable[[Path], object]) -> None:
    change(recorded)
    assert record_of(recorded).frames_of(0) is None


def test_the_same_size_at_another_time_is_another_file(recorded: Path) -> None:
    os.utime(recorded / "a.mkv", ns=(1, 1))
    assert record_of(recorded).frames_of(0) is None


def test_other_settings_are_another_batch(recorded: Path) -> None:
    assert record_of(recorded, scale=3).frames_of(0) is None


def test_a_result_is_recorded_before_it_is_renamed(recorded: Path) -> None:
    staged = recorded / "staged.mkv"
    staged.write_bytes(b"the result, still under another name")
    record_of(recorded).add(1, 16, staged)
    assert record_of(recorded).frames_of(1) is None
    staged.replace(recorded / "b.out.mkv")
    assert record_of(recorded).frames_of(1) == 16
    assert record_of(recorded).frames_of(0) == 90


@pytest.mark.parametrize("content", ["", "[]", "{", '{"0": 90}', '{"0": ["90", null]}', '{"0": [90, null]}'])
def test_a_damaged_record_is_none(recorded: Path, content: str) -> None:
    (path,) = (Environment.read().cache / FOLDER).iterdir()
    path.write_text(content)
    assert record_of(recorded).frames_of(0) is None


def test_a_batch_that_is_complete_leaves_no_record(recorded: Path) -> None:
    record = record_of(recorded)
    record.remove()
    record.remove()
    assert list((Environment.read().cache / FOLDER).iterdir()) == []
