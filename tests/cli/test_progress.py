import io

import pytest
from rich.console import Console

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
