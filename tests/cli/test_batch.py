"""Commands over many inputs, from the words to the exit status, in this process."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clips import ClipMaker
from vrx import events
from vrx.cli import app
from vrx.cli.batch import planning
from vrx.errors import TerminatedError
from vrx.models.family import BuildRequest, LoadedModel
from vrx.models.loader import load_model
from vrx.pipeline import jobs, pool
from vrx.pipeline.run import run
from vrx.pipeline.session import Session
from vrx.weights.catalogue import Entry


@dataclass(frozen=True)
class Done:
    """What a command left: its exit status and both streams."""

    status: int
    out: str
    err: str


Main = Callable[..., Done]


@pytest.fixture
def main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Main:
    """Runs the command line in the test's folder on the processor."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VRX_HOME", str(tmp_path / ".home"))

    def run(*words: str) -> Done:
        capfd.readouterr()
        options = ["--device", "cpu", "--dtype", "fp32"] if words[0] in app.RESTORING else []
        status = app.run_guarded([words[0], *options, *words[1:]], False)
        return Done(int(status), *capfd.readouterr())

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_batch_gives_the_bytes_of_single_runs_and_loads_its_model_once(
    main: Main, clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip("a.mp4", frames=2, codec="mpeg4", size=(32, 24))
    clip("b.mp4", frames=2, codec="mpeg4", size=(32, 24), cuts=[1])
    names = ("b.mp4", "a.mp4")
    builds: list[str] = []

    def load(entry: Entry, request: BuildRequest) -> LoadedModel:
        builds.append(entry.name)
        return load_model(entry, request)

    monkeypatch.setattr(pool, "load_model", load)
    assert main("upscale", *names, "-s", "2", "-o", "together/").status == 0
    assert builds == ["embedded"]
    for name in names:
        assert main("upscale", name, "-s", "2", "-o", "alone/").status == 0
    assert contents(tmp_path / "together") == contents(tmp_path / "alone")


def test_a_finished_folder_is_skipped_and_its_layout_kept(main: Main, clip: ClipMaker, tmp_path: Path) -> None:
    (tmp_path / "in" / "s").mkdir(parents=True)
    clip("in/a.mkv", frames=1)
    clip("in/s/a.mkv", frames=1)
    words = ("upscale", "in", "-r", "-s", "2", "-o", "in/out/", "-n")
    planned = main(*words, "--dry-run")
    assert planned.status == 0
    assert not (tmp_path / "in" / "out").exists()
    assert main(*words).status == 0
    before = contents(tmp_path)
    assert {"in/out/a.x2.mkv", "in/out/s/a.x2.mkv"} <= set(before)
    done = main(*words)
    assert (done.status, contents(tmp_path)) == (0, before)
    assert "in/s/a.mkv: skipped, in/out/s/a.x2.mkv exists" in done.err
    assert len(re.findall(r"a.mkv +skipped +exists", done.err)) == 2
    assert "0 of 2 done, 2 skipped" in done.err
    events = [json.loads(line) for line in main(*words, "--json").out.splitlines()]
    assert [e["output"] for e in events if e["type"] == "skipped"] == ["in/out/a.x2.mkv", "in/out/s/a.x2.mkv"]
    assert main(*words, "--dry-run").out.count("skipped: exists") == 2


def test_what_is_bad_is_told_before_the_first_is_restored(main: Main, clip: ClipMaker, tmp_path: Path) -> None:
    clip("a.mkv", frames=1)
    clip("taken.mkv", frames=1)
    (tmp_path / "bad.mkv").write_text("no video")
    (tmp_path / "taken.x2.mkv").touch()
    done = main("upscale", "a.mkv", "bad.mkv", "taken.mkv", "-s", "2", "--codec", "h264", "--progress", "plain")
    assert done.status == 7
    lines = done.err.splitlines()
    assert "bad.mkv: truncated" in lines[0]
    assert "taken.x2.mkv exists" in lines[1]
    assert lines[2].startswith("a.mkv: 1 frame")
    assert lines[-1] == "1 of 3 done, 2 failed"
    assert (tmp_path / "a.x2.mkv").stat().st_size


def test_words_that_name_nothing_stop_all_of_a_batch(main: Main, clip: ClipMaker, tmp_path: Path) -> None:
    clip("a.mkv", frames=1)
    done = main("upscale", "a.mkv", "none.mkv", "https://example.com/b.mp4", "out.mp4", "-s", "2")
    assert done.status == 3
    assert [line.split(":")[1] for line in done.err.splitlines()] == [
        " cannot read none.mkv", " cannot read https", " cannot read out.mp4"
    ]  # fmt: skip
    assert "To name the result, use -o: a.mkv -o out.mp4" in done.err
    assert [p.name for p in tmp_path.iterdir()] == ["a.mkv"]
    events = main("upscale", "a.mkv", "none.mkv", "gone.mkv", "--json").out.splitlines()
    assert [json.loads(line)["exit_code"] for line in events] == [3, 3]
    assert [json.loads(line)["input"] for line in events] == ["none.mkv", "gone.mkv"]


def test_what_is_wrong_with_all_is_told_once(main: Main, clip: ClipMaker) -> None:
    clip("a.mkv", frames=1)
    clip("b.mkv", frames=1)
    done = main("inpaint", "a.mkv", "b.mkv", "--mask", "none.png")
    assert (done.status, done.err.count("none.png")) == (3, 1)


@pytest.mark.parametrize("extra", [(), ("--dry-run",)])
def test_clashes_are_usage_errors_and_nothing_is_written(
    main: Main, clip: ClipMaker, tmp_path: Path, extra: tuple[str, ...]
) -> None:
    (tmp_path / "d").mkdir()
    for name in ("a.mkv", "a.mp4", "d/a.mp4", "a.x2.mkv"):
        clip(name, frames=1, codec="mpeg4")
    clip("p_01.png", frames=1, codec="png", pix_fmt="rgb24")
    before = contents(tmp_path)
    for words in (
        ("a.mkv", "a.mp4", "-o", "{stem}.mp4"),
        ("a.mp4", "d/a.mp4", "-o", "out/"),
        ("a.mkv", "a.x2.mkv"),
        ("p_%02d.png", "-o", "p_%02d.png"),
        ("a.mkv", "-o", "d/../a.mkv"),
        ("a.mkv", "d/a.mp4", "-o", "one.mkv"),
    ):
        done = main("upscale", *words, "-s", "2", "-y", *extra)
        assert (done.status, done.out) == (2, ""), words
    assert contents(tmp_path) == before
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("upscale", ""),
        ("upscale", "a.mkv", ""),
        ("upscale", "a.mkv", "-o", ""),
        ("upscale", "a.mkv", "-o", "{stem.x}.mkv"),
        ("upscale", "a.mkv", "-o", "-", "--json"),
        ("upscale", "a.mkv", "-y", "-n"),
        ("upscale", "a.mkv", "--scenes", ""),
        ("upscale", "a.mkv", "--model", ""),
        ("upscale", "a.mkv", "--prompt", ""),
        ("upscale", "a.mkv", "--preset", ""),
        ("upscale", "a.mkv", "--pix-fmt", ""),
        ("upscale", "a.mkv", "--codec", ""),
        ("upscale", "a.mkv", "--start", ""),
        ("upscale", "a.mkv", "--end", "0"),
        ("upscale", "a.mkv", "--start", "1", "--end", "1"),
        ("upscale", "a.mkv", "--frames", "99999999999999999999"),
        ("upscale", "a.mkv", "--frames", "0"),
        ("upscale", "a.mkv", "--device", "gpu"),
        ("upscale", "a.mkv", "--device", "cpu:9"),
        ("upscale", "a.mkv", "--device", ""),
        ("upscale", "a.mkv", "--scene-threshold", "0"),
        ("inpaint", "a.mkv", "--mask", ""),
        ("scenes", "a.mkv", "--scene-threshold", "0"),
        ("scenes", ""),
        ("info", ""),
        ("models", "show", ""),
        ("bench", "--device", "gpu"),
    ],
)
def test_wrong_words_end_with_two_and_one_line(
    main: Main, clip: ClipMaker, tmp_path: Path, words: tuple[str, ...]
) -> None:
    clip("a.mkv", frames=1)
    (tmp_path / "a.x4.mkv").touch()  # wrong usage is told before what is there
    done = main(*words)
    assert done.status == 2, done.err
    assert len([line for line in done.err.splitlines() if line.startswith("vrx: ")]) == 1
    events = [json.loads(line) for line in done.out.splitlines()]
    assert [(e["type"], e["input"], e["exit_code"]) for e in events] == [("failed", "", 2)] * ("--json" in words)


