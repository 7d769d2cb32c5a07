"""The log of --log: what is in it, that it is added to, and what happens where it cannot be written."""

import os
import re
from pathlib import Path

import pytest

from tests.clips import ClipMaker
from tests.conftest import Command
from vrx.cli import transcript
from vrx.cli.render import error_line
from vrx.errors import OutputError, VrxError

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S")


def test_a_log_has_everything_that_is_printed_and_is_added_to(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    clip("a b.mkv", frames=2)
    (tmp_path / "bad.mkv").write_text("no video")
    words = ("upscale", "a b.mkv", "bad.mkv", "-s", "2", "-n", "--log", "night.log")
    done = vrx(*words)
    first = (tmp_path / "night.log").read_text().splitlines()
    assert vrx(*words, "-q", "--json").returncode == 7
    lines = (tmp_path / "night.log").read_text().splitlines()
    assert lines[: len(first)] == first
    assert all(LINE.match(line) for line in lines)
    said = [line[20:] for line in first]
    assert re.fullmatch(r"vrx \S+: vrx upscale 'a b.mkv' bad.mkv -s 2 -n --log night.log", said[0])
    for line in done.stderr.splitlines():
        if line.startswith(("vrx: ", "a b", "1 of 2")) and "  " not in line:
            assert line in said, line
    assert any(re.fullmatch(r"a b.mkv, done, 0:\d\d, 2 frames to a b.x2.mkv", line) for line in said)
    assert said[-1] == "exit code 7"
    again = [line[20:] for line in lines[len(first) :]]
    assert "a b.mkv: skipped, a b.x2.mkv exists" in again  # quiet and JSON are for the screen
    assert sum(line.startswith("vrx: cannot read bad.mkv") for line in again) == 1


def test_a_log_beside_the_videos_of_a_folder_is_none_of_its_files(
    vrx: Command, clip: ClipMaker, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    clip("in/a.mkv", frames=1)
    for word in ("in", "in/*"):
        done = vrx("upscale", word, "-s", "2", "--dry-run", "--log", "in/run.log")
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "skipping" not in (tmp_path / "in" / "run.log").read_text()


def test_wrong_values_are_in_the_log(vrx: Command, tmp_path: Path) -> None:
    assert vrx("upscale", "none.mkv", "--crf", "99", "--log", "x.log").returncode == 2
    text = (tmp_path / "x.log").read_text()
    assert "vrx: --crf 99 is out of range" in text
    assert text.endswith("exit code 2\n")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none/x.log", "cannot write the log none/x.log: No such file or directory"),
        ("notes.txt", "cannot add to notes.txt, which is not a log of vrx"),
        (".", "cannot write the log .: Is a directory"),
    ],
)
def test_a_log_that_cannot_be_written_is_said_before_work(
    vrx: Command, clip: ClipMaker, tmp_path: Path, name: str, words: str
) -> None:
    clip("in.mkv", frames=1)
    (tmp_path / "notes.txt").write_text("mine")
    before = contents(tmp_path)
    done = vrx("upscale", "in.mkv", "-s", "2", "--log", name)
    assert (done.returncode, len(done.stderr.splitlines())) == (6, 1)
    assert words in done.stderr
    assert contents(tmp_path) == before


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--log x.txt --trace x.txt", "--log and --trace are both x.txt"),
        ("--log x.txt --trace way/x.txt", "--log and --trace are both way/x.txt"),
        ("--log x.txt --html x.txt", "--log and --html are both x.txt"),
        ("--log in.mkv", "the log in.mkv has the name of a video or picture"),
        ("--log in.x2.mkv", "the log in.x2.mkv has the name of a video or picture"),
        ("--log link.txt", "the log link.txt has the name of a video or picture"),
        ("--log cuts.txt --scenes cuts.txt", "--log is the cut list cuts.txt"),
        ("--trace in.mkv", "--trace is the input in.mkv"),
        ("--trace way/in.mkv", "--trace is the input in.mkv"),
        ("--trace out.mkv -o out.mkv", "--trace is the output out.mkv"),
        ("--log x.log --trace in.x2.mkv", "the output in.x2.mkv is the file of --trace"),
    ],
)
def test_a_file_is_written_for_one_thing_only(
    vrx: Command, clip: ClipMaker, tmp_path: Path, line: str, said: str
) -> None:
    clip("in.mkv", frames=1)
    (tmp_path / "cuts.txt").touch()
    (tmp_path / "way").symlink_to(tmp_path)
    (tmp_path / "link.txt").symlink_to("in.x2.mkv")
    before = contents(tmp_path)
    done = vrx("upscale", "in.mkv", "-s", "2", *line.split())
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert said in done.stderr
    assert contents(tmp_path).keys() - {"x.log"} == before.keys()


def test_a_trace_is_no_input_of_a_folder(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    clip("in.mkv", frames=1)
    done = vrx("upscale", ".", "-s", "2", "--trace", "in.mkv")
    assert done.returncode == 2
    assert "the file of --trace, in.mkv, is the input in.mkv" in done.stderr


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs a device that takes anything")
def test_devices_may_be_shared(vrx: Command, clip: ClipMaker) -> None:
    clip("in.mkv", frames=1)
    done = vrx("upscale", "in.mkv", "-s", "2", "--log", "/dev/null", "--html", "page.html", "-n")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_a_full_disk_ends_the_log_and_not_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    transcript.open_log(Path("/dev/full"), debug=False)
    for _ in range(2):
        error_line(VrxError("something"))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "vrx: something",
        f"vrx: cannot write the log /dev/full: {os.strerror(28)}. The run continues without it",
        "vrx: something",
    ]
    assert not transcript.active()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_a_log_only_where_it_is_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match=f"cannot write the log {pipe}: nothing reads this pipe"):
        transcript.open_log(pipe, debug=False)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    transcript.open_log(pipe, debug=False)
    error_line(VrxError("something"))
    transcript.close()
    assert os.read(reading, 1000).endswith(b"vrx: something\n")
    os.close(reading)
