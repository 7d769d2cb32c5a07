import io
import re
from contextlib import nullcontext

import pytest
from rich.console import Console

from vrx import events
from vrx.cli.bar import Bar
from vrx.cli.progress import PlainProgress, ProgressOptions, watcher


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("TERM", "dumb")])
def test_the_environment_may_ask_for_plain_lines(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    console = Console(file=io.StringIO(), force_terminal=True)
    with watcher(console, ProgressOptions(), False) as watch:
        assert isinstance(watch, Bar)
    monkeypatch.setenv(name, value)
    with watcher(console, ProgressOptions(), False) as watch:
        assert isinstance(watch, PlainProgress)


def started(name: str, frames: int) -> events.Started:
    return events.Started(
        input=name, output="out", frames=frames, model="m", device="cpu", dtype="fp32",
        source_size=(8, 8), target_size=(16, 16),
    )  # fmt: skip


def test_logs_get_a_line_every_twentieth_of_a_file() -> None:
    file = io.StringIO()
    plain = PlainProgress(lambda text: file.write(text + "\n"), ProgressOptions())
    plain(started("in", 64))
    for done in range(1, 65):
        plain(events.Advanced(input="in", done=done, frames=64, scene=1, fps=2.0, queues={}))
    lines = file.getvalue().splitlines()[1:]
    assert [int(line.split()[1]) for line in lines] == list(range(4, 65, 4))  # 4 of 64 are over a twentieth, 3 are not


def test_files_side_by_side_get_their_own_lines() -> None:
    said: list[str] = []
    plain = PlainProgress(said.append, ProgressOptions())
    for name in ("a", "b"):
        plain(started(name, 100))
    for done in range(1, 11):
        for name in ("a", "b"):
            plain(events.Advanced(input=name, done=done, frames=100, scene=1, fps=2.0, queues={}))
    assert [line.split()[:2] for line in said[2:]] == [["a:", "5"], ["b:", "5"], ["a:", "10"], ["b:", "10"]]


def test_logs_get_a_line_every_twentieth_of_a_cluster_s_work() -> None:
    said: list[str] = []
    plain = PlainProgress(said.append, ProgressOptions())
    for done in range(65):
        plain(
            events.ClusterAdvanced(
                files_done=done, files=64, spans_done=0, spans=0, workers=2, fps=1.0, share=done / 64, seconds_left=9
            )
        )
    assert [int(line.split()[0]) for line in said] == list(range(4, 65, 4))
    assert said[0] == "4 of 64 files, 0 of 0 spans, 2 workers, 1.0 fps, 0:09 left"
    said.clear()
    unit = events.UnitChanged(input="a.mkv", span=0, state="begun", worker="vrx worker 1", node="b", frames=9)
    for verbose, lines in ((False, []), (True, ["a.mkv span 1: begun by vrx worker 1 on b"])):
        PlainProgress(said.append, ProgressOptions(verbose=verbose))(unit)
        assert said == lines


HOSTILE = "a\x1b]0;owned\x07\x9b31m\u202egpj.\n\x7f\u2066"
SHOWN = r"a\x1b]0;owned\x07\x9b31m\u202egpj.\x0a\x7f\u2066"


@pytest.mark.parametrize("kind", [PlainProgress, Bar])
def test_names_from_outside_cannot_steer_the_terminal(kind: type) -> None:
    file = io.StringIO()
    console = Console(file=file, width=300, force_terminal=kind is Bar, color_system=None)
    watch = (
        PlainProgress(lambda text: file.write(text + "\n"), ProgressOptions())
        if kind is PlainProgress
        else Bar(console, False)
    )
    with watch if isinstance(watch, Bar) else nullcontext():
        watch(events.Fetching(input="m", part=HOSTILE, done=5, size=5))
        watch(events.Noted(input="m", code="x", text=f"note {HOSTILE}"))
        watch(
            events.Started(
                input=HOSTILE,
                output=HOSTILE,
                frames=1,
                source_size=(1, 1),
                target_size=(1, 1),
                model=HOSTILE,
                device="cpu",
                dtype="float32",
            )
        )
        watch(events.Finished(input=HOSTILE, output=HOSTILE, frames=1, scenes=1, seconds=1.0))
    text = file.getvalue()
    assert text.count(SHOWN) >= (
        4 if kind is PlainProgress else 2
    )  # a bar's lines in motion may be gone too soon to be drawn
    assert not re.search("\x1b\\]|\x07|\x9b|\u202e|\u2066|\x7f", text)