def events_of(done: Done) -> list[dict[str, object]]:
    return [json.loads(line) for line in done.out.splitlines()]


def test_the_last_event_of_a_batch_counts(main: Main, clip: ClipMaker, tmp_path: Path) -> None:
    clip("a.mkv", frames=1)
    clip("b.mkv", frames=1)
    (tmp_path / "b.x2.mkv").touch()
    (tmp_path / "bad.mkv").write_text("no video")
    found = events_of(main("upscale", "a.mkv", "b.mkv", "bad.mkv", "-s", "2", "-n", "--json"))
    assert [(e["type"], e["input"]) for e in found if e["type"] in ("failed", "opening", "skipped", "finished")] == [
        ("failed", "bad.mkv"),
        ("opening", "a.mkv"),
        ("finished", "a.mkv"),
        ("opening", "b.mkv"),
        ("skipped", "b.mkv"),
    ]
    assert found[-1] == {
        "type": "batch-finished", "input": "", "done": 1, "failed": 1, "skipped": 1, "exit_code": 7
    }  # fmt: skip
    single = events_of(main("upscale", "bad.mkv", "-s", "2", "--json"))
    assert [(e["type"], e["exit_code"]) for e in single[1:]] == [("failed", 3), ("batch-finished", 3)]


@pytest.mark.parametrize(
    ("stop", "saved", "code", "line"),
    [
        (
            KeyboardInterrupt(),
            0,
            130,
            "interrupted after 8 of 9 frames. No frames saved; the same command starts again",
        ),
        (KeyboardInterrupt(), 4, 130, "interrupted after 8 of 9 frames. 4 saved; the same command resumes there"),
        (
            TerminatedError("terminated"),
            4,
            143,
            "terminated after 8 of 9 frames. 4 saved; the same command resumes there",
        ),
    ],
)
def test_a_stopped_run_says_what_is_saved(
    main: Main, clip: ClipMaker, monkeypatch: pytest.MonkeyPatch, stop: BaseException, saved: int, code: int, line: str
) -> None:
    def run(session: Session) -> None:
        session.watch(events.Stopped(input="a.mkv", done=8, frames=9, saved=saved, exit_code=code))
        raise stop

    clip("a.mkv", frames=1)
    monkeypatch.setattr(jobs, "run", run)
    done = main("upscale", "a.mkv", "-s", "2", "--json")
    assert (done.status, done.err) == (code, f"vrx: {line}\n")
    assert [e["type"] for e in events_of(done)] == ["opening", "stopped", "batch-finished"]
    assert events_of(done)[-1]["exit_code"] == code


