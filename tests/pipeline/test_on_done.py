"""The command of --on-done: when it runs, what it is given, and what its failure means."""

import json
import signal
import time
from pathlib import Path

import pytest

from tests.clips import ClipMaker
from tests.conftest import Command
from tests.forked import Forked
from vrx import events
from vrx.events import Event
from vrx.pipeline.on_done import run_command

NASTY = "a; touch oops $(touch oops) `touch oops` 'q' \"d\" $HOME.mkv"
SAY = 'printf "%s|%s|%s|%s|%s\\n" "$VRX_STATUS" "$VRX_EXIT_CODE" "$VRX_TASK" "$VRX_INPUT" "$VRX_OUTPUT" >> done.txt'


def test_it_runs_after_each_input_and_names_are_only_variables(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    clip(NASTY, frames=1)
    clip("-b.mkv", frames=1)
    clip("old.mkv", frames=1)
    (tmp_path / "old.x2.mkv").touch()
    (tmp_path / "bad.mkv").write_text("no video")
    done = vrx("upscale", NASTY, "./-b.mkv", "old.mkv", "bad.mkv", "-s", "2", "-n", "--on-done", SAY)
    assert done.returncode == 7
    stem = NASTY.removesuffix(".mkv")
    assert (tmp_path / "done.txt").read_text().splitlines() == [  # bad.mkv is known before: it comes first
        f"failed|3|upscale|{tmp_path}/bad.mkv|{tmp_path}/bad.x2.mkv",
        f"done|0|upscale|{tmp_path}/{NASTY}|{tmp_path}/{stem}.x2.mkv",
        f"done|0|upscale|{tmp_path}/-b.mkv|{tmp_path}/-b.x2.mkv",
    ]
    assert not (tmp_path / "oops").exists()


def test_its_failure_is_a_warning_and_the_exit_code(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    clip("a.mkv", frames=1)
    words = ("upscale", "a.mkv", "-s", "2", "--on-done", "echo one; echo two >&2; exit 3")
    done = vrx(*words)
    assert (done.returncode, done.stdout) == (7, "")
    assert (tmp_path / "a.x2.mkv").stat().st_size
    assert "on-done: one\non-done: two\na.mkv: the --on-done command ended with status 3\n" in done.stderr
    found = [json.loads(line) for line in vrx(*words, "-y", "--json").stdout.splitlines()]
    assert [e["facts"] for e in found if e.get("code") == "on-done-failed"] == [{"status": 3}]
    assert found[-1]["exit_code"] == 7
    assert vrx(*words[:-1], "true", "-y").returncode == 0


def test_a_command_left_in_the_background_is_not_waited_for(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    clip("a.mkv", frames=1)
    assert vrx("upscale", "a.mkv", "-s", "2", "--on-done", "(sleep 20; touch late) &").returncode == 0
    assert not (tmp_path / "late").exists()


def test_the_last_lines_of_a_long_output_are_shown() -> None:
    heard: list[Event] = []
    assert run_command("seq 1 30", "a.mkv", {}, heard.append)
    lines = [event.facts["line"] for event in heard if isinstance(event, events.Noted)]
    assert lines == [str(number) for number in range(11, 31)]
    heard.clear()
    assert run_command("head -c 9000 /dev/zero | tr '\\0' x", "a.mkv", {}, heard.append)
    assert [len(str(event.facts["line"])) for event in heard if isinstance(event, events.Noted)] == [8000]


def test_it_does_not_run_for_plans(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    clip("a.mkv", frames=1)
    assert vrx("upscale", "a.mkv", "--dry-run", "--on-done", "touch oops").returncode == 0
    assert not (tmp_path / "oops").exists()


@pytest.mark.parametrize("command", ["", "  "])
def test_an_empty_command_is_refused(vrx: Command, command: str) -> None:
    done = vrx("upscale", "a.mkv", "--on-done", command)
    assert done.returncode == 2
    assert "--on-done is empty" in done.stderr


@pytest.mark.parametrize(("names", "more"), [(("a.mkv",), ()), (("a.mkv", "b.mkv"), ("--jobs", "2"))])
def test_a_stop_while_it_runs_leaves_the_result_done(
    clip: ClipMaker, tmp_path: Path, names: tuple[str, ...], more: tuple[str, ...]
) -> None:
    for name in names:
        clip(name, frames=1)
    wait = 'touch "$VRX_INPUT.begun"; exec sleep 300'
    words = ["upscale", *names, "-s", "2", *more, "--on-done", wait]
    with Forked(words, cwd=tmp_path) as process:
        while process.poll() is None and not all((tmp_path / f"{name}.begun").exists() for name in names):
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    count = len(names)
    assert f"vrx: terminated after {count} of {count} inputs. The same command with -n does the rest" in said.decode()
    assert len(list(tmp_path.glob("*.x2.mkv"))) == count
