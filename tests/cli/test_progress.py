import io

import pytest
from rich.console import Console

from vrx import events
from vrx.cli.progress import Bar, Look, Plain, watcher


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("TERM", "dumb")])
def test_the_environment_may_ask_for_plain_lines(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    console = Console(file=io.StringIO(), force_terminal=True)
    with watcher(console, Look(), False) as watch:
        assert isinstance(watch, Bar)
    monkeypatch.setenv(name, value)
    with watcher(console, Look(), False) as watch:
        assert isinstance(watch, Plain)


def test_logs_get_a_line_every_twentieth_of_a_file() -> None:
    file = io.StringIO()
    plain = Plain(Console(file=file, width=100), Look())
    sizes = {"source_size": (8, 8), "target_size": (16, 16)}
    plain(events.Started(input="in", output="out", frames=64, model="m", device="cpu", dtype="fp32", kept=0, **sizes))
    for done in range(1, 65):
        plain(events.Advanced(input="in", done=done, frames=64, scene=0, fps=2.0, queues={}))
    lines = file.getvalue().splitlines()[1:]
    assert [int(line.split()[1]) for line in lines] == list(range(4, 65, 4))  # 4 of 64 are over a twentieth, 3 are not