def test_a_stop_before_the_first_frame_has_an_event_too(
    main: Main, clip: ClipMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(session: Session) -> None:
        raise KeyboardInterrupt

    clip("a.mkv", frames=1)
    monkeypatch.setattr(jobs, "run", run)
    done = main("upscale", "a.mkv", "-s", "2", "--json")
    assert done.err == "vrx: interrupted. No frames saved; the same command starts again\n"
    assert [e["type"] for e in events_of(done)] == ["opening", "stopped", "batch-finished"]


@pytest.mark.parametrize(
    ("extra", "line"),
    [
        ((), "interrupted after 1 of 3 inputs. The same command with -n does the rest"),
        (("-n",), "interrupted after 1 of 3 inputs. The same command does the rest"),
    ],
)
def test_a_stopped_batch_shows_what_is_done_and_what_is_not(
    main: Main, clip: ClipMaker, monkeypatch: pytest.MonkeyPatch, extra: tuple[str, ...], line: str
) -> None:
    def stop_at_b(session: Session) -> object:
        if session.job.source == "b.mkv":
            raise KeyboardInterrupt
        return run(session)

    for name in "abc":
        clip(f"{name}.mkv", frames=1)
    monkeypatch.setattr(jobs, "run", stop_at_b)
    done = main("upscale", "a.mkv", "b.mkv", "c.mkv", "-s", "2", *extra)
    assert done.status == 130
    rows = [row.split() for row in done.err.splitlines()[-5:]]
    assert [row[:2] for row in rows[:3]] == [["a.mkv", "done"], ["b.mkv", "stopped"], ["c.mkv", "not"]]
    assert done.err.splitlines()[-2:] == ["1 of 3 done, 1 stopped, 1 not begun", f"vrx: {line}"]


def test_a_plan_s_watcher_leaves_out_what_plans_show_themselves() -> None:
    heard: list[events.Event] = []
    watch = planning(heard.append)
    for source in ("a.mkv", ""):  # of a batch
        watch(events.Noted.of(source, events.Note("resuming", "")))
        watch(events.Skipped(input="a.mkv", output="b.mkv"))
    assert [(type(event), event.input) for event in heard] == [
        (events.Skipped, "a.mkv"),
        (events.Noted, ""),
        (events.Skipped, "a.mkv"),
    ]


def test_a_bug_is_a_failure_of_its_input(main: Main, clip: ClipMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(session: Session) -> None:
        raise KeyError("x")

    clip("a.mkv", frames=1)
    monkeypatch.setattr(jobs, "run", run)
    done = main("upscale", "a.mkv", "-s", "2")
    assert done.status == 1
    assert "internal error with a.mkv: KeyError: 'x'. Rerun it with --debug" in done.err
