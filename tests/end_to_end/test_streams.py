"""Standard streams as shells, service managers and other systems leave them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clips import ClipMaker, read
from tests.conftest import ROOT
from tests.forked import write_command

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def shell(folder: Path, words: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    """A shell's command line; `vrx` in it is the real command, from the start of Python on if a stream is closed."""
    command = f"{sys.executable} -m vrx" if "&-" in words else str(write_command(folder.parent))
    return subprocess.run(
        ["sh", "-c", words.replace("vrx", command, 1)],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("streams", ["2>/dev/full", "<&- >&- 2>&-"])
def test_messages_that_cannot_be_written_cost_nothing(clip: ClipMaker, tmp_path: Path, streams: str) -> None:
    clip("in.mkv", frames=3)
    done = shell(tmp_path, f"vrx upscale in.mkv -s 2 --device cpu -v -o out.mkv {streams}")
    assert done.returncode == 0
    assert len(read(tmp_path / "out.mkv").times) == 3


@pytest.mark.parametrize(
    ("words", "stream"), [("info in.mkv", ">/dev/full"), ("info in.mkv --json", ">&-"), ("--version", ">/dev/full")]
)
def test_results_that_cannot_be_written_are_a_failure(clip: ClipMaker, tmp_path: Path, words: str, stream: str) -> None:
    clip("in.mkv", frames=1)
    done = shell(tmp_path, f"vrx {words} {stream}")
    assert done.returncode == 6
    assert done.stderr.startswith(b"vrx: cannot write standard output: ")
    assert done.stderr.count(b"\n") == 1


def test_a_video_for_a_stream_that_takes_none(clip: ClipMaker, tmp_path: Path) -> None:
    clip("in.mkv", frames=3)
    done = shell(tmp_path, "vrx upscale in.mkv -s 2 --device cpu -q -o - >&-")
    assert done.returncode == 6
    assert done.stderr.startswith(b"vrx: cannot write standard output: ")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("name", ["in.mkv", "in.png"])
def test_a_reader_that_has_exited_is_one_line_and_its_code(clip: ClipMaker, tmp_path: Path, name: str) -> None:
    clip(name, frames=1) if name == "in.mkv" else clip(name, frames=1, codec="png", pix_fmt="rgb24")
    done = shell(tmp_path, f"{{ vrx upscale {name} -s 2 -q -o -; echo $? > code; }} | true")
    assert (tmp_path / "code").read_text() == "141\n"
    assert done.stderr == b"vrx: cannot write standard output: its reader has exited\n"


def test_standard_input_is_not_for_jobs_side_by_side(clip: ClipMaker, tmp_path: Path) -> None:
    clip("in.mkv", frames=1)
    done = shell(tmp_path, "vrx upscale - in.mkv -s 2 --jobs 2 -o out/ < in.mkv")
    assert done.returncode == 2
    message = b"vrx: --jobs and standard input are mutually exclusive. Save it to a file, or remove --jobs\n"
    assert done.stderr == message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("encoding", ["cp1252", "ascii:strict"])
def test_names_are_shown_in_any_encoding(clip: ClipMaker, tmp_path: Path, encoding: str) -> None:
    name = clip("ünï 動画.mkv", frames=1).name
    odd = os.fsdecode(b"not utf-8 \xff.mkv")
    clip("plain.mkv", frames=1).rename(tmp_path / odd)
    done = subprocess.run(
        [sys.executable, "-m", "vrx", "info", name, odd, "動.mkv"], cwd=tmp_path, capture_output=True, timeout=60,
        check=False, env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert done.returncode == 7, done.stderr
    assert done.stdout.count(b"64x48") == 2
    assert done.stderr.count(b"\n") == 1
    assert b"Error" not in done.stderr


def test_a_closed_stream_is_not_the_next_file_opened(tmp_path: Path) -> None:
    """Else what libraries log would be written into it."""
    code = "from vrx.cli import output; output.prepare(); print(open('file', 'wb').fileno(), file=open('n', 'w'))"
    words = ["sh", "-c", f'"{sys.executable}" -c "{code}" <&- >&- 2>&-']
    subprocess.run(words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60, check=True)
    assert int((tmp_path / "n").read_text()) > 2
